package provider_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// crew is three nodes and a load balancer of them with more arguments.
func crew(more string) string {
	var b strings.Builder
	b.WriteString(linodes(crewNames()...))
	b.WriteString("\nresource \"atoll_load_balancer\" \"www\" {\n  hostname = \"www.example.com\"\n  zone = \"example.com\"\n  nodes = {\n")
	for _, n := range crewNames() {
		fmt.Fprintf(&b, "    %[1]s = atoll_node.%[1]s\n", n)
	}
	return b.String() + "  }\n  " + more + "\n}\n"
}

func crewNames() []string { return []string{"a1", "b1", "c1"} }

// held returns what a node holds of the load balancer, and the generation of that.
func (w *world) held(t *testing.T, node string) (lb spec.LoadBalancer, alive bool, generation uint64) {
	t.Helper()
	op := operator.New(operator.Config{SigningKey: func() (*trust.SigningKey, error) { return w.key, nil }})
	var list struct {
		Data []struct {
			Label string   `json:"label"`
			IPv4  []string `json:"ipv4"`
		} `json:"data"`
	}
	if err := json.Unmarshal(w.call(t, http.MethodGet, "/v4/linode/instances"), &list); err != nil {
		t.Fatal(err)
	}
	for _, one := range list.Data {
		if one.Label != node && !strings.HasSuffix(one.Label, "-"+node) {
			continue
		}
		seen, err := op.Look(t.Context(), "web", "", []string{one.IPv4[0] + ":7443"}, "")
		if err != nil {
			t.Fatal(err)
		}
		lb, alive = seen.LoadBalancers["www.example.com"]
		return lb, alive, seen.Generations[spec.Ref{Kind: spec.KindLoadBalancer, Name: "www.example.com"}]
	}
	t.Fatalf("no machine is %s: %v", node, w.instances(t))
	return lb, false, 0
}

// opened returns the secrets that the nodes can read, each once.
func (w *world) opened(t *testing.T, lb spec.LoadBalancer) []string {
	t.Helper()
	out := map[string]bool{}
	if lb.Removal == nil {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(w.machines.Dir, "*", "var", "lib", "atoll", "identity.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for node, sealed := range lb.Removal.Tokens {
		read := "nobody can read that of " + node
		for _, file := range files {
			pem, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			identity, err := trust.ParseIdentity(pem)
			if err != nil {
				t.Fatal(err)
			}
			if secret, err := identity.Open(sealed); err == nil {
				read = secret
			}
		}
		out[read] = true
	}
	return slices.Sorted(maps.Keys(out))
}

const removalToken = "removal-token-of-the-acceptance-tests"

// removal is the argument of that name.
func removal(token string, version int) string {
	return fmt.Sprintf("quick_removal = { api_token = %q, api_token_version = %d }", token, version)
}

// takeOut disables an endpoint and records that the nodes have done so, as they do it themselves.
func (e *edge) takeOut(t *testing.T, name string) {
	t.Helper()
	for _, p := range e.Account().Pools {
		p.Origins = slices.Clone(p.Origins)
		for n := range p.Origins {
			if p.Origins[n].Name == name {
				p.Origins[n].Enabled = false
				p.Description += " removed:" + name
			}
		}
		e.send(t, http.MethodPut, "/accounts/"+emulated.AccountID+"/load_balancers/pools/"+p.ID, map[string]any{
			"name": p.Name, "description": p.Description, "origins": p.Origins, "monitor": p.Monitor,
		})
	}
}

// TestLoadBalancerNodes tells real agents of a load balancer: what they are to know, who may read the token, what they have taken
// out, and that they forget it again.
func TestLoadBalancerNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.edge.Tokens = map[string]emulated.Token{}
	for _, token := range []string{removalToken, removalToken + "-2"} {
		w.edge.Tokens[token] = emulated.Token{Permissions: []string{emulated.MonitorsAndPoolsWrite, emulated.LoadBalancersWrite}}
	}
	value := func(path tfjsonpath.Path, v knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(www, path, v)
	}
	health := func(path string) statecheck.StateCheck {
		return value(tfjsonpath.New("monitor").AtMapKey("path"), knownvalue.StringExact(path))
	}
	look := func(f func(spec.LoadBalancer, bool) error) statecheck.StateCheck {
		return checkState(func() error {
			for _, n := range crewNames() {
				lb, alive, _ := w.held(t, n)
				if err := f(lb, alive); err != nil {
					return fmt.Errorf("%s holds %+v: %w", n, lb, err)
				}
			}
			return nil
		})
	}
	reads := func(token string) statecheck.StateCheck {
		return look(func(lb spec.LoadBalancer, _ bool) error {
			if got := w.opened(t, lb); !slices.Equal(got, []string{token}) || len(lb.Removal.Tokens) != 3 {
				return fmt.Errorf("the nodes read %q", got)
			}
			return nil
		})
	}
	out := func(want bool) statecheck.StateCheck {
		return checkState(func() error {
			p := w.edge.Account().Pools[0]
			for _, o := range p.Origins {
				if o.Name == "b1" && o.Enabled == want {
					return fmt.Errorf("b1 is enabled=%v, description %q", o.Enabled, p.Description)
				}
			}
			return nil
		})
	}
	minimum := func(want int) []statecheck.StateCheck {
		return []statecheck.StateCheck{
			value(tfjsonpath.New("minimum_nodes"), knownvalue.Int64Exact(int64(want))),
			look(func(lb spec.LoadBalancer, _ bool) error {
				if lb.MinimumNodes != want {
					return fmt.Errorf("they keep %d nodes, want %d", lb.MinimumNodes, want)
				}
				return nil
			}),
		}
	}
	var letGo func()
	var before uint64
	full := func(token string, version int, more string) string {
		return crew(removal(token, version) + `
  port              = 8080
  application_check = { type = "tcp", port = 8081, interval = 5 }
  ` + more)
	}
	w.test(t,
		resource.TestStep{Config: crew(""), ConfigStateChecks: []statecheck.StateCheck{
			health("/health"), value(tfjsonpath.New("removed"), knownvalue.SetSizeExact(0)),
			look(func(_ spec.LoadBalancer, alive bool) error {
				if alive {
					return errors.New("a plain load balancer is none of the nodes' business")
				}
				return nil
			}),
		}},
		resource.TestStep{
			Config: crew(removal(removalToken, 1) + "\napplication_check = { type = \"tcp\" }\nport = 8080\nminimum_nodes = 2"), ConfigPlanChecks: updatesInPlace(),
			ConfigStateChecks: []statecheck.StateCheck{
				health("/health/www.example.com"), reads(removalToken),
				look(func(lb spec.LoadBalancer, _ bool) error {
					want := w.edge.Account().Pools[0].ID
					if lb.Removal.Endpoints["b1"] != (spec.PoolEndpoint{Pool: want, Name: "b1"}) || lb.Removal.AccountID != emulated.AccountID ||
						lb.Removal.BalancerID == "" || lb.MinimumNodes != 2 || lb.Check.Type != spec.CheckTCP || lb.Nodes["a1"].Port != 8080 {
						return errors.New("that is not what was described")
					}
					return nil
				}),
			},
		},
		resource.TestStep{Config: crew(removal(removalToken, 1) + "\napplication_check = { type = \"tcp\" }\nport = 8080\nminimum_nodes = 2"), ConfigPlanChecks: emptyPlan()},
		// A change that is only Cloudflare's leaves the nodes alone; another token is sealed anew.
		resource.TestStep{
			PreConfig: func() { _, _, before = w.held(t, "a1") },
			Config:    crew(removal(removalToken, 1) + "\napplication_check = { type = \"tcp\" }\nport = 8080\nminimum_nodes = 2\nsteering = \"random\""),
			ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
				if _, _, g := w.held(t, "a1"); g != before {
					return errors.New("the nodes were told again")
				}
				return nil
			})},
		},
		resource.TestStep{
			Config:           full(removalToken+"-2", 2, ""),
			ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: []statecheck.StateCheck{reads(removalToken + "-2")},
		},
		// A node that is made again has another identity.
		resource.TestStep{
			Config: full(removalToken+"-2", 2, ""), Taint: []string{"atoll_node.c1"},
			ConfigStateChecks: []statecheck.StateCheck{reads(removalToken + "-2")},
		},
		// What the nodes have taken out is no drift, and no change undoes it.
		resource.TestStep{
			PreConfig: func() {
				letGo = w.edge.Inject(emulated.Fault{Method: http.MethodPatch, PathPrefix: "/accounts", Status: http.StatusServiceUnavailable, Times: -1})
				w.edge.takeOut(t, "b1")
			},
			Config: full(removalToken+"-2", 2, ""), ConfigPlanChecks: emptyPlan(),
			ConfigStateChecks: []statecheck.StateCheck{value(tfjsonpath.New("removed"), knownvalue.SetExact([]knownvalue.Check{knownvalue.StringExact("b1")}))},
		},
		resource.TestStep{
			Config: full(removalToken+"-2", 2, `node_settings = { a1 = { weight = 0.5 }, c1 = { weight = 0 } }`), ConfigPlanChecks: updatesInPlace(),
			ConfigStateChecks: []statecheck.StateCheck{
				look(func(lb spec.LoadBalancer, _ bool) error {
					if !lb.Nodes["a1"].Enabled || lb.Nodes["c1"].Enabled {
						return errors.New("a node that gets no traffic is not disabled for the others")
					}
					return nil
				}),
				out(true), value(tfjsonpath.New("removed"), knownvalue.SetExact([]knownvalue.Check{knownvalue.StringExact("b1")})),
			},
		},
		// Back to a load balancer that is none of the nodes' business.
		resource.TestStep{Config: crew(""), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: []statecheck.StateCheck{
			out(false), health("/health"), look(func(_ spec.LoadBalancer, alive bool) error {
				if alive {
					return errors.New("they still hold it")
				}
				return nil
			}),
		}},
		resource.TestStep{
			PreConfig: func() { letGo() },
			Config:    crew(removal(removalToken, 1)), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: minimum(1),
		},
		// The floor is there without a check, too: for what all nodes have lost, and for the last survivors.
		resource.TestStep{Config: crew(removal(removalToken, 1) + "\nminimum_nodes = 0"), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: minimum(0)},
		resource.TestStep{Config: crew("port = 8080\nlocal_proxy = { port = 8000 }"), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: minimum(1)},
	)
	if left := len(w.edge.Account().LoadBalancers); left != 0 {
		t.Errorf("%d load balancers are left", left)
	}
}

// TestLoadBalancerRemoved has an endpoint taken out as nodes do it who have no right to: that is drift, and put right.
func TestLoadBalancerRemoved(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	enabled := func(want bool) statecheck.StateCheck {
		return checkState(func() error {
			for _, p := range e.Account().Pools {
				for _, o := range p.Origins {
					if o.Name == "hk2" && o.Enabled != want {
						return fmt.Errorf("hk2 is enabled=%v, description %q", o.Enabled, p.Description)
					}
				}
			}
			return nil
		})
	}
	// Without quick_removal nobody has a right to the record: it is drift.
	e.test(t,
		resource.TestStep{Config: served("", hk1, hk2, sg1)},
		resource.TestStep{PreConfig: func() { e.takeOut(t, "hk2") }, Config: served("", hk1, hk2, sg1), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: []statecheck.StateCheck{enabled(true)}},
	)
}

// TestLoadBalancerNodesRefuse gives configurations whose nodes could not do what is asked of them.
func TestLoadBalancerNodesRefuse(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	told := func(more string, nodes ...at) string {
		return strings.ReplaceAll(served(more, nodes...), "addresses =", `endpoints = ["192.0.2.9:7443"], identity = "x", addresses =`)
	}
	three := []at{hk1, hk2, sg1}
	tests := []struct{ config, says string }{
		{told(removal("t", 1), hk1, sg1), "quick_removal needs at least 3 nodes, not 2"},
		{served(removal("t", 1), three...), "has no endpoints"},
		{told("mode = \"dns\"\n"+removal("t", 1), three...), "there are no pools"},
		{told(`quick_removal = { api_token = "" }`, three...), "string length must be at least 1"},
		{told(`quick_removal = {}`, three...), `attribute "api_token" is required`},
		{told(`minimum_nodes = 1`, three...), "has no effect without application_check, quick_removal and local_proxy"},
		{told(removal("t", 1)+"\nminimum_nodes = 4", three...), "there are only 3 nodes"},
		{told("application_check = { type = \"tcp\", port = 80 }\nminimum_nodes = 4", three...), "there are only 3 nodes"},
		{told(`application_check = { type = "http", port = 8080, status = 150 }`, three...), "application_check.status value must be between 200 and 599, got: 150"},
		{told(`application_check = { type = "http", port = 8080, status = 600 }`, three...), "application_check.status value must be between 200 and 599, got: 600"},
		{told(`application_check = { type = "tcp" }`, three...), "its port must be known"},
		{told(`application_check = { type = "tcp", port = 7480 }`, three...), "the port of the agent's health endpoint"},
		{told(`application_check = { type = "http", port = 7443 }`, three...), "the port of the agent's API"},
		{told(`application_check = { type = "tcp", port = 8080, path = "/" }`, three...), "path has no effect on a check of type tcp"},
		{told(`application_check = { type = "command" }`, three...), "absolute path"},
		{told(`application_check = { type = "command", command = ["check"] }`, three...), "absolute path"},
		{told("local_proxy = { port = 80 }\nport = 8080\napplication_check = { type = \"tcp\", port = 80 }", three...), "the port of local_proxy"},
		{told("local_proxy = { port = 8080 }\nport = 8080", three...), "the port of the application"},
		{told("local_proxy = { port = 7480 }\nport = 8080", three...), "the port of the agent's health endpoint"},
		{told("local_proxy = { port = 80 }", three...), "its port must be known"},
		{told("local_proxy = {}\nport = 8080", three...), "local_proxy listens nowhere"},
		{told("local_proxy = { port = 443, tls = {} }\nport = 8080", three...), "is the port of plain HTTP too"},
		{told("local_proxy = { tls = { validity_days = 8 } }\nport = 8080", three...), "validity_days"},
		{told("proxied = false\nlocal_proxy = { tls = {} }\nport = 8080", three...), "tls needs proxied"},
		{
			strings.Replace(told("local_proxy = { port = 80 }\nport = 8080", three...), `name = "web"`, `name = "other"`, 1),
			"only the nodes of one cluster know each other",
		},
	}
	var steps []resource.TestStep
	for _, tt := range tests {
		steps = append(steps, resource.TestStep{Config: tt.config, PlanOnly: true, ExpectError: says(tt.says)})
	}
	e.test(t, steps...)
	if got := e.changes(); len(got) != 0 {
		t.Errorf("Cloudflare was asked to %q", got)
	}
}
