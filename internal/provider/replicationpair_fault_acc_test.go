package provider_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// pairSeen is a pair as some node sees it.
type pairSeen = api.PairView

// awaitPair waits until all nodes that answer see a pair as check demands.
func (w *world) awaitPair(t *testing.T, name string, check func(pairSeen) bool) {
	t.Helper()
	op := operator.New(operator.Config{
		SigningKey: func() (*trust.SigningKey, error) { return w.key, nil }, Patience: operator.Patience{Dial: time.Second},
	})
	await.NoError(t, "pair "+name, 30*time.Second, func(ctx context.Context) error {
		var errs []error
		answered := false
		for _, m := range w.machines.Machines() {
			status, err := op.Status(ctx, "web", operator.Peer{Endpoints: []string{m.Address.String() + ":7443"}})
			if err != nil {
				errs = append(errs, err)
				continue
			}
			answered = true
			if p := status.Pairs[name]; !check(p) {
				return fmt.Errorf("%s sees %+v", status.Seen, p)
			}
		}
		if answered {
			return nil
		}
		return errors.Join(errs...)
	})
}

// push gives a signed object to a node, as another run does.
func (w *world) push(t *testing.T, node, name string, body spec.Body) {
	t.Helper()
	now := uint64(time.Now().UnixMilli())
	o, err := spec.NewObject("web", name, now, now, body)
	if err != nil {
		t.Fatal(err)
	}
	e, err := trust.SignObject(w.key, o)
	if err != nil {
		t.Fatal(err)
	}
	client := api.NewOperatorClient(w.key, api.Target{Cluster: "web", Node: node, Endpoints: []string{w.addressOf(t, node) + ":7443"}})
	defer client.Close()
	out, err := client.Push(t.Context(), []store.Record{store.ObjectRecord(e)})
	if err != nil || out[0].Result != store.Accepted {
		t.Fatalf("push %s: %v, %v", name, out, err)
	}
}

// TestPairWithADeadNode changes a pair, one of whose nodes is dead, and removes it when both are.
func TestPairWithADeadNode(t *testing.T) {
	t.Parallel()
	w, run := newWorld(t), &applies{}
	config, changed := twoNodes()+uploadsPair(""), twoNodes()+uploadsPair(`exclude = ["*.log"]`)
	var dead *inproc.Machine
	run.test(t, w,
		resource.TestStep{Config: config},
		resource.TestStep{
			PreConfig: func() {
				dead = w.machineOf(t, "b1")
				if err := dead.Stop(); err != nil {
					t.Fatal(err)
				}
				w.awaitPair(t, "uploads", func(p pairSeen) bool { return p.State == spec.PairDisconnected && p.Sides["b1"].Stale })
			},
			Config: config, ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{pairState("disconnected")},
		},
		resource.TestStep{Config: changed, ConfigPlanChecks: changesInPlace(uploads), ConfigStateChecks: []statecheck.StateCheck{
			run.says("It takes over what has changed when it comes back."),
		}},
		resource.TestStep{
			PreConfig: func() {
				dead.Start()
				w.awaitPair(t, "uploads", func(p pairSeen) bool {
					side, _ := dead.PairSide("uploads")
					return p.State == spec.PairSynced && len(side.Exclude) == 1
				})
			},
			Config: changed, ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{
				checkState(func() error {
					if side, _ := dead.PairSide("uploads"); len(side.Exclude) != 1 || side.Exclude[0] != "*.log" {
						return fmt.Errorf("b1 excludes %q", side.Exclude)
					}
					return nil
				}),
				checkState(func() error {
					return errors.Join(dead.Stop(), w.machineOf(t, "a1").Stop())
				}),
			},
		},
	)
	if err := run.says("Its files stay on both nodes, /srv/uploads on a1 and /srv/uploads on b1")(); err != nil {
		t.Error(err)
	}
}

// TestPairOfANodeMadeAgain makes a node of a pair again: it is told anew, in place.
func TestPairOfANodeMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := twoNodes() + uploadsPair("")
	w.test(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			Config: config, Taint: []string{"atoll_node.b1"}, ConfigPlanChecks: pairPlanned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{pairState("synced")},
		},
		resource.TestStep{Config: config, ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{pairState("synced")}},
		// Another node takes the place of one.
		resource.TestStep{
			Config: config + strings.TrimPrefix(linodeNode("c1", ""), clusterConfig),
		},
		resource.TestStep{
			Config:           strings.Replace(config+strings.TrimPrefix(linodeNode("c1", ""), clusterConfig), "right = { node = atoll_node.b1", "right = { node = atoll_node.c1", 1),
			ConfigPlanChecks: changesInPlace(uploads), ConfigStateChecks: []statecheck.StateCheck{
				pairState("synced"),
				checkState(func() error {
					if side, ok := w.machineOf(t, "c1").PairSide("uploads"); !ok || side.Peer != "a1" {
						return fmt.Errorf("c1 has %+v", side)
					}
					return nil
				}),
			},
		},
	)
}

// TestPairThatFails says why, keeps the pair in the state, and makes it again when it is mended.
func TestPairThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.test(t,
		resource.TestStep{Config: twoNodes()},
		resource.TestStep{
			Config:      twoNodes() + uploadsPair(`owner = "`+inproc.MissingAccount+`"`),
			ExpectError: says("Pair is not synchronized", "has failed: there is no account", "make it"),
		},
		resource.TestStep{
			Config: twoNodes() + uploadsPair(""), ConfigPlanChecks: pairPlanned(plancheck.ResourceActionDestroyBeforeCreate),
			ConfigStateChecks: []statecheck.StateCheck{pairState("synced")},
		},
		// A change that fails is planned again.
		resource.TestStep{
			Config:      twoNodes() + uploadsPair(`owner = "`+inproc.MissingAccount+`"`),
			ExpectError: says("Pair has not taken over the change", "there is no account"),
		},
		resource.TestStep{Config: twoNodes() + uploadsPair(""), ConfigPlanChecks: changesInPlace(uploads)},
		resource.TestStep{Config: twoNodes() + uploadsPair(""), ConfigPlanChecks: emptyPlan()},
	)
}

// TestPairWithoutANode asks for a pair one of whose nodes does not answer.
func TestPairWithoutANode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := twoNodes() + uploadsPair("")
	w.test(t,
		resource.TestStep{Config: twoNodes()},
		resource.TestStep{
			PreConfig: func() {
				if err := w.machineOf(t, "b1").Stop(); err != nil {
					t.Fatal(err)
				}
			},
			Config: config, ExpectError: says(`Node "b1" does not answer`, "Both nodes must be up when a pair is made"),
		},
		resource.TestStep{PreConfig: func() { w.machineOf(t, "b1").Start() }, Config: config},
		resource.TestStep{Config: config, ConfigPlanChecks: emptyPlan()},
	)
}

// TestPairBesideOthers makes pairs that do not fit beside what another state has made.
func TestPairBesideOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adjust = func(c *operator.Config) { c.Patience.Effect = time.Second }
	other := func(path string) spec.Pair {
		return spec.Pair{
			Driver: spec.ReplicationUnison, Ends: map[string]spec.PairEnd{"a1": {Path: path}, "b1": {Path: path}}, Leader: "a1",
			Owner: "www-data", Group: "www-data", Objective: 5,
		}
	}
	config := twoNodes() + uploadsPair("")
	w.test(t,
		resource.TestStep{Config: twoNodes()},
		resource.TestStep{
			PreConfig: func() { w.push(t, "a1", "other", other("/srv/uploads/other")) },
			Config:    config, ExpectError: says("pair uploads does not fit", "lie within one another"),
		},
		resource.TestStep{
			PreConfig: func() {
				if err := w.warned.check(true, "Unless this run removes or changes the other pair"); err != nil {
					t.Error(err)
				}
				w.push(t, "a1", "other", other("/srv/other"))
				w.push(t, "a1", "uploads", other("/srv/elsewhere"))
			},
			Config: config, ExpectError: says(`has a pair "uploads" already, of /srv/elsewhere on a1`, "import"),
		},
		// One of the same trees is what a run has left that was killed: it is taken over.
		resource.TestStep{
			PreConfig: func() {
				w.adjust = nil // what follows takes effect, however long that takes
				w.push(t, "a1", "uploads", other("/srv/uploads"))
			},
			Config: config, ConfigStateChecks: []statecheck.StateCheck{pairState("synced")},
		},
		resource.TestStep{Config: config, ConfigPlanChecks: emptyPlan()},
		// Another run changes it between plan and apply.
		resource.TestStep{
			Config: twoNodes() + uploadsPair(`exclude = []`),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{do(func() error {
				w.push(t, "a1", "uploads", other("/srv/uploads"))
				return nil
			})}},
			ExpectError: says("Changed by another run", "Nothing was overwritten"),
		},
	)
}

// TestInterruptedApplyOfAPair presses Ctrl-C while the first synchronization is under way. The state knows of the pair, so that the
// next apply goes on and a destroy removes it.
func TestInterruptedApplyOfAPair(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	work := w.workspace(t)
	write := func(owner string) {
		t.Helper()
		config := "terraform {\n  required_providers {\n    atoll = { source = \"atollhq/atoll\" }\n  }\n}\n" + twoNodes() + uploadsPair(`owner = "`+owner+`"`)
		if err := work.Write("main.tf", config); err != nil {
			t.Fatal(err)
		}
	}
	write(inproc.SlowAccount)
	run(t, work, "init")
	run(t, work, "apply", "-auto-approve", "-target=atoll_node.a1", "-target=atoll_node.b1")
	a1 := w.machineOf(t, "a1")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan string, 1)
	go func() {
		result, err := work.Run(ctx, "apply", "-auto-approve")
		if err == nil {
			result.Output = "the apply has succeeded"
		}
		ended <- result.Output
	}()
	await.NoError(t, "a1 has the pair", time.Minute, func(context.Context) error {
		if _, ok := a1.PairSide("uploads"); !ok {
			return errors.New("not yet")
		}
		return nil
	})
	interrupt()
	if output := <-ended; !says("The run was interrupted:").MatchString(output) {
		t.Errorf("the apply ended with: %s", output)
	}
	if list := run(t, work, "state", "list").Output; !strings.Contains(list, uploads) {
		t.Errorf("the state has only %s", list)
	}
	write("www-data")
	run(t, work, "apply", "-auto-approve")
	run(t, work, "plan", "-detailed-exitcode")
	run(t, work, "destroy", "-auto-approve")
	if left := w.instances(t); len(left) != 0 {
		t.Errorf("instances are left: %v", left)
	}
}
