package provider_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
)

// seedling is a machine that nobody can log in to; it takes what is put into it.
type seedling struct {
	*inproc.Machine
	world *world
}

func (w *world) newSeedling(t *testing.T) *seedling {
	t.Helper()
	m, err := w.machines.New()
	if err != nil {
		t.Fatal(err)
	}
	return &seedling{m, w}
}

// seed makes a seed as the operator does and returns it.
func (w *world) seed(t *testing.T, node string) []byte {
	t.Helper()
	var out, problems bytes.Buffer
	code := cli.Run(t.Context(), cli.Environment{
		Args:   []string{"seed", "--cluster", "web", "--node", node, "--format", "json", "--out", "-"},
		Stdout: &out, Stderr: &problems, Getenv: func(name string) string { return w.env[name] }, Version: "test",
	})
	if code != 0 {
		t.Fatalf("atoll seed: %s", problems.String())
	}
	return out.Bytes()
}

// plug puts a seed into the machine, in place of the one before.
func (s *seedling) plug(t *testing.T, seed []byte) {
	t.Helper()
	file := filepath.Join(s.Root, "etc", "atoll", "first-boot.json")
	err := os.WriteFile(file+".new", seed, 0o600)
	if err == nil {
		err = os.Rename(file+".new", file) // whoever looks sees all of it
	}
	if err != nil {
		t.Error(err)
	}
}

// health is what the machine says to everybody, with an error as long as it says nothing.
func (s *seedling) health(ctx context.Context) (api.Health, error) {
	return api.FetchHealth(ctx, net.JoinHostPort(s.Address.String(), "7480"))
}

// awaitWaiting returns when the machine says that it waits for first-boot data.
func (s *seedling) awaitWaiting(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if h, err := s.health(ctx); err == nil && h.State == "waiting" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// config is a configuration of the cluster with the machine as its node.
func (s *seedling) config(name, more string) string {
	return clusterConfig + s.node(name, more)
}

func (s *seedling) node(name, more string) string {
	more += patience(more)
	return fmt.Sprintf(`
resource "atoll_node" %[1]q {
  cluster        = atoll_cluster.web
  name           = %[1]q
  failure_domain = { provider = "colo", site = "hong-kong" }
  seed           = { host = %[2]q }
  %[3]s
}
`, name, s.Address, more)
}

// TestSeed has a machine boot with its seed before the apply, changes it, imports it and lets it go.
func TestSeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.newSeedling(t)
	s.plug(t, w.seed(t, "hk1"))
	s.Start()
	config := s.config("hk1", "")
	w.test(t,
		resource.TestStep{
			Config: config,
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue("atoll_node.hk1", tfjsonpath.New("identity"), knownvalue.StringRegexp(says("ed25519:"))),
				statecheck.ExpectKnownValue("atoll_node.hk1", tfjsonpath.New("instance_id"), knownvalue.Null()),
				statecheck.ExpectKnownValue("atoll_node.hk1", tfjsonpath.New("addresses"), knownvalue.ListExact([]knownvalue.Check{knownvalue.StringExact(s.Address.String())})),
			},
		},
		resource.TestStep{Config: config, ConfigPlanChecks: emptyPlan()},
		resource.TestStep{
			Config: s.config("hk1", fmt.Sprintf("addresses = [%q, \"hk1.example.net\"]", s.Address)),
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply:             []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_node.hk1", plancheck.ResourceActionUpdate)},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
		},
		resource.TestStep{
			ResourceName: "atoll_node.hk1", ImportState: true, ImportStateVerify: true,
			ImportStateIdFunc:       fromEndpoint("atoll_node.hk1", "web/hk1"),
			ImportStateVerifyIgnore: []string{"seed", "timeouts"},
		},
		resource.TestStep{ // imported for good: what was not known is written down, and costs nothing
			Config: "removed {\n  from = atoll_node.hk1\n  lifecycle { destroy = false }\n}\n" + clusterConfig,
		},
		resource.TestStep{Config: config, ExpectError: says("Node exists already", "terraform import")},
		resource.TestStep{
			Config: config, ResourceName: "atoll_node.hk1", ImportState: true, ImportStatePersist: true,
			ImportStateId: "web/hk1@" + net.JoinHostPort(s.Address.String(), "7443"),
		},
		resource.TestStep{Config: config, ConfigPlanChecks: resource.ConfigPlanChecks{
			PreApply:             []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_node.hk1", plancheck.ResourceActionUpdate)},
			PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
		}},
	)
	// The machine has heard of its removal, has cleaned up after itself and can be made a node again.
	if err := s.awaitWaiting(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSeedComesLater begins with the apply. The machine boots while it waits, with a seed that is made only then.
func TestSeedComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.newSeedling(t)
	var lc net.ListenConfig
	knocks, err := lc.Listen(t.Context(), "tcp", net.JoinHostPort(s.Address.String(), "7480"))
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan struct{})
	go func() {
		defer close(began)
		conn, err := knocks.Accept() // the apply asks how the machine is
		if err != nil {
			t.Error(err)
			return
		}
		if err := errors.Join(conn.Close(), knocks.Close()); err != nil {
			t.Error(err)
		}
		s.Start()
		if err := s.awaitWaiting(t.Context()); err != nil {
			t.Error(err)
		}
		s.plug(t, w.seed(t, "hk1"))
	}()
	w.test(t, resource.TestStep{Config: s.config("hk1", ""), ConfigPlanChecks: resource.ConfigPlanChecks{
		PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
	}})
	<-began
}

// TestSeedNeverComes waits in vain, at first for a machine that is off, then for one without a seed. The message says how to
// make the seed, and the seed of the first try is still good afterwards.
func TestSeedNeverComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.newSeedling(t)
	seed := w.seed(t, "hk1")
	impatient := s.config("hk1", `timeouts = { create = "3s" }`)
	create := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_node.hk1", plancheck.ResourceActionCreate)}}
	w.test(t,
		resource.TestStep{Config: impatient, ExpectError: says("No machine has joined", "atoll seed --cluster web --node hk1", "timeouts.create")},
		resource.TestStep{
			PreConfig: s.Start, Config: impatient, ConfigPlanChecks: create,
			ExpectError: says("Its agent runs; the node says:", "first-boot data"),
		},
		resource.TestStep{PreConfig: func() { s.plug(t, seed) }, Config: s.config("hk1", ""), ConfigPlanChecks: create},
	)
}

// TestSeedIsUsedUp removes a node and boots another machine with the seed of the removed one. That is refused, and a new seed
// helps.
func TestSeedIsUsedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.newSeedling(t), w.newSeedling(t)
	seed := w.seed(t, "hk1")
	first.plug(t, seed)
	first.Start()
	other := linodeNode("sg1", "")
	w.test(t,
		resource.TestStep{Config: other + first.node("hk1", "")},
		resource.TestStep{Config: other},
		resource.TestStep{
			PreConfig: func() {
				second.plug(t, seed)
				second.Start()
			},
			Config:      other + second.node("hk1", `timeouts = { create = "5s" }`),
			ExpectError: says("has used a seed of", "make a new seed"),
		},
		resource.TestStep{
			PreConfig: func() {
				if err := second.Stop(); err != nil {
					t.Error(err)
				}
				second.plug(t, w.seed(t, "hk1"))
				second.Start()
			},
			Config: other + second.node("hk1", ""),
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
		},
	)
}

// TestSeedAgain makes a node again in one apply, on the machine that it was on. The machine leaves, gets a new seed and joins
// with a new identity.
func TestSeedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.newSeedling(t)
	s.plug(t, w.seed(t, "hk1"))
	s.Start()
	config := linodeNode("sg1", "") + s.node("hk1", "")
	var before, after string
	identity := tfjsonpath.New("identity")
	w.test(t,
		resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{readString("atoll_node.hk1", identity, &before)}},
		resource.TestStep{
			Taint:  []string{"atoll_node.hk1"},
			Config: config,
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply: []plancheck.PlanCheck{do(func() error {
					go func() {
						if err := s.awaitWaiting(t.Context()); err != nil {
							t.Error(err)
							return
						}
						s.plug(t, w.seed(t, "hk1"))
					}()
					return nil
				})},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
			ConfigStateChecks: []statecheck.StateCheck{readString("atoll_node.hk1", identity, &after)},
		},
	)
	if before == "" || before == after {
		t.Errorf("got identity %q before and %q after, want two", before, after)
	}
}

// TestSeedMachineIsDead removes a node whose machine is off.
func TestSeedMachineIsDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.newSeedling(t)
	s.plug(t, w.seed(t, "hk1"))
	s.Start()
	config := s.config("hk1", "")
	w.test(t,
		resource.TestStep{Config: config},
		resource.TestStep{PreConfig: func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		}, Config: config, Destroy: true},
	)
}

// TestSeedRefusals writes what cannot be.
func TestSeedRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.newSeedling(t)
	config := s.config("hk1", "")
	domain := `failure_domain = { provider = "colo", site = "hong-kong" }`
	w.test(t,
		resource.TestStep{Config: strings.Replace(config, domain, "", 1), ExpectError: says("is not known of a machine that Atoll did not create")},
		resource.TestStep{Config: strings.Replace(config, s.Address.String(), "not a host", 1), ExpectError: says("not a host")},
		resource.TestStep{Config: strings.Replace(config, "seed ", `ssh = { host = "192.0.2.1" }
  seed `, 1), ExpectError: says("Invalid Attribute Combination")},
	)
}
