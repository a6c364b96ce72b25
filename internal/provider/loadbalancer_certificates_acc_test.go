package provider_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// certified is three nodes that serve HTTPS with certificates of a validity in days.
func certified(days int) string {
	return crew(fmt.Sprintf("port = 8080\n  local_proxy = { port = 8000, tls = { port = 8443, validity_days = %d } }", days))
}

// certificates returns the ids and validities of the certificates that are not revoked.
func (e *edge) certificates() map[string]int {
	out := map[string]int{}
	for _, c := range e.Account().Certificates {
		out[c.ID] = c.Days
	}
	return out
}

// demandCertificates demands that there are three of a validity that are not revoked, and that none of others is among them.
func (e *edge) demandCertificates(days int, others map[string]int) error {
	now := e.certificates()
	fine := len(now) == 3
	for id, validity := range now {
		_, other := others[id]
		fine = fine && validity == days && !other
	}
	if !fine {
		return fmt.Errorf("the certificates are %v, which is not three of %d days beside %v", now, days, others)
	}
	return nil
}

// TestLoadBalancerCertificates has a certificate issued for each node, whose key never leaves it, and revokes what is not used any more.
func TestLoadBalancerCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := certified
	var before map[string]string
	held := func() map[string]string {
		out := map[string]string{}
		for _, c := range w.edge.Account().Certificates {
			out[c.ID] = c.PEM
		}
		return out
	}
	// issued demands that there are three, so many of them new, that the nodes hold those, and that Cloudflare goes to the proxy.
	issued := func(fresh int) statecheck.StateCheck {
		return checkState(func() error {
			now := held()
			for id := range before {
				if now[id] != "" {
					fresh++
				}
			}
			lb, _, _ := w.held(t, "b1")
			if len(now) != 3 || fresh != 3 || lb.Proxy == nil || len(lb.Proxy.Certificates) != 3 {
				return fmt.Errorf("%d certificates, %d of them as they should be, the nodes hold %+v", len(now), fresh, lb.Proxy)
			}
			for node, pem := range lb.Proxy.Certificates {
				if !slices.Contains(slices.Collect(maps.Values(now)), pem) {
					return fmt.Errorf("%s has one that is revoked", node)
				}
			}
			if o := w.edge.Account().Pools[0].Origins[0]; o.Port != 8443 {
				return fmt.Errorf("Cloudflare goes to port %d", o.Port)
			}
			before = now
			return nil
		})
	}
	w.test(t,
		resource.TestStep{Config: config(365), ConfigStateChecks: []statecheck.StateCheck{
			issued(3), statecheck.ExpectKnownValue(www, tfjsonpath.New("certificates"), knownvalue.MapSizeExact(3)),
		}},
		resource.TestStep{Config: config(365), ConfigPlanChecks: emptyPlan()},
		resource.TestStep{Config: config(365), Taint: []string{"atoll_node.c1"}, ConfigStateChecks: []statecheck.StateCheck{issued(1)}},
		resource.TestStep{Config: config(90), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: []statecheck.StateCheck{issued(3)}},
		resource.TestStep{Config: crew("port = 8080"), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
			if n := len(held()); n != 0 {
				return fmt.Errorf("%d certificates are not revoked", n)
			}
			if o := w.edge.Account().Pools[0].Origins[0]; o.Port != 8080 {
				return fmt.Errorf("Cloudflare goes to port %d", o.Port)
			}
			return nil
		})}},
		resource.TestStep{Config: config(7)},
	)
	if n := len(held()); n != 0 {
		t.Errorf("%d certificates outlived the load balancer", n)
	}
}

// TestLoadBalancerRevokesLater lets a revocation fail: what was to be revoked is by the next apply, which the plan says, although
// nothing uses it any more.
func TestLoadBalancerRevokesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var before, after map[string]int
	w.test(t,
		resource.TestStep{Config: certified(365), ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
			before = w.edge.certificates()
			return w.edge.demandCertificates(365, nil)
		})}},
		resource.TestStep{
			PreConfig: func() {
				w.edge.Inject(emulated.Fault{Method: http.MethodDelete, PathPrefix: "/certificates/", Status: http.StatusBadRequest, Reason: "not now"})
			},
			Config: certified(90), ExpectError: says("Revoke certificate", "not now"),
		},
		resource.TestStep{
			PreConfig: func() {
				after = w.edge.certificates()
				if len(after) != 6 {
					t.Errorf("after the failure there are %v", after)
				}
			},
			Config: certified(90),
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction(www, plancheck.ResourceActionUpdate), drifted("certificates: 3 that nobody uses any more are still to be revoked"),
				},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
			ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
				for id := range w.edge.certificates() {
					if after[id] == 0 {
						return fmt.Errorf("certificate %s was issued again", id)
					}
				}
				return w.edge.demandCertificates(90, before)
			})},
		},
	)
	if left := w.edge.certificates(); len(left) != 0 {
		t.Errorf("%v outlived the load balancer", left)
	}
}

// TestLoadBalancerImportedCertificates imports a load balancer whose nodes serve HTTPS. Certificates that are good stay, and go with
// it; those of another validity are replaced and revoked; those that were revoked do not come back.
func TestLoadBalancerImportedCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.edge.ListRevoked = true
	var before map[string]int
	forget := resource.TestStep{Config: linodes(crewNames()...) + "removed {\n  from = " + www + "\n  lifecycle {\n    destroy = false\n  }\n}\n"}
	imports := func(config string) resource.TestStep {
		return resource.TestStep{ResourceName: www, ImportState: true, ImportStatePersist: true, ImportStateId: "www.example.com", Config: config}
	}
	step := func(days int, check func() error) resource.TestStep {
		return resource.TestStep{Config: certified(days), ConfigStateChecks: []statecheck.StateCheck{
			statecheck.ExpectKnownValue(www, tfjsonpath.New("certificates"), knownvalue.MapSizeExact(3)), checkState(check),
		}}
	}
	fresh := func(days int) func() error {
		return func() error {
			used := maps.Clone(before)
			for _, c := range w.edge.Account().Revoked {
				used[c.ID] = c.Days
			}
			before = w.edge.certificates()
			return w.edge.demandCertificates(days, used)
		}
	}
	w.test(t,
		step(365, func() error {
			before = w.edge.certificates()
			return w.edge.demandCertificates(365, nil)
		}),
		forget, imports(certified(365)),
		step(365, func() error {
			if now := w.edge.certificates(); !maps.Equal(now, before) {
				return fmt.Errorf("the certificates are %v, they were %v", now, before)
			}
			return nil
		}),
		resource.TestStep{Config: certified(365), ConfigPlanChecks: emptyPlan()},
		forget, imports(certified(90)), step(90, fresh(90)),
		forget, imports(certified(365)), step(365, fresh(365)),
		resource.TestStep{Config: certified(365), ConfigPlanChecks: emptyPlan()},
	)
	if left := w.edge.certificates(); len(left) != 0 {
		t.Errorf("%v outlived the load balancer", left)
	}
}

// drifted is a plan check that demands that a refresh has found exactly one thing amiss.
type drifted string

// CheckPlan implements plancheck.PlanCheck.
func (d drifted) CheckPlan(_ context.Context, req plancheck.CheckPlanRequest, resp *plancheck.CheckPlanResponse) {
	for _, one := range req.Plan.PriorState.Values.RootModule.Resources {
		if got := one.AttributeValues["drift"]; one.Address == www && fmt.Sprint(got) != fmt.Sprintf("[%s]", d) {
			resp.Error = fmt.Errorf("drift is %v, want %q", got, d)
		}
	}
}
