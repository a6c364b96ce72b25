package provider_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// TestLoadBalancerNodesUnknown plans with values that are known only after another resource is made.
func TestLoadBalancerNodesUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const later = `
resource "terraform_data" "later" {
  input = { port = 8080, type = "tcp", minimum = 2, proxy = { port = 8000 }, version = 3, token = "` + edgeToken + `" }
}
`
	const latest = "resource \"terraform_data\" \"latest\" {\n  input = { port = 8001 }\n}\n"
	config := later + crew(`
  port              = terraform_data.later.output.port
  application_check = { type = terraform_data.later.output.type }
  minimum_nodes     = terraform_data.later.output.minimum
  local_proxy       = terraform_data.later.output.proxy
  quick_removal     = { api_token = terraform_data.later.output.token, api_token_version = terraform_data.later.output.version }
`)
	w.test(t,
		resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
			lb, _, _ := w.held(t, "a1")
			if lb.Proxy == nil || lb.Proxy.Port != 8000 || lb.Check == nil || lb.MinimumNodes != 2 || lb.Nodes["c1"].Port != 8080 || lb.Removal == nil {
				return fmt.Errorf("the nodes hold %+v", lb)
			}
			return nil
		})}},
		resource.TestStep{Config: config, ConfigPlanChecks: emptyPlan()},
		// A default that depends on what is not known yet.
		resource.TestStep{Config: latest + crew("port = 8080\n  local_proxy = terraform_data.latest.output"), ConfigStateChecks: []statecheck.StateCheck{
			statecheck.ExpectKnownValue(www, tfjsonpath.New("minimum_nodes"), knownvalue.Int64Exact(1)),
		}},
	)
}

// TestLoadBalancerTokenLacks gives a token of quick_removal that could not do it: the apply says which permission is missing.
func TestLoadBalancerTokenLacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.edge.Tokens = map[string]emulated.Token{
		"reads": {Permissions: []string{emulated.MonitorsAndPoolsRead}},
		"pools": {Permissions: []string{emulated.MonitorsAndPoolsWrite}},
	}
	w.test(t,
		resource.TestStep{Config: crew("")},
		resource.TestStep{Config: crew(removal("reads", 1)), ExpectError: says("Monitors and Pools Write", "quick_removal")},
		resource.TestStep{Config: crew(removal("pools", 1)), ExpectError: says("Load Balancers Write", "quick_removal")},
		resource.TestStep{Config: crew(removal("none", 1)), ExpectError: says("Token of quick_removal")},
		// Without sessions nothing has to be drained.
		resource.TestStep{Config: crew(removal("pools", 1) + "\n  session_affinity = { type = \"none\" }")},
	)
}

// TestLoadBalancerNodesGone destroys a load balancer whose nodes are all dead: nothing is left at Cloudflare, and nothing fails.
func TestLoadBalancerNodesGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := crew("port = 8080\n  application_check = { type = \"tcp\" }\n  local_proxy = { tls = {} }")
	w.test(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			PreConfig: func() {
				for id := range w.instances(t) {
					if err := w.machines.Shutdown(t.Context(), id); err != nil {
						t.Error(err)
					}
				}
			},
			Config: config, Destroy: true,
		},
	)
	if a := w.edge.Account(); len(a.LoadBalancers)+len(a.Pools)+len(a.Monitors)+len(a.Certificates) != 0 {
		t.Errorf("left: %+v", a)
	}
}

// TestLoadBalancerSwitchedOff takes quick_removal away while a node is dead that the others have taken out: its endpoint is given back
// for good, since nobody would do it later.
func TestLoadBalancerSwitchedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.edge.Tokens = map[string]emulated.Token{
		removalToken: {Permissions: []string{emulated.MonitorsAndPoolsWrite, emulated.LoadBalancersWrite}},
	}
	out := func() bool {
		for _, o := range w.edge.Account().Pools[0].Origins {
			if o.Name == "c1" {
				return !o.Enabled
			}
		}
		return false
	}
	// A dead node's own changes would wait for it.
	w.test(t,
		resource.TestStep{Config: crew(removal(removalToken, 1))},
		resource.TestStep{
			PreConfig: func() {
				for id, label := range w.instances(t) {
					if strings.HasSuffix(label, "c1") {
						if err := w.machines.Shutdown(t.Context(), id); err != nil {
							t.Error(err)
						}
					}
				}
				await.True(t, "the others take it out", time.Minute, out)
			},
			Config: crew(""), ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
				if _, alive, _ := w.held(t, "a1"); alive || out() {
					return fmt.Errorf("the nodes hold it: %v, c1 is out: %v", alive, out())
				}
				return nil
			})},
		},
	)
	if len(w.edge.Account().Pools) != 0 {
		t.Error("pools are left")
	}
}

// TestLoadBalancerImportedWithNodes imports a load balancer whose nodes have a part in it: they forget it when the configuration has
// none for them.
func TestLoadBalancerImportedWithNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	checked := crew("port = 8080\n  application_check = { type = \"tcp\" }")
	plain := crew("port = 8080")
	bare := linodes(crewNames()...)
	holds := func(want bool) []statecheck.StateCheck {
		return []statecheck.StateCheck{checkState(func() error {
			if _, alive, _ := w.held(t, "a1"); alive != want {
				return fmt.Errorf("the nodes hold it: %v", alive)
			}
			return nil
		})}
	}
	imports := func(config string) resource.TestStep {
		return resource.TestStep{ResourceName: www, ImportState: true, ImportStatePersist: true, ImportStateId: "www.example.com", Config: config}
	}
	forget := resource.TestStep{Config: bare + "removed {\n  from = " + www + "\n  lifecycle {\n    destroy = false\n  }\n}\n"}
	w.test(t,
		resource.TestStep{Config: checked, ConfigStateChecks: holds(true)},
		forget,
		imports(checked),
		resource.TestStep{Config: checked, ConfigStateChecks: holds(true)},
		resource.TestStep{Config: checked, ConfigPlanChecks: emptyPlan()},
		forget,
		imports(plain),
		resource.TestStep{Config: plain, ConfigStateChecks: holds(false)},
		resource.TestStep{Config: plain, ConfigPlanChecks: emptyPlan()},
	)
}
