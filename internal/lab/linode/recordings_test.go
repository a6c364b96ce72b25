package linode_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// TestShapesAreThoseOfLiveAnswers guards against a lab that lies: every field of a recorded live
// answer is in ours with the same kind of value, and ours have no field that nobody ever recorded.
func TestShapesAreThoseOfLiveAnswers(t *testing.T) {
	live := recordings(t)
	ctx := t.Context()
	s := &linode.Server{Instant: true}
	c := serve(t, s)
	mesh := []linodego.FirewallRule{{
		Action: "ACCEPT", Label: "mesh", Ports: "655", Protocol: linodego.UDP,
		Addresses: linodego.NetworkAddresses{IPv4: &[]string{"0.0.0.0/0"}, IPv6: &[]string{"::/0"}},
	}}
	rules := linodego.FirewallRuleSet{Inbound: mesh, InboundPolicy: "DROP", Outbound: mesh, OutboundPolicy: "ACCEPT"}
	wall, err := c.CreateFirewall(ctx, linodego.FirewallCreateOptions{Label: "web", Rules: rules, Tags: []string{"atoll"}})
	if err != nil {
		t.Fatal(err)
	}
	options := node("sg1")
	options.FirewallID = wall.ID
	options.Interfaces = []linodego.InstanceConfigInterfaceCreateOptions{{Purpose: linodego.InterfacePurposePublic}}
	made, err := c.CreateInstance(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceRunning, 10); err != nil {
		t.Fatal(err)
	}
	disks, err := c.ListInstanceDisks(ctx, made.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	configs, err := c.ListInstanceConfigs(ctx, made.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	events, err := c.ListEvents(ctx, nil)
	if err != nil || len(disks) == 0 || len(configs) == 0 || len(events) == 0 {
		t.Fatalf("%d disks, %d configs, %d events, error %v", len(disks), len(configs), len(events), err)
	}
	instance := fmt.Sprintf("/v4/linode/instances/%d", made.ID)
	firewall := fmt.Sprintf("/v4/networking/firewalls/%d", wall.ID)
	image := fmt.Sprintf("/v4/images/%s", strings.Replace(uploaded(t, c, "replicas", []byte("x")).ID, "/", "%2F", 1))
	body := func(label string) string {
		data, err := json.Marshal(node(label))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}

	tests := []struct {
		recorded     string // key of the recordings
		method, path string
		body         string
		// missing and extra say why a field may differ.
		missing, extra, kinds map[string]string
	}{
		{
			recorded: "POST /v4/linode/instances 200", method: "POST", path: "/v4/linode/instances", body: body("sg2"),
			extra: instanceExtra(),
		},
		{
			recorded: "GET /v4/linode/instances/{id} 200", method: "GET", path: instance,
			extra: instanceExtra("capabilities", "disk_encryption", "interface_generation", "lke_cluster_id", "placement_group"),
		},
		{recorded: "GET /v4/linode/instances 200", method: "GET", path: "/v4/linode/instances", extra: inList(instanceExtra())},
		{recorded: "PUT /v4/linode/instances/{id} 200", method: "PUT", path: instance, body: `{"group":"x"}`, extra: instanceExtra()},
		{
			recorded: "GET /v4/linode/instances/{id}/ips 200", method: "GET", path: instance + "/ips",
			missing: map[string]string{
				"ipv4.private[]": "the lab has public addresses only", "ipv4.reserved[]": "the lab reserves none",
				"ipv4.vpc[]": "the lab has no VPC", "ipv6.global[]": "the lab routes no ranges", "ipv6.vpc[]": "the lab has no VPC",
			},
		},
		{
			recorded: "GET /v4/networking/ips/{id} 200", method: "GET", path: "/v4/networking/ips/" + made.IPv4[0].String(),
		},
		{recorded: "GET /v4/networking/ips 200", method: "GET", path: "/v4/networking/ips"},
		{recorded: "GET /v4/linode/instances/{id}/disks 200", method: "GET", path: instance + "/disks"},
		{
			recorded: "GET /v4/linode/instances/{id}/configs 200", method: "GET", path: instance + "/configs",
			missing: inList(noVPC()),
		},
		{
			recorded: "GET /v4/linode/instances/{id}/configs/{id} 200", method: "GET", path: fmt.Sprintf("%s/configs/%d", instance, configs[0].ID),
			missing: noVPC(),
		},
		{
			recorded: "GET /v4/linode/instances/{id}/volumes 200", method: "GET", path: instance + "/volumes",
			missing: map[string]string{"data[]": "the lab has no volumes"},
		},
		{recorded: "POST /v4/linode/instances/{id}/shutdown 200", method: "POST", path: fmt.Sprintf("/v4/linode/instances/%d/shutdown", made.ID)},
		{
			recorded: "GET /v4/account/events 200", method: "GET", path: "/v4/account/events",
			kinds: map[string]string{"data[].secondary_entity.id": "a number, or text for an image"},
		},
		{
			recorded: "GET /v4/account/events/{id} 200", method: "GET", path: fmt.Sprintf("/v4/account/events/%d", events[0].ID),
			kinds: map[string]string{"secondary_entity.id": "a number, or text for an image"},
		},
		{recorded: "GET /v4/networking/firewalls/{id} 200", method: "GET", path: firewall},
		{recorded: "GET /v4/networking/firewalls/{id}/rules 200", method: "GET", path: firewall + "/rules"},
		{recorded: "GET /v4/networking/firewalls/{id}/devices 200", method: "GET", path: firewall + "/devices"},
		{
			recorded: "GET /v4/linode/instances/{id}/firewalls 200", method: "GET", path: instance + "/firewalls",
		},
		{recorded: "GET /v4/account/settings 200", method: "GET", path: "/v4/account/settings"},
		{recorded: "GET /v4/account/maintenance 200", method: "GET", path: "/v4/account/maintenance"},
		{
			recorded: "GET /v4/images/{id} 200", method: "GET", path: "/v4/images/private%2F1",
		},
		{
			recorded: "POST /v4/images/upload 200", method: "POST", path: "/v4/images/upload",
			body: `{"region":"ap-south","label":"upload","description":"An image that does stuff.","cloud_init":true,"tags":["foo","bar"]}`, extra: inImage(imageExtra()),
		},
		{
			recorded: "POST /v4/images 200", method: "POST", path: "/v4/images",
			body: fmt.Sprintf(`{"disk_id":%d,"label":"disk","cloud_init":true,"tags":["test1","test2"]}`, disks[0].ID),
		},
		{
			recorded: "POST /v4/images/{id}/regions 200", method: "POST", path: image + "/regions",
			body: `{"regions":["ap-south","jp-osa"]}`, extra: imageExtra(),
		},
		{recorded: "DELETE /v4/images/{id} 200", method: "DELETE", path: image},
		{recorded: "GET /v4/profile 200", method: "GET", path: "/v4/profile"},
		{recorded: "GET /v4/linode/kernels/linode%2Flatest-64bit 200", method: "GET", path: "/v4/linode/kernels/linode%2Flatest-64bit"},
		{recorded: "GET /v4/linode/types/g6-standard-{id} 200", method: "GET", path: "/v4/linode/types/g6-standard-1"},
		{recorded: "types", method: "GET", path: "/v4/linode/types"},
		{
			recorded: "regions", method: "GET", path: "/v4/regions",
			missing: map[string]string{
				"data[].monitors.alerts[]": "the lab monitors no managed services", "data[].monitors.metrics[]": "the same",
			},
		},
		{recorded: "GET /v4/images/not-found 404", method: "GET", path: "/v4/images/not-found"},
		{
			recorded: "POST /v4/linode/instances/{id}/rebuild 200", method: "POST", path: instance + "/rebuild",
			body: `{"image":"private/1","root_pass":"correct horse"}`, extra: instanceExtra(),
		},
		{recorded: "DELETE /v4/linode/instances/{id} 200", method: "DELETE", path: instance},
	}
	web := httptest.NewServer(contracttest.Watch(t, vendor(t)).Middleware(s))
	t.Cleanup(web.Close)
	for _, test := range tests {
		t.Run(test.recorded, func(t *testing.T) {
			want, ok := live[test.recorded]
			if !ok {
				t.Fatal("there is no such recording")
			}
			got := shape(t, request(t, test.method, web.URL+test.path, test.body))
			for _, path := range slices.Sorted(maps.Keys(want)) {
				if _, ok := got[path]; !ok && !excused(test.missing, path) {
					t.Errorf("missing: %s %v", path, want.kinds(path))
					continue
				}
				for _, kind := range got.kinds(path) {
					recorded := want.kinds(path)
					if len(recorded) > 0 && !slices.Contains(recorded, kind) && !excused(test.kinds, path) {
						t.Errorf("%s is %s, recorded as %v", path, kind, recorded)
					}
				}
			}
			for _, path := range slices.Sorted(maps.Keys(got)) {
				if _, ok := want[path]; !ok && !excused(test.extra, path) && !want.emptyAt(path) {
					t.Errorf("never recorded: %s", path)
				}
			}
		})
	}
}

// instanceExtra excuses what is newer than some recordings of an instance, and more such fields.
func instanceExtra(more ...string) map[string]string {
	excuses := map[string]string{"locks": "newer than all recordings; linodego has it"}
	for _, path := range append(more, "maintenance_policy", "site_type", "specs.accelerated_devices") {
		excuses[path] = "newer than the recordings of this operation"
	}
	return excuses
}

// imageExtra excuses what some recordings of an image do not have yet.
func imageExtra() map[string]string {
	excuses := map[string]string{}
	for _, path := range []string{"is_shared", "image_sharing"} {
		excuses[path] = "newer than the recordings of this operation"
	}
	return excuses
}

func inImage(excuses map[string]string) map[string]string {
	out := map[string]string{}
	for path, why := range excuses {
		out["image."+path] = why
	}
	return out
}

func noVPC() map[string]string {
	excuses := map[string]string{}
	for _, path := range []string{"ipv4.vpc", "ipv4.nat_1_1", "ip_ranges[]"} {
		excuses["interfaces[]."+path] = "the lab has no VPC"
	}
	return excuses
}

func inList(excuses map[string]string) map[string]string {
	out := map[string]string{}
	for path, why := range excuses {
		out["data[]."+path] = why
	}
	return out
}

// excused says whether a path or something it is part of has an excuse.
func excused(excuses map[string]string, path string) bool {
	for excuse := range excuses {
		if path == excuse || strings.HasPrefix(path, excuse+".") || strings.HasPrefix(path, excuse+"[") {
			return true
		}
	}
	return false
}

// fields are the paths of one or more answers, e.g. "data[].specs.disk", with the kinds of value seen.
type fields map[string]map[string]bool

// kinds returns the kinds other than null.
func (f fields) kinds(path string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f[path])), func(kind string) bool { return kind == "null" })
}

// emptyAt says whether the recordings have only null or empty lists where the path would be.
func (f fields) emptyAt(path string) bool {
	for n := len(path) - 1; n > 0; n-- {
		if path[n] != '.' && path[n] != '[' {
			continue
		}
		parent := path[:n]
		if kinds, ok := f[parent]; ok && !strings.HasSuffix(parent, "]") {
			return len(f.kinds(parent)) == 0 || kinds["array"] && len(f[parent+"[]"]) == 0
		}
	}
	return false
}

func (f fields) add(path string, value any) {
	kind := "null"
	switch value := value.(type) {
	case map[string]any:
		kind = "object"
		for key, inner := range value {
			next := key
			if path != "" {
				next = path + "." + key
			}
			f.add(next, inner)
		}
	case []any:
		kind = "array"
		for _, inner := range value {
			f.add(path+"[]", inner)
		}
	case string:
		kind = "string"
	case float64:
		kind = "number"
	case bool:
		kind = "bool"
	}
	if f[path] == nil {
		f[path] = map[string]bool{}
	}
	f[path][kind] = true
}

func shape(t *testing.T, body []byte) fields {
	t.Helper()
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	f := fields{}
	f.add("", value)
	return f
}

// recordings returns the shapes of the recorded live answers by method, path and status.
func recordings(t *testing.T) map[string]fields {
	t.Helper()
	var file struct {
		Samples map[string][]struct {
			Resp string `json:"resp"`
		} `json:"samples"`
	}
	read(t, contracttest.LinodeRecordings, &file)
	shapes := map[string]fields{}
	for key, samples := range file.Samples {
		f := fields{}
		for _, sample := range samples {
			var value any
			if json.Unmarshal([]byte(sample.Resp), &value) == nil { // long ones are cut off
				f.add("", value)
			}
		}
		if len(f) > 0 {
			shapes[key] = f
		}
	}
	for key, name := range map[string]string{"regions": contracttest.LinodeRegions, "types": contracttest.LinodeTypes} {
		var list struct {
			Data []any `json:"data"`
		}
		read(t, name, &list)
		f := fields{}
		f.add("", map[string]any{"data": list.Data, "page": 1.0, "pages": 1.0, "results": float64(len(list.Data))})
		shapes[key] = f
	}
	return shapes
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(contracttest.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func request(t *testing.T, method, url, body string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	return data
}
