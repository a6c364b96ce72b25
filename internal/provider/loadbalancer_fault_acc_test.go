package provider_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

// TestLoadBalancerTokens uses tokens that are not good enough: the error names what they lack.
func TestLoadBalancerTokens(t *testing.T) {
	t.Parallel()
	all := []string{cloudflare.MonitorsAndPoolsWrite, cloudflare.LoadBalancersWrite, cloudflare.DNSRead, cloudflare.ZoneRead}
	without := func(permission string, instead ...string) cloudflare.Token {
		left := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return p == permission })
		return cloudflare.Token{Permissions: append(left, instead...)}
	}
	tests := []struct {
		name   string
		token  cloudflare.Token
		config string
		says   []string
	}{
		{"no zones", without(cloudflare.ZoneRead), served("", hk1), []string{`"Zone Read" (zone)`}},
		{"no pools", without(cloudflare.MonitorsAndPoolsWrite), served("", hk1), []string{`"Load Balancing: Monitors and Pools Read" (account)`}},
		{
			"pools to read only", without(cloudflare.MonitorsAndPoolsWrite, cloudflare.MonitorsAndPoolsRead), served("", hk1),
			[]string{`"Load Balancing: Monitors and Pools Write" (account)`},
		},
		{
			"load balancers to read only", without(cloudflare.LoadBalancersWrite, cloudflare.LoadBalancersRead), served("", hk1),
			[]string{`"Load Balancers Write" (zone)`},
		},
		{"records to read only", without(""), served(`mode = "dns"`, hk1), []string{`"DNS Write" (zone)`}},
		{"another zone", cloudflare.Token{Permissions: all, Zones: []string{"example.net"}}, served("", hk1), []string{"sees no zone of that name", `"Zone Read" (zone)`}},
		{"expired", cloudflare.Token{Permissions: all, Status: "expired"}, served("", hk1), []string{"the token is expired"}},
		{"disabled", cloudflare.Token{Permissions: all, Status: "disabled"}, served("", hk1), []string{"the token is disabled"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			e.Tokens = map[string]cloudflare.Token{"narrow": tt.token}
			e.env["CLOUDFLARE_API_TOKEN"] = "narrow"
			e.test(t,
				resource.TestStep{Config: tt.config, ExpectError: says(tt.says...)},
				// What was made meanwhile is in state: with a good token the next apply goes on.
				resource.TestStep{PreConfig: func() { e.env["CLOUDFLARE_API_TOKEN"] = edgeToken }, Config: tt.config},
			)
		})
	}
}

// TestLoadBalancerWithoutToken says where a token is looked for.
func TestLoadBalancerWithoutToken(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	delete(e.env, "CLOUDFLARE_API_TOKEN")
	e.test(t, resource.TestStep{Config: served("", hk1), ExpectError: says("CLOUDFLARE_API_TOKEN_FILE")})
}

// TestLoadBalancerWrongToken says that the token is not one.
func TestLoadBalancerWrongToken(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.env["CLOUDFLARE_API_TOKEN"] = "no-such-token"
	e.test(t, resource.TestStep{Config: served("", hk1), ExpectError: says("the API knows of no such token")})
}

// TestLoadBalancerWithoutDNSPermission can be made; only the check for shadowed records is left out.
func TestLoadBalancerWithoutDNSPermission(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.Tokens = map[string]cloudflare.Token{"narrow": {Permissions: []string{cloudflare.MonitorsAndPoolsWrite, cloudflare.LoadBalancersWrite, cloudflare.ZoneRead}}}
	e.env["CLOUDFLARE_API_TOKEN"] = "narrow"
	e.test(t, resource.TestStep{Config: served("", hk1)}, resource.TestStep{Config: served("", hk1), ConfigPlanChecks: emptyPlan()})
}

// TestLoadBalancerZoneNotFound names the zone.
func TestLoadBalancerZoneNotFound(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	config := strings.ReplaceAll(served("", hk1), "example.com", "example.org")
	e.test(t, resource.TestStep{Config: config, PlanOnly: true, ExpectError: says("find zone example.org", "sees no zone of that name")})
}

// TestLoadBalancerShadowsRecords refuses to make a record useless without a word, and does so when told to.
func TestLoadBalancerShadowsRecords(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	path := "/zones/" + cloudflare.ZoneID("example.com") + "/dns_records"
	id := e.send(t, http.MethodPost, path, map[string]any{"type": "A", "name": "www.example.com", "content": "198.51.100.7", "ttl": 1})
	e.send(t, http.MethodPost, path, map[string]any{"type": "TXT", "name": "www.example.com", "content": "a TXT record is in nobody's way", "ttl": 1})
	e.runSteps(t,
		resource.TestStep{Config: served("", hk1), PlanOnly: true, ExpectError: says("has DNS records", "198.51.100.7", "shadow_dns_records = true")},
		resource.TestStep{Config: served(`mode = "dns"`, hk1), PlanOnly: true, ExpectError: says("198.51.100.7", "clients would go there too")},
		resource.TestStep{Config: served("shadow_dns_records = true", hk1)},
		resource.TestStep{Config: served("shadow_dns_records = true", hk1), ConfigPlanChecks: emptyPlan()},
	)
	if records := e.Account().Records; len(records) != 2 || !slices.ContainsFunc(records, func(r cloudflare.Record) bool { return r.ID == id }) {
		t.Errorf("got records %+v, want those that were there before", records)
	}
}

// TestLoadBalancerShadowsLater changes a load balancer beside which somebody made a record: a change must not fail for that.
func TestLoadBalancerShadowsLater(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	path := "/zones/" + cloudflare.ZoneID("example.com") + "/dns_records"
	record := func() {
		e.send(t, http.MethodPost, path, map[string]any{"type": "A", "name": "www.example.com", "content": "198.51.100.7", "ttl": 1})
	}
	e.runSteps(t,
		resource.TestStep{Config: served("", hk1, sg1)},
		resource.TestStep{PreConfig: record, Config: served("node_settings = { hk1 = { enabled = false } }", hk1, sg1), ConfigPlanChecks: updatesInPlace()},
	)
}

// TestLoadBalancerExists leaves a load balancer alone that state does not know.
func TestLoadBalancerExists(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	pool := e.send(t, http.MethodPost, "/accounts/"+cloudflare.AccountID+"/load_balancers/pools", map[string]any{
		"name": "theirs", "origins": []map[string]any{{"name": "a", "address": "198.51.100.1"}},
	})
	e.send(t, http.MethodPost, "/zones/"+cloudflare.ZoneID("example.com")+"/load_balancers", map[string]any{
		"name": "www.example.com", "default_pools": []string{pool}, "fallback_pool": pool,
	})
	e.changes()
	e.runSteps(t,
		resource.TestStep{Config: served("", hk1), PlanOnly: true, ExpectError: says("exists already", "terraform import ADDRESS www.example.com")},
		resource.TestStep{Config: served(`mode = "dns"`, hk1), PlanOnly: true, ExpectError: says("DNS records would not be used")},
	)
	if got := e.changes(); len(got) != 0 {
		t.Errorf("Cloudflare was asked to %q", got)
	}
}

// TestLoadBalancerTwins configures one hostname twice.
func TestLoadBalancerTwins(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	twin := strings.Replace(served("", hk1), `"www"`, `"twin"`, 1)
	e.test(t, resource.TestStep{Config: served("", hk1) + twin, ExpectError: says("has the hostname www.example.com too")})
}

// TestLoadBalancerQuota meets the account's limits: those that can be known are told before anything is made.
func TestLoadBalancerQuota(t *testing.T) {
	t.Parallel()
	t.Run("interval", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t)
		e.test(t, resource.TestStep{
			Config: served(`monitor = { interval = 10, timeout = 3 }`, hk1), PlanOnly: true, ExpectError: says("a check every 15 seconds at most"),
		})
	})
	t.Run("pools", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t)
		e.Quotas.Pools = 1
		e.test(t,
			resource.TestStep{Config: served("", hk1, sg1), ExpectError: says("quota exceeded", "raise its plan")},
			resource.TestStep{Config: served("", hk1)},
			resource.TestStep{Config: served("", hk1, sg1), ExpectError: says("quota exceeded")},
			resource.TestStep{Config: served("", hk1), ConfigPlanChecks: emptyPlan()},
		)
	})
	t.Run("sites", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t)
		var many []at
		for i := range 21 {
			many = append(many, at{fmt.Sprintf("n%d", i), fmt.Sprintf("site-%d", i), fmt.Sprintf("192.0.2.%d", i+1)})
		}
		e.test(t, resource.TestStep{Config: served("", many...), PlanOnly: true, ExpectError: says("There are 21 sites")})
	})
}

// TestLoadBalancerPoolInUse destroys a load balancer of which another one uses a pool.
func TestLoadBalancerPoolInUse(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	zone := "/zones/" + cloudflare.ZoneID("example.com") + "/load_balancers"
	var other string
	e.test(t,
		resource.TestStep{Config: served("", hk1, sg1)},
		resource.TestStep{
			PreConfig: func() {
				pool := e.Account().Pools[0].ID
				other = e.send(t, http.MethodPost, zone, map[string]any{"name": "other.example.com", "default_pools": []string{pool}, "fallback_pool": pool})
			},
			Config: served("", hk1, sg1), Destroy: true, ExpectError: says("Pool is in use", "other.example.com"),
		},
		resource.TestStep{
			PreConfig: func() { e.send(t, http.MethodDelete, zone+"/"+other, nil) },
			Config:    served("", hk1, sg1), Destroy: true,
		},
	)
}

// TestLoadBalancerLostAnswers loses the answer of every create, or of the look before it: nothing is made twice.
func TestLoadBalancerLostAnswers(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]cloudflare.Fault{
		"answer lost":     {Method: http.MethodPost, LoseAnswer: true},
		"inner error":     {Method: http.MethodPost, Status: http.StatusInternalServerError},
		"hangs":           {Method: http.MethodPost, Hang: true},
		"the look fails":  {Method: http.MethodGet, Status: http.StatusBadGateway},
		"a delete fails":  {Method: http.MethodDelete, Status: http.StatusServiceUnavailable},
		"a delete's lost": {Method: http.MethodDelete, LoseAnswer: true},
	} {
		for _, suffix := range []string{"/monitors", "/pools", "/load_balancers", "/dns_records"} {
			if fault.Method == http.MethodDelete && (suffix == "/monitors" || suffix == "/pools") {
				continue // the path ends with an id; the load balancer's comes first
			}
			t.Run(name+strings.ReplaceAll(suffix, "/", " "), func(t *testing.T) {
				t.Parallel()
				e := newEdge(t)
				mode := ""
				if suffix == "/dns_records" {
					mode = "mode = \"dns\""
				}
				f := fault
				if f.Method != http.MethodDelete {
					f.PathSuffix = suffix
				}
				e.Inject(f)
				e.test(t, resource.TestStep{Config: served(mode, hk1, sg1), ConfigPlanChecks: resource.ConfigPlanChecks{
					PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
				}})
				if e.PendingFaults() != 0 {
					t.Error("the fault did not happen")
				}
			})
		}
	}
}

// TestLoadBalancerBrokenOff breaks a create off at each of its requests; the next apply ends with one of everything, and so does
// an update that was broken off.
func TestLoadBalancerBrokenOff(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"/monitors", "/pools", "/load_balancers"} {
		t.Run(strings.Trim(suffix, "/"), func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			broken := func() func() {
				// Refused for good: carried out, but nobody hears of it, and nobody can look either.
				return e.Inject(cloudflare.Fault{Method: http.MethodPost, PathSuffix: suffix, Status: http.StatusBadRequest, Code: 1002, Reason: "broken off", Times: -1})
			}
			mend := broken()
			e.test(t,
				resource.TestStep{Config: served("", hk1), ExpectError: says("broken off")},
				resource.TestStep{PreConfig: mend, Config: served("", hk1)},
				resource.TestStep{Config: served("", hk1), ConfigPlanChecks: emptyPlan()},
				resource.TestStep{
					PreConfig: func() {
						mend = e.Inject(cloudflare.Fault{Method: http.MethodPut, PathPrefix: "/zones", Status: http.StatusBadRequest, Code: 1002, Reason: "broken off", Times: -1})
					},
					Config: served("", hk1, sg1), ExpectError: says("broken off"),
				},
				resource.TestStep{PreConfig: func() { mend() }, Config: served("", hk1, sg1), ConfigPlanChecks: updatesInPlace()},
			)
		})
	}
}

// TestLoadBalancerRateLimit runs into the vendor's block: a short one is waited for, a long one is told.
func TestLoadBalancerRateLimit(t *testing.T) {
	t.Parallel()
	t.Run("short", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t)
		e.Inject(cloudflare.Fault{Method: http.MethodPost, Status: http.StatusTooManyRequests, Code: 10100, RetryAfter: time.Second})
		e.test(t, resource.TestStep{Config: served("", hk1)})
	})
	t.Run("long", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t)
		mend := e.Inject(cloudflare.Fault{Method: http.MethodPost, PathSuffix: "/pools", Status: http.StatusTooManyRequests, Code: 10100, RetryAfter: 5 * time.Minute, Times: -1})
		e.test(t,
			resource.TestStep{
				Config: served(`timeouts = { create = "20s" }`, hk1), ExpectError: says("rate limited", "asks to wait 5m0s", "1,200 requests in five minutes"),
			},
			resource.TestStep{PreConfig: mend, Config: served("", hk1)},
		)
	})
}

// TestLoadBalancerZoneGone destroys what was in a zone that does not exist any more.
func TestLoadBalancerZoneGone(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"load_balancer", "dns"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			config := served("mode = \""+mode+"\"", hk1)
			e.runSteps(t,
				resource.TestStep{Config: config},
				resource.TestStep{
					PreConfig: func() {
						// What is in the zone goes with it. Monitors and pools belong to the account.
						zone := "/zones/" + cloudflare.ZoneID("example.com")
						if a := e.Account(); len(a.LoadBalancers) > 0 {
							e.send(t, http.MethodDelete, zone+"/load_balancers/"+a.LoadBalancers[0].ID, nil)
						}
						e.Inject(cloudflare.Fault{PathPrefix: zone, Status: http.StatusBadRequest, Code: 1001, Reason: "Invalid zone identifier", Times: -1})
					},
					Config: config, Destroy: true,
				},
			)
			if a := e.Account(); len(a.Pools)+len(a.Monitors) != 0 {
				t.Errorf("left: %d pools, %d monitors", len(a.Pools), len(a.Monitors))
			}
		})
	}
}

// TestLoadBalancerUnreachable plans and applies without the API.
func TestLoadBalancerUnreachable(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.adjust = func(c *operator.Config) { c.Cloudflare.Timeout = 250 * time.Millisecond }
	mend := e.Inject(cloudflare.Fault{Hang: true, Times: -1})
	e.test(t,
		resource.TestStep{Config: served("", hk1), PlanOnly: true, ExpectNonEmptyPlan: true},
		resource.TestStep{Config: served("", hk1), ExpectError: says("unreachable", "www.cloudflarestatus.com")},
		resource.TestStep{PreConfig: mend, Config: served("", hk1)},
	)
}
