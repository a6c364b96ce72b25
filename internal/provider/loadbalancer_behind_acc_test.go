package provider_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

// breakFirewalls lets the kernels of some nodes, and only theirs, refuse changes of the firewall: a proxy's ports are not opened there.
func (w *world) breakFirewalls(t *testing.T, names ...string) {
	t.Helper()
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
		broken := slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(one.Label, name) })
		if err := w.machines.BreakFirewall(netip.MustParseAddr(one.IPv4[0]), broken); err != nil {
			t.Error(err)
		}
	}
}

// TestLoadBalancerNodesBehind gives nodes a proxy that they cannot put into effect: while that is so on all of them Cloudflare is not
// sent there, however often it is applied, and as soon as one can it is, with the others named.
func TestLoadBalancerNodesBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Longer than agents pause between two tries of what failed.
	w.adjust = func(c *operator.Config) { c.Patience.Effect = 12 * time.Second }
	goesTo := func(port int) error {
		for _, o := range w.edge.Account().Pools[0].Origins {
			if o.Port != port {
				return fmt.Errorf("Cloudflare goes to port %d of %s, not to %d", o.Port, o.Name, port)
			}
		}
		return nil
	}
	plain, proxied := crew("port = 8080"), crew("port = 8080\n  local_proxy = { port = 8000 }")
	refused := func(before func()) resource.TestStep {
		return resource.TestStep{
			PreConfig: before, Config: proxied,
			ExpectError: says("Nodes are not as described", "not in effect after 12s", "- a1: StepFailed: firewall", "- c1: StepFailed", "left as it is"),
		}
	}
	stays := func() {
		if err := goesTo(8080); err != nil {
			t.Error(err)
		}
	}
	const late = "Nodes are not as described yet"
	w.test(t,
		resource.TestStep{Config: plain, ConfigStateChecks: []statecheck.StateCheck{checkState(func() error { return goesTo(8080) }), w.warned.expect(false, late)}},
		refused(func() { w.breakFirewalls(t, crewNames()...) }),
		// They know it by now, which is not enough.
		refused(stays),
		resource.TestStep{
			PreConfig: func() { stays(); w.breakFirewalls(t, "b1", "c1") },
			Config:    proxied, ConfigPlanChecks: updatesInPlace(),
			ConfigStateChecks: []statecheck.StateCheck{
				checkState(func() error { return goesTo(8000) }), w.warned.expect(true, late, "\n- b1: StepFailed: firewall", "\n- c1: StepFailed"),
			},
		},
		resource.TestStep{PreConfig: func() { w.breakFirewalls(t) }, Config: proxied, ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{w.warned.expect(false, late)}},
	)
}
