package provider_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

const www = "atoll_load_balancer.www"

func updatesInPlace() resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{
		PreApply:             []plancheck.PlanCheck{plancheck.ExpectResourceAction(www, plancheck.ResourceActionUpdate)},
		PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
	}
}

// TestLoadBalancer makes a load balancer, plans again, changes it, adds and removes a site, imports and destroys it.
func TestLoadBalancer(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	value := func(path tfjsonpath.Path, v knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(www, path, v)
	}
	look := func(f func() error) statecheck.StateCheck { return checkState(f) }
	created := []string{"POST monitors", "POST pools", "POST pools", "POST load_balancers"}
	e.test(t,
		resource.TestStep{
			Config: served("", hk1, hk2, sg1),
			ConfigStateChecks: []statecheck.StateCheck{
				value(tfjsonpath.New("id"), knownvalue.StringExact("www.example.com")),
				value(tfjsonpath.New("steering"), knownvalue.StringExact("dynamic_latency")),
				value(tfjsonpath.New("fallback_site"), knownvalue.StringExact("ap-south")),
				value(tfjsonpath.New("monitor").AtMapKey("port"), knownvalue.Int64Exact(7480)),
				value(tfjsonpath.New("monitor").AtMapKey("path"), knownvalue.StringExact("/health")),
				value(tfjsonpath.New("session_affinity").AtMapKey("type"), knownvalue.StringExact("cookie")),
				value(tfjsonpath.New("session_affinity").AtMapKey("drain"), knownvalue.Int64Exact(1800)),
				value(tfjsonpath.New("pool_ids"), knownvalue.MapSizeExact(2)),
				value(tfjsonpath.New("health").AtMapKey("hk1").AtMapKey("healthy"), knownvalue.Bool(true)),
				look(func() error {
					if got := e.changes(); !slices.Equal(got, created) {
						return fmt.Errorf("made in the order %q, want %q", got, created)
					}
					lb, _ := e.Account().LoadBalancer("www.example.com")
					if lb.SessionAffinityTTL != 1800 || lb.SessionAffinityAttributes.ZeroDowntimeFailover != "sticky" || !lb.AdaptiveRouting.FailoverAcrossPools {
						return fmt.Errorf("got %+v", lb)
					}
					return nil
				}),
			},
		},
		resource.TestStep{Config: served("", hk1, hk2, sg1), ConfigPlanChecks: emptyPlan()},
		resource.TestStep{
			Config: served(`
  steering         = "random"
  host_header      = "www.example.com"
  port             = 8443
  monitor          = { type = "https", port = 443, path = "/ready", expected_codes = "2xx", interval = 30, consecutive_up = 2 }
  session_affinity = { type = "header", headers = ["x-session"], ttl = 300, drain = 600 }
  sites            = { ap-south = { weight = 0.3, minimum_healthy = 1 }, hong-kong = { latitude = 22.3, longitude = 114.2 } }
  node_settings    = { hk2 = { weight = 0.25, enabled = false } }
  fallback_site    = "hong-kong"
`, hk1, hk2, sg1),
			ConfigPlanChecks: updatesInPlace(),
			ConfigStateChecks: []statecheck.StateCheck{look(func() error {
				if got := e.changes(); !slices.Equal(got, []string{"PUT monitors", "PUT pools", "PUT pools", "PUT load_balancers"}) {
					return fmt.Errorf("changed by %q", got)
				}
				return nil
			})},
		},
		// Back to the defaults: every argument that is taken out has its own again.
		resource.TestStep{Config: served("", hk1, hk2, sg1), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: []statecheck.StateCheck{
			value(tfjsonpath.New("monitor").AtMapKey("interval"), knownvalue.Int64Exact(60)),
			value(tfjsonpath.New("steering"), knownvalue.StringExact("dynamic_latency")),
			look(func() error { e.changes(); return nil }),
		}},
		// The last node of a site goes: the load balancer lets go of the pool before it is deleted.
		resource.TestStep{Config: served("", hk1, hk2), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: []statecheck.StateCheck{look(func() error {
			got := e.changes()
			if !slices.Equal(got, []string{"PUT load_balancers", "DELETE pools"}) {
				return fmt.Errorf("removed by %q", got)
			}
			return nil
		})}},
		// A site comes: its pool is there before the load balancer refers to it.
		resource.TestStep{Config: served("", hk1, sg1), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: []statecheck.StateCheck{look(func() error {
			got := e.changes()
			if !slices.Equal(got, []string{"POST pools", "PUT pools", "PUT load_balancers"}) {
				return fmt.Errorf("added by %q", got)
			}
			return nil
		})}},
		resource.TestStep{
			ResourceName: www, ImportState: true, ImportStateVerify: true, ImportStateId: "www.example.com",
			ImportStateVerifyIgnore: []string{"nodes", "health", "timeouts"},
		},
		// The same hostname can be made again.
		resource.TestStep{Config: served("", hk1, sg1), Taint: []string{www}, ConfigStateChecks: []statecheck.StateCheck{
			look(func() error { e.changes(); return nil }),
		}},
	)
	if got, want := e.changes(), []string{"DELETE load_balancers", "DELETE pools", "DELETE pools", "DELETE monitors"}; !slices.Equal(got, want) {
		t.Errorf("destroyed in the order %q, want %q", got, want)
	}
}

// TestLoadBalancerLeavesToVendor takes out what the vendor has a default for that is not ours to know.
func TestLoadBalancerLeavesToVendor(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	look := func(regions, up int) []statecheck.StateCheck {
		return []statecheck.StateCheck{checkState(func() error {
			a := e.Account()
			if p, m := a.Pools[0], a.Monitors[0]; len(p.CheckRegions) != regions || m.ConsecutiveUp != up {
				return fmt.Errorf("got regions %q and consecutive_up %d", p.CheckRegions, m.ConsecutiveUp)
			}
			return nil
		})}
	}
	e.test(t,
		resource.TestStep{Config: served("check_regions = [\"WEU\", \"SEAS\"]\nmonitor = { consecutive_up = 2 }", hk1), ConfigStateChecks: look(2, 2)},
		resource.TestStep{Config: served("", hk1), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: look(0, 0)},
	)
}

// TestLoadBalancerImported applies a configuration to an imported load balancer: nothing changes at Cloudflare.
func TestLoadBalancerImported(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	more := `
  steering         = "least_connections"
  session_affinity = { type = "ip_cookie", ttl = 7200 }
  sites            = { hong-kong = { priority = 0, weight = 0.5 }, ap-south = { priority = 1 } }
  node_settings    = { hk2 = { weight = 0.5 } }
`
	e.test(t,
		resource.TestStep{Config: served(more, hk1, hk2, sg1)},
		resource.TestStep{Config: "removed {\n  from = " + www + "\n  lifecycle {\n    destroy = false\n  }\n}\n"},
		resource.TestStep{
			ResourceName: www, ImportState: true, ImportStatePersist: true, ImportStateId: "www.example.com", Config: served(more, hk1, hk2, sg1),
		},
		resource.TestStep{
			PreConfig: func() { e.changes() },
			Config:    served(more, hk1, hk2, sg1), ConfigPlanChecks: updatesInPlace(), ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
				if got := e.changes(); len(got) != 0 {
					return fmt.Errorf("the apply after the import did %q", got)
				}
				return nil
			})},
		},
	)
}

// TestLoadBalancerDrift changes things behind Terraform's back: the plan shows them and the apply puts them right.
func TestLoadBalancerDrift(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	account := func() (pool, balancer, monitor string) {
		a := e.Account()
		return a.Pools[0].ID, a.LoadBalancers[0].ID, a.Monitors[0].ID
	}
	parts := "/accounts/" + cloudflare.AccountID + "/load_balancers/"
	pools, monitors := parts+"pools/", parts+"monitors/"
	zone := "/zones/" + cloudflare.ZoneID("example.com") + "/load_balancers/"
	changed := func(change func()) resource.TestStep {
		return resource.TestStep{PreConfig: change, Config: served("", hk1, sg1), ConfigPlanChecks: updatesInPlace()}
	}
	e.test(t,
		resource.TestStep{Config: served("", hk1, sg1)},
		changed(func() {
			_, _, monitor := account()
			e.send(t, "PATCH", monitors+monitor, map[string]any{"interval": 300})
		}),
		changed(func() {
			pool, _, _ := account()
			e.send(t, "PATCH", pools+pool, map[string]any{"origins": []map[string]any{{"name": "stranger", "address": "198.51.100.1"}}})
		}),
		changed(func() {
			_, balancer, _ := account()
			e.send(t, "PATCH", zone+balancer, map[string]any{"session_affinity": "none", "steering_policy": "off"})
		}),
		changed(func() {
			_, balancer, _ := account()
			e.send(t, "DELETE", zone+balancer, nil)
		}),
		changed(func() { // a pool is gone too
			pool, balancer, _ := account()
			e.send(t, "DELETE", zone+balancer, nil)
			e.send(t, "DELETE", pools+pool, nil)
		}),
		resource.TestStep{
			PreConfig: func() { // everything is gone
				a := e.Account()
				e.send(t, "DELETE", zone+a.LoadBalancers[0].ID, nil)
				for _, p := range a.Pools {
					e.send(t, "DELETE", pools+p.ID, nil)
				}
				e.send(t, "DELETE", monitors+a.Monitors[0].ID, nil)
			},
			Config: served("", hk1, sg1),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction(www, plancheck.ResourceActionCreate),
			}},
		},
	)
}

// TestLoadBalancerByDNS serves the hostname by records, and moves it to a load balancer and back without a gap.
func TestLoadBalancerByDNS(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	six := at{"sg1", "ap-south", "2001:db8::3"}
	check := func(want ...string) statecheck.StateCheck {
		return checkState(func() error {
			var got []string
			for _, r := range e.Account().Records {
				got = append(got, fmt.Sprintf("%s %s %s %t %d", r.Name, r.Type, r.Content, r.Proxied, r.TTL))
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				return fmt.Errorf("got records %q, want %q", got, want)
			}
			return nil
		})
	}
	dns := func(more string, nodes ...at) string { return served("mode = \"dns\"\n"+more, nodes...) }
	order := func(first, second string) statecheck.StateCheck {
		return checkState(func() error {
			got := e.changes()
			if index(got, first) < 0 || index(got, first) > index(got, second) {
				return fmt.Errorf("got %q, want %s before %s", got, first, second)
			}
			return nil
		})
	}
	e.test(t,
		resource.TestStep{Config: dns("", hk1, six), ConfigStateChecks: []statecheck.StateCheck{
			check("www.example.com A 192.0.2.1 true 1", "www.example.com AAAA 2001:db8::3 true 1"),
			statecheck.ExpectKnownValue(www, tfjsonpath.New("record_ids"), knownvalue.MapSizeExact(2)),
		}},
		resource.TestStep{Config: dns("", hk1, six), ConfigPlanChecks: emptyPlan()},
		resource.TestStep{
			ResourceName: www, ImportState: true, ImportStateVerify: true, ImportStateId: "www.example.com",
			ImportStateVerifyIgnore: []string{"nodes", "timeouts"},
		},
		resource.TestStep{
			Config: dns("proxied = false\nttl = 120\nnode_settings = { hk1 = { enabled = false } }", hk1, hk2, six), ConfigPlanChecks: updatesInPlace(),
			ConfigStateChecks: []statecheck.StateCheck{check("www.example.com A 192.0.2.2 false 120", "www.example.com AAAA 2001:db8::3 false 120")},
		},
		resource.TestStep{
			PreConfig: func() { // somebody's hand
				r := e.Account().Records[0]
				e.send(t, "DELETE", "/zones/"+cloudflare.ZoneID("example.com")+"/dns_records/"+r.ID, nil)
				e.changes()
			},
			Config: dns("", hk1, six), ConfigPlanChecks: updatesInPlace(),
			ConfigStateChecks: []statecheck.StateCheck{check("www.example.com A 192.0.2.1 true 1", "www.example.com AAAA 2001:db8::3 true 1")},
		},
		resource.TestStep{
			PreConfig: func() { e.changes() },
			Config:    served("", hk1, six), ConfigPlanChecks: updatesInPlace(),
			ConfigStateChecks: []statecheck.StateCheck{check(), order("POST load_balancers", "DELETE dns_records")},
		},
		resource.TestStep{
			Config: dns("", hk1, six), ConfigPlanChecks: updatesInPlace(),
			ConfigStateChecks: []statecheck.StateCheck{
				check("www.example.com A 192.0.2.1 true 1", "www.example.com AAAA 2001:db8::3 true 1"),
				order("POST dns_records", "DELETE load_balancers"),
				checkState(func() error {
					if a := e.Account(); len(a.LoadBalancers)+len(a.Pools)+len(a.Monitors) != 0 {
						return errors.New("parts of the load balancer are left")
					}
					return nil
				}),
			},
		},
	)
}

// TestLoadBalancerRefuses gives configurations that cannot work.
func TestLoadBalancerRefuses(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	tests := []struct{ config, says string }{
		{strings.Replace(served("", hk1), "www.example.com", "www.example.org", 1), "not in zone example.com"},
		{served(`session_affinity = { ttl = 299 }`, hk1), "between 300 and 604800"},
		{served(`session_affinity = { ttl = 600 }`, hk1), "between 1800 and 604800"},
		{served(`session_affinity = { ttl = 3600, drain = 1800 }`, hk1), "clients would lose them"},
		{served(`session_affinity = { type = "header" }`, hk1), "needs the name of a header"},
		{served("proxied = false\nsession_affinity = { type = \"cookie\" }", hk1), "needs a load balancer that is proxied"},
		{served(`monitor = { interval = 5 }`, hk1), "between 10 and 3600"},
		{served(`monitor = { interval = 10, timeout = 10 }`, hk1), "longer than the interval"},
		{served(`monitor = { type = "tcp", path = "/x" }`, hk1), "has no effect on a monitor of type tcp"},
		{served(`node_settings = { hk1 = { enabled = false } }`, hk1), "no node may get traffic"},
		{served(`node_settings = { hk9 = { enabled = false } }`, hk1), "nodes has no key"},
		{served(`node_settings = { hk1 = { weight = 0.123 } }`, hk1), "multiple of 0.01"},
		{served(`sites = { paris = { weight = 0.5 } }`, hk1), "no node is in site"},
		{served(`steering = "proximity"`, hk1), "needs to know where each site is"},
		{served(`steering = "geo"`, hk1), "which regions the sites serve"},
		{served(`fallback_site = "paris"`, hk1), "no node is in site"},
		{served("mode = \"dns\"\nsteering = \"random\"", hk1), "has no effect in mode"},
		{served(`mode = "dns"`, at{"hk1", "hong-kong", "hk1.example.net"}), "has no IP address"},
		{served(`ttl = 60`, hk1), "ttl has no effect"},
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

// TestLoadBalancerUnknownAtPlan plans with values that are known only after another resource is made, one after the other and all
// at once: what the plan leaves open must fit what the apply finds.
func TestLoadBalancerUnknownAtPlan(t *testing.T) {
	t.Parallel()
	text := func(v string) string { return `tostring(terraform_data.later.output["` + v + `"])` }
	const later = `
resource "terraform_data" "later" {
  input = {
    address = "192.0.2.1", site = "hong-kong", name = "hk1", mode = "load_balancer", dns = "dns", yes = true, no = false, interval = 30,
    weight = 0.5, ttl = 3600, priority = 1, zone = "example.com", hostname = "www.example.com", type = "header", header = "x-session", tcp = "tcp", none = "none",
    steering = "random"
  }
}
`
	known := func(more string) string { return served(more, hk1, sg1) }
	tests := map[string]string{
		"address":         strings.Replace(known(""), `["192.0.2.1"]`, "["+text("address")+"]", 1),
		"site":            strings.Replace(known(`sites = { hong-kong = { priority = 1 } }`), `site = "hong-kong"`, "site = "+text("site"), 1),
		"name":            strings.Replace(known(""), `name = "hk1"`, "name = "+text("name"), 1),
		"mode":            known("mode = " + text("mode")),
		"mode dns":        known("mode = " + text("dns")),
		"proxied":         known("proxied = tobool(terraform_data.later.output.yes)"),
		"not proxied":     known("proxied = tobool(terraform_data.later.output.no)"),
		"dns not proxied": known("mode = \"dns\"\nproxied = tobool(terraform_data.later.output.no)"),
		"monitor type":    known("monitor = { type = " + text("tcp") + " }"),
		"no affinity":     known("session_affinity = { type = " + text("none") + " }"),
		"several": known(`
  steering         = ` + text("steering") + `
  fallback_site    = ` + text("site") + `
  monitor          = { interval = terraform_data.later.output.interval }
  node_settings    = { hk1 = { weight = terraform_data.later.output.weight } }
  sites            = { hong-kong = { priority = terraform_data.later.output.priority } }
  session_affinity = { ttl = terraform_data.later.output.ttl, drain = terraform_data.later.output.ttl }`),
		"enabled":        known("node_settings = { hk1 = { enabled = tobool(terraform_data.later.output.no) } }"),
		"affinity":       known("session_affinity = { type = " + text("type") + ", headers = [" + text("header") + "], ttl = 600 }"),
		"hostname":       strings.Replace(known(""), `hostname = "www.example.com"`, "hostname = "+text("hostname"), 1),
		"zone":           strings.Replace(known(""), `zone = "example.com"`, "zone = "+text("zone"), 1),
		"whole settings": known("node_settings = { for k, v in terraform_data.later.output : \"hk1\" => { weight = v } if k == \"weight\" }"),
		"whole nodes": `
resource "atoll_load_balancer" "www" {
  hostname = "www.example.com"
  zone     = "example.com"
  nodes    = { for k, v in terraform_data.later.output : v => { name = v, addresses = ["192.0.2.1"], failure_domain = { provider = "colo", site = "hong-kong" } } if k == "name" }
}
`,
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			e.test(t,
				resource.TestStep{Config: later + config},
				resource.TestStep{Config: later + config, ConfigPlanChecks: emptyPlan()},
				// From here on it is a change that is not known.
				resource.TestStep{Config: strings.ReplaceAll(later, "192.0.2.1", "192.0.2.77") + config, ConfigPlanChecks: resource.ConfigPlanChecks{
					PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
				}},
			)
		})
	}
}
