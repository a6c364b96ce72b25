package provider_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// firewallRequests are the requests of a firewall's life, by what they are for.
func firewallRequests() map[string]linode.Fault {
	return map[string]linode.Fault{
		"look":   {Method: http.MethodGet, Path: firewallsPath},
		"create": {Method: http.MethodPost, Path: firewallsPath},
		"read":   {Method: http.MethodGet, PathPrefix: firewallsPath + "/"},
		"rules":  {Method: http.MethodPut, PathPrefix: firewallsPath + "/"},
		"attach": {Method: http.MethodPost, PathPrefix: firewallsPath + "/"},
		"delete": {Method: http.MethodDelete, PathPrefix: firewallsPath + "/"},
	}
}

// wallOf is a firewall that another network administers.
func wallOf(network string) string { return `firewall = { operators = ["` + network + `"] }` }

func settled() resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
}

// TestLinodeFirewallPassingFaults has every request of a firewall's whole life meet one and the same passing fault: it is made with its
// instance, put before one that is there, changed and deleted. None may cost more than time, and none may leave anything.
func TestLinodeFirewallPassingFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]linode.Fault{
		"409 once":             {Status: http.StatusConflict},
		"429 with Retry-After": {Status: http.StatusTooManyRequests, RetryAfter: time.Second},
		"500 once":             {Status: http.StatusInternalServerError},
		"hanging connection":   {Hang: true},
		"lost answer":          {LoseAnswer: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, r := range firewallRequests() {
				fault.Method, fault.Path, fault.PathPrefix = r.Method, r.Path, r.PathPrefix
				w.cloud.Inject(fault)
			}
			step := func(nodes map[string]string) resource.TestStep {
				return resource.TestStep{Config: walled(nodes), ConfigPlanChecks: settled()}
			}
			w.test(t,
				step(map[string]string{"sg1": ownWall, "sg2": ""}),
				step(map[string]string{"sg1": wallOf("198.51.100.0/24"), "sg2": ownWall}),
				step(map[string]string{"sg1": "", "sg2": ownWall}),
			)
			if left := w.walls(t); len(left) != 0 {
				t.Errorf("firewalls are left: %v", left)
			}
			if left := w.cloud.PendingFaults(); left != 0 {
				t.Errorf("%d faults have not happened", left)
			}
		})
	}
}

// TestLinodeFirewallLastingFaults has one kind of request fail for good. The error is on the attribute and says what it is; once it has
// passed the next apply does the rest: nothing is lost, nothing is made twice, nothing is left.
func TestLinodeFirewallLastingFaults(t *testing.T) {
	t.Parallel()
	none, own, other := map[string]string{"sg1": ""}, map[string]string{"sg1": ownWall}, map[string]string{"sg1": wallOf("198.51.100.0/24")}
	tests := []struct {
		name, request string
		from, to      map[string]string
		fault         linode.Fault
		want          []string
	}{
		{"401 on create", "create", nil, own, linode.Fault{Status: http.StatusUnauthorized}, []string{"create firewall web-sg1", "401", "firewall:read_write"}},
		{"409 on create", "create", nil, own, linode.Fault{Status: http.StatusConflict}, []string{"create firewall", "409"}},
		{"500 on create", "create", none, own, linode.Fault{Status: http.StatusInternalServerError}, []string{"create firewall", "500"}},
		{"hang on create", "create", none, own, linode.Fault{Hang: true}, []string{"create firewall", "unreachable"}},
		{"500 on attach", "attach", none, own, linode.Fault{Status: http.StatusInternalServerError}, []string{"put firewall", "before instance", "500"}},
		{"403 on rules", "rules", own, other, linode.Fault{Status: http.StatusForbidden}, []string{"set the rules", "403", "firewall:read_write"}},
		{"500 on rules", "rules", own, other, linode.Fault{Status: http.StatusInternalServerError}, []string{"set the rules", "500"}},
		{"500 on read", "read", own, other, linode.Fault{Status: http.StatusInternalServerError}, []string{"read firewall", "500"}},
		{"500 on delete", "delete", own, none, linode.Fault{Status: http.StatusInternalServerError}, []string{"delete firewall", "500"}},
		{"500 on the node's end", "delete", own, nil, linode.Fault{Status: http.StatusInternalServerError}, []string{"delete firewall", "500"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.adjust = func(c *operator.Config) { c.Linode.Timeout = 500 * time.Millisecond }
			r := firewallRequests()[tt.request]
			fault := tt.fault
			fault.Method, fault.Path, fault.PathPrefix, fault.Times = r.Method, r.Path, r.PathPrefix, -1
			passes := func() {}
			steps := []resource.TestStep{
				{PreConfig: func() { passes = w.cloud.Inject(fault) }, Config: walled(tt.to), ExpectError: says(tt.want...)},
				{PreConfig: func() { passes() }, Config: walled(tt.to), ConfigPlanChecks: settled()},
			}
			if tt.from != nil {
				steps = append([]resource.TestStep{{Config: walled(tt.from), ConfigPlanChecks: settled()}}, steps...)
			}
			w.test(t, steps...)
			if left := w.walls(t); len(left) != 0 {
				t.Errorf("firewalls are left: %v", left)
			}
		})
	}
}

// TestLinodeFirewallInterrupted breaks a node off after its firewall was made: the next apply takes it, and destroying removes it.
func TestLinodeFirewallInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := walled(map[string]string{"sg1": ownWall})
	// An earlier run has made it and died before it could say so.
	left := w.post(t, "/v4"+firewallsPath, `{"label": "web-sg1", "tags": ["atoll:web/sg1"], "rules": {"inbound": [], "inbound_policy": "ACCEPT", "outbound": [], "outbound_policy": "ACCEPT"}}`)
	passes := w.cloud.Inject(linode.Fault{Method: http.MethodPost, Path: instancesPath, Status: http.StatusUnauthorized, Times: -1})
	taken := func() error {
		if f := w.walls(t)["web-sg1"]; f.ID != left || f.Rules.InboundPolicy != "DROP" {
			return fmt.Errorf("got %+v, want the firewall %d closed", f, left)
		}
		return nil
	}
	w.test(t,
		resource.TestStep{Config: config, ExpectError: says("create instance", "401")},
		resource.TestStep{
			PreConfig: func() {
				if err := taken(); err != nil {
					t.Error(err)
				}
				passes()
			},
			Config: config, ConfigPlanChecks: settled(),
		},
	)
	if left := w.walls(t); len(left) != 0 {
		t.Errorf("firewalls are left: %v", left)
	}
}

// TestLinodeFirewallOfSomebodyElse finds a firewall of the label that is not the node's: it is neither taken nor changed.
func TestLinodeFirewallOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := w.post(t, "/v4"+firewallsPath, `{"label": "web-sg1", "rules": {"inbound": [], "inbound_policy": "ACCEPT", "outbound": [], "outbound_policy": "ACCEPT"}}`)
	w.runSteps(t, resource.TestStep{Config: walled(map[string]string{"sg1": ownWall}), ExpectError: says("web-sg1", "not this node's", "atoll:web/sg1")})
	if f := w.walls(t)["web-sg1"]; f.ID != foreign || f.Rules.InboundPolicy != "ACCEPT" {
		t.Errorf("got %+v", f)
	}
	if left := w.instances(t); len(left) != 0 {
		t.Errorf("instances are left: %v", left)
	}
}

// TestLinodeFirewallPlans refuses what is wrong when it is planned, and makes a node again that goes behind somebody else's firewall.
func TestLinodeFirewallPlans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	node := func(firewall string) string { return walled(map[string]string{"sg1": firewall}) }
	var open []string
	for i := range 25 {
		open = append(open, fmt.Sprintf(`{ protocol = "tcp", ports = [%d], peers = ["192.0.2.%d"] }`, 9000+2*i, i))
	}
	foreign := w.post(t, "/v4"+firewallsPath, `{"label": "theirs", "rules": {"inbound": [], "inbound_policy": "DROP", "outbound": [], "outbound_policy": "ACCEPT"}}`)
	w.test(t,
		resource.TestStep{Config: node(`firewall_id = 7, firewall = {}`), ExpectError: says("firewall_id", "firewall")},
		resource.TestStep{Config: node(wallOf("203.0.113.7/24")), ExpectError: says("host bits", "203.0.113.0/24")},
		resource.TestStep{Config: node(`firewall = { operators = [] }`), ExpectError: says("operators", "at least 1")},
		resource.TestStep{
			Config: node(`firewall = { open = [` + strings.Join(open, ",") + `] }`), PlanOnly: true,
			ExpectError: says("rules", "25 at most", "linode.firewall.operators"),
		},
		resource.TestStep{Config: node(ownWall), ConfigPlanChecks: settled()},
		resource.TestStep{
			Config: node(fmt.Sprintf("firewall_id = %d", foreign)),
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply:             []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionDestroyBeforeCreate)},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
		},
	)
	if left := w.walls(t); len(left) != 1 || left["theirs"].ID != foreign {
		t.Errorf("got the firewalls %v, want theirs alone", left)
	}
}

// TestLinodeFirewallOfInterfaces puts a firewall before the interfaces of the newer generation, with the instance and later on.
func TestLinodeFirewallOfInterfaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := func(firewall string) string {
		return walled(map[string]string{"sg1": `interface_generation = "linode"` + firewall})
	}
	guards := checkState(func() error {
		if f := w.walls(t)["web-sg1"]; len(f.Entities) != 1 || f.Entities[0].Type != "linode_interface" {
			return fmt.Errorf("got %+v, want it before an interface", f)
		}
		return nil
	})
	w.test(t,
		resource.TestStep{Config: config(", " + ownWall), ConfigPlanChecks: settled(), ConfigStateChecks: []statecheck.StateCheck{guards}},
		resource.TestStep{Config: config(""), ConfigPlanChecks: settled()},
		resource.TestStep{Config: config(", " + ownWall), ConfigPlanChecks: settled(), ConfigStateChecks: []statecheck.StateCheck{guards}},
	)
}

// TestLinodeFirewallKeepsNobodyOut changes who administers a node so that this run does not come in any more: the change is taken back.
// The cloud of the tests does not filter, so that a machine falls silent here while its firewall does not have the network of the tests.
func TestLinodeFirewallKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	silent := false
	filter := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.cloud.ServeHTTP(out, r)
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/rules") {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		keeps := !strings.Contains(string(body), "203.0.113.0/24")
		for id := range w.instances(t) {
			switch {
			case keeps && !silent:
				err = w.machines.Shutdown(t.Context(), id)
			case !keeps && silent:
				err = w.machines.Boot(t.Context(), id)
			}
			if err != nil {
				t.Error(err)
			}
		}
		silent = keeps
	}))
	t.Cleanup(filter.Close)
	w.env["LINODE_URL"] = filter.URL
	var address string
	answers := func() {
		op := operator.New(operator.Config{SigningKey: func() (*trust.SigningKey, error) { return w.key, nil }})
		await.NoError(t, "the node answers again", time.Minute, func(ctx context.Context) error {
			_, err := op.Look(ctx, "web", "sg1", []string{address + ":7443"}, "")
			return err
		})
	}
	own := walled(map[string]string{"sg1": ownWall})
	w.test(t,
		resource.TestStep{Config: own, ConfigPlanChecks: settled(), ConfigStateChecks: []statecheck.StateCheck{firstAddress("sg1", &address)}},
		resource.TestStep{
			Config:      walled(map[string]string{"sg1": wallOf("198.51.100.0/24")}),
			ExpectError: says("Linode firewall keeps this run out", "The rules from before are back", "operators"),
		},
		resource.TestStep{PreConfig: answers, Config: own, ConfigPlanChecks: settled(), ConfigStateChecks: []statecheck.StateCheck{
			w.expectWalls(t, nil, map[string][]string{"web-sg1": sorted(ping, manages, health)}),
		}},
	)
}

// TestLinodeFirewallOfAnotherState makes a node whose instance and firewall are there already, with a silent agent. They may be another
// state's: neither is changed, and neither is deleted by the apply after the failure.
func TestLinodeFirewallOfAnotherState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	silent := w.post(t, "/v4/linode/instances", `{"label":"web-sg1","region":"ap-south","type":"g6-nanode-1","image":"private/1",`+
		`"booted":false,"authorized_keys":["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJKzUv5xDyVmVqCbW2X8YFqcYqXgFxqXgFxqXgFxqXg test"],"tags":["atoll:web/sg1"]}`)
	theirs := w.post(t, "/v4"+firewallsPath, fmt.Sprintf(`{"label": "web-sg1", "tags": ["atoll:web/sg1"], "devices": {"linodes": [%d]},
		"rules": {"inbound": [], "inbound_policy": "ACCEPT", "outbound": [], "outbound_policy": "ACCEPT"}}`, silent))
	refused := resource.TestStep{Config: walled(map[string]string{"sg1": ownWall}), ExpectError: says("Cannot tell whose machine this is")}
	w.runSteps(t, refused, refused)
	if left := w.instances(t); len(left) != 1 || left[silent] != "web-sg1" {
		t.Errorf("got instances %v, want the silent one alone", left)
	}
	if f := w.walls(t)["web-sg1"]; f.ID != theirs || f.Rules.InboundPolicy != "ACCEPT" || len(f.Entities) != 1 {
		t.Errorf("got %+v, want theirs as it was", f)
	}
}

// TestLinodeFirewallOfALostInstance has the answer lost that names the instance, and no other comes: the next apply finds it by the
// firewall that it stands behind, and makes the node anew.
func TestLinodeFirewallOfALostInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := walled(map[string]string{"sg1": ownWall})
	// From the moment that the instance is there, nobody can look for it.
	var mu sync.Mutex
	var passes func()
	loses := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, instancesPath) {
			w.cloud.ServeHTTP(out, r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if passes != nil {
			w.cloud.ServeHTTP(out, r)
			return
		}
		w.cloud.ServeHTTP(httptest.NewRecorder(), r)
		passes = w.cloud.Inject(linode.Fault{Method: http.MethodGet, Path: instancesPath, Status: http.StatusInternalServerError, Times: -1})
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(loses.Close)
	w.env["LINODE_URL"] = loses.URL
	w.test(t,
		resource.TestStep{Config: config, ExpectError: says("Create Linode", "500")},
		resource.TestStep{
			PreConfig: func() {
				mu.Lock()
				defer mu.Unlock()
				passes()
				if lost := w.instances(t); len(lost) != 1 {
					t.Errorf("got the instances %v, want the lost one", lost)
				}
			},
			Config: config, ConfigPlanChecks: settled(), ConfigStateChecks: []statecheck.StateCheck{
				w.expectWalls(t, nil, map[string][]string{"web-sg1": sorted(ping, manages, health)}),
			},
		},
	)
	if left := w.walls(t); len(left) != 0 {
		t.Errorf("firewalls are left: %v", left)
	}
}
