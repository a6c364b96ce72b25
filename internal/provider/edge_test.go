package provider_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
	"github.com/atollhq/terraform-provider-atoll/internal/provider"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

// edge is an emulated Cloudflare account and an operator with a token for it.
type edge struct {
	*cloudflare.Server
	env map[string]string
	// adjust changes what the provider is configured with.
	adjust func(*operator.Config)
	// warned is what the provider has warned of.
	warned warnings

	mu    sync.Mutex
	calls []string
}

const edgeToken = "edge-token-of-the-acceptance-tests"

func newEdge(t *testing.T) *edge {
	t.Helper()
	if os.Getenv(resource.EnvTfAcc) == "" {
		t.Skip("ACCEPTANCE TEST DID NOT RUN: set TF_ACC (make testacc does)")
	}
	e := &edge{Server: &cloudflare.Server{Token: edgeToken, Zones: []string{"example.com", "example.net"}}}
	handler := contracttest.Watched(t, contracttest.Cloudflare)(e.Server)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			e.mu.Lock()
			e.calls = append(e.calls, r.Method+" "+kindOfPath(r.URL.Path))
			e.mu.Unlock()
		}
		handler.ServeHTTP(w, r)
	}))
	e.env = map[string]string{"CLOUDFLARE_API_TOKEN": edgeToken, "CLOUDFLARE_BASE_URL": server.URL + "/client/v4"}
	t.Cleanup(func() {
		server.CloseClientConnections()
		e.Close()
		server.Close()
	})
	return e
}

// kindOfPath is what a path is about, without ids.
func kindOfPath(path string) string {
	for _, kind := range []string{"monitors", "pools", "load_balancers", "dns_records"} {
		if strings.Contains(path, "/"+kind) && (kind != "load_balancers" || !strings.Contains(path, "/load_balancers/monitors") && !strings.Contains(path, "/load_balancers/pools")) {
			return kind
		}
	}
	return path
}

// changes returns the requests since the last call that were to change something.
func (e *edge) changes() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.calls
	e.calls = nil
	return out
}

func (e *edge) test(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	e.runSteps(t, steps...)
	e.demandEmpty(t)
}

// demandEmpty fails when something is left at Cloudflare.
func (e *edge) demandEmpty(t *testing.T) {
	t.Helper()
	a := e.Account()
	if len(a.LoadBalancers)+len(a.Pools)+len(a.Monitors)+len(a.Records) != 0 {
		t.Errorf("left: %d load balancers, %d pools, %d monitors, %d records", len(a.LoadBalancers), len(a.Pools), len(a.Monitors), len(a.Records))
	}
}

func (e *edge) runSteps(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: map[string]func() (tfprotov6.ProviderServer, error){
			"atoll": e.warned.watched(providerserver.NewProtocol6WithError(provider.New("test",
				provider.WithEnvironment(func(name string) string { return e.env[name] }),
				provider.WithConfig(func(c *operator.Config) {
					c.Cloudflare.Pause, c.Cloudflare.Timeout = 20*time.Millisecond, 2*time.Second
					if e.adjust != nil {
						e.adjust(c)
					}
				}))())),
		},
		Steps: steps,
	})
}

// send calls the API as somebody else with the account's token would, and returns the id of what it made.
func (e *edge) send(t *testing.T, method, path string, body any) string {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), method, "/client/v4"+path, bytes.NewReader(data))
	r.Header.Set("Authorization", "Bearer "+edgeToken)
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, r)
	if answer.Code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, answer.Code, answer.Body)
	}
	var made struct {
		Result struct {
			ID string `json:"id"`
		} `json:"result"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	return made.Result.ID
}

// at is a node of a load balancer: its name, site and address.
type at struct{ name, site, address string }

var (
	hk1 = at{"hk1", "hong-kong", "192.0.2.1"}
	hk2 = at{"hk2", "hong-kong", "192.0.2.2"}
	sg1 = at{"sg1", "ap-south", "192.0.2.3"}
)

// served is a load balancer for www.example.com with these nodes and more arguments.
func served(more string, nodes ...at) string {
	var b strings.Builder
	b.WriteString("resource \"atoll_load_balancer\" \"www\" {\n  hostname = \"www.example.com\"\n  zone = \"example.com\"\n  nodes = {\n")
	for _, n := range nodes {
		fmt.Fprintf(&b, "    %[1]s = { name = %[1]q, addresses = [%[3]q], failure_domain = { provider = \"colo\", site = %[2]q }, "+
			"cluster = { name = \"web\", ports = { health = 7480 } } }\n", n.name, n.site, n.address)
	}
	return b.String() + "  }\n  " + more + "\n}\n"
}

// index returns where a call is among others, -1 when it is not.
func index(calls []string, call string) int { return slices.Index(calls, call) }
