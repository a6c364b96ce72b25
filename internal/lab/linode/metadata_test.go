package linode_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// machine asks the metadata service as the instance with an address would.
type machine struct {
	t       *testing.T
	service http.Handler
	address string
}

func (m machine) do(method, path string, header map[string]string) (int, string) {
	m.t.Helper()
	r := httptest.NewRequestWithContext(m.t.Context(), method, path, nil)
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(m.address), 40000).String()
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	m.service.ServeHTTP(w, r)
	data, err := io.ReadAll(w.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return w.Code, string(data)
}

func (m machine) token(seconds string) string {
	m.t.Helper()
	status, token := m.do(http.MethodPut, "/v1/token", map[string]string{"Metadata-Token-Expiry-Seconds": seconds})
	if status != http.StatusOK || token == "" {
		m.t.Fatalf("token: status %d, %q", status, token)
	}
	return token
}

func TestMetadata(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := &linode.Server{Now: func() time.Time { return now }}
	api := serve(t, s)
	made := create(t.Context(), t, api, "sg1")
	other := create(t.Context(), t, api, "sg2")
	m := machine{t, s.Metadata(), made.IPv4[0].String()}

	if status, _ := m.do(http.MethodPut, "/v1/token", nil); status != http.StatusBadRequest {
		t.Errorf("token without expiry: status %d", status)
	}
	held := map[string]string{"Metadata-Token": m.token("300")}
	if _, got := m.do(http.MethodGet, "/v1/user-data", held); got != node("").Metadata.UserData {
		t.Errorf("user data %q is not what was sent", got)
	}
	asJSON := map[string]string{"Metadata-Token": held["Metadata-Token"], "Accept": "application/json"}
	if _, got := m.do(http.MethodGet, "/v1/user-data", asJSON); got != node("").Metadata.UserData {
		t.Errorf("user data as JSON %q", got)
	}
	var instance struct {
		ID                  int
		Label, Region, Type string
		Specs               struct{ VCPUs, Memory int }
		Image               struct{ ID, Label string }
	}
	_, body := m.do(http.MethodGet, "/v1/instance", asJSON)
	if err := json.Unmarshal([]byte(body), &instance); err != nil {
		t.Fatal(err)
	}
	if instance.ID != made.ID || instance.Label != "sg1" || instance.Specs.Memory != 1024 || instance.Image.Label != "atoll-node" {
		t.Errorf("instance %+v", instance)
	}
	status, text := m.do(http.MethodGet, "/v1/network", held)
	if want := "ipv4.public: " + made.IPv4[0].String() + "/32"; status != http.StatusOK || !strings.Contains(text, want) {
		t.Errorf("network: status %d, no line %q in\n%s", status, want, text)
	}
	var keys struct{ Users map[string][]string }
	_, body = m.do(http.MethodGet, "/v1/ssh-keys", asJSON)
	if err := json.Unmarshal([]byte(body), &keys); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(node("").AuthorizedKeys, keys.Users["root"]); diff != "" {
		t.Errorf("keys (-want +got)\n%s", diff)
	}

	for name, refused := range map[string]struct {
		from   string
		header map[string]string
	}{
		"no token":                     {m.address, nil},
		"a made up token":              {m.address, map[string]string{"Metadata-Token": "x"}},
		"another instance's token":     {other.IPv4[0].String(), held},
		"from outside":                 {"192.0.2.1", held},
		"from outside, without either": {"192.0.2.1", nil},
	} {
		if status, got := (machine{t, m.service, refused.from}).do(http.MethodGet, "/v1/user-data", refused.header); status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, %q", name, status, got)
		}
	}
	now = now.Add(301 * time.Second)
	if status, _ := m.do(http.MethodGet, "/v1/user-data", held); status != http.StatusUnauthorized {
		t.Errorf("expired token: status %d", status)
	}
	if status, got := m.do(http.MethodPut, "/v1/token", map[string]string{"Metadata-Token-Expiry-Seconds": "60", "Accept": "application/json"}); status != http.StatusOK || !strings.HasPrefix(got, `["`) {
		t.Errorf("token as JSON: status %d, %q", status, got)
	}
}

func TestMetadataLookupAndNothingThere(t *testing.T) {
	s := &linode.Server{}
	api := serve(t, s)
	options := node("sg1")
	options.Metadata = nil
	made, err := api.CreateInstance(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	s.Lookup = func(a netip.Addr) (int, bool) { return made.ID, a == netip.MustParseAddr("10.9.8.7") }
	m := machine{t, s.Metadata(), "10.9.8.7"}
	status, got := m.do(http.MethodGet, "/v1/user-data", map[string]string{"Metadata-Token": m.token("60")})
	if status != http.StatusOK || got != "" {
		t.Errorf("no user data: status %d, %q", status, got)
	}
	if status, _ := (machine{t, s.Metadata(), made.IPv4[0].String()}).do(http.MethodPut, "/v1/token", map[string]string{"Metadata-Token-Expiry-Seconds": "60"}); status != http.StatusForbidden {
		t.Errorf("an address that the lookup does not know: status %d", status)
	}
}

func TestLostUserData(t *testing.T) {
	s := &linode.Server{}
	api := serve(t, s)
	s.Inject(linode.Fault{Method: http.MethodPost, Path: instances, LoseUserData: true})
	made := create(t.Context(), t, api, "sg1")
	if !made.HasUserData {
		t.Error("the API admits that the user data was lost")
	}
	m := machine{t, s.Metadata(), made.IPv4[0].String()}
	if _, got := m.do(http.MethodGet, "/v1/user-data", map[string]string{"Metadata-Token": m.token("60")}); got != "" {
		t.Errorf("user data %q", got)
	}
}

// TestMetadataFaults: they are asked for by name, so that what the API suffers leaves machines alone.
func TestMetadataFaults(t *testing.T) {
	s := &linode.Server{}
	api := serve(t, s)
	made := create(t.Context(), t, api, "sg1")
	m := machine{t, s.Metadata(), made.IPv4[0].String()}
	life := map[string]string{"Metadata-Token-Expiry-Seconds": "60"}
	everything := s.Inject(linode.Fault{Status: http.StatusBadGateway, Times: -1})
	if status, _ := m.do(http.MethodPut, "/v1/token", life); status != http.StatusOK {
		t.Errorf("a fault of the API: status %d", status)
	}
	everything()
	remove := s.Inject(linode.Fault{PathPrefix: linode.MetadataPath, Status: http.StatusServiceUnavailable, Times: -1})
	if status, _ := m.do(http.MethodPut, "/v1/token", life); status != http.StatusServiceUnavailable {
		t.Errorf("a fault of the metadata service: status %d", status)
	}
	remove()
	m.token("60")
}

// TestUserDataIsWriteOnly: it holds a secret, so no answer of the API may contain it.
func TestUserDataIsWriteOnly(t *testing.T) {
	s := &linode.Server{Instant: true}
	api := serve(t, s)
	made := create(t.Context(), t, api, "sg1")
	decoded, err := base64.StdEncoding.DecodeString(node("").Metadata.UserData)
	if err != nil {
		t.Fatal(err)
	}
	url := serveRaw(t, s)
	for _, path := range []string{"/linode/instances", "/account/events", instancePath(made.ID), instancePath(made.ID) + "/configs", instancePath(made.ID) + "/disks"} {
		body := string(request(t, http.MethodGet, url+"/v4"+path, ""))
		if strings.Contains(body, node("").Metadata.UserData) || strings.Contains(body, string(decoded)) {
			t.Errorf("%s shows user data", path)
		}
	}
}

// TestNodesReadTheirPayload reads user data with what the agent on a node uses.
func TestNodesReadTheirPayload(t *testing.T) {
	s := &linode.Server{}
	api := serve(t, s)
	made := create(t.Context(), t, api, "sg1")
	s.Lookup = func(netip.Addr) (int, bool) { return made.ID, true }
	source := platform.Linode{URLs: []string{serveRaw(t, s.Metadata())}}
	data, found, err := source.Fetch(t.Context())
	if err != nil || !found || string(data) != `{"atoll":1}` {
		t.Errorf("payload %q, found %v, error %v", data, found, err)
	}
	if err := api.DeleteInstance(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := source.Fetch(t.Context()); err == nil {
		t.Error("a deleted instance still reads its payload")
	}
}
