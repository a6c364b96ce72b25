package loadbalancer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/loadbalancer"
)

func monitor() cloudflare.Monitor {
	return cloudflare.Monitor{
		Description: "atoll:www", Type: cloudflare.MonitorHTTP, Port: 7480, Interval: 60, Timeout: 5, Retries: 2, Method: "GET", Path: "/health", ExpectedCodes: "200",
	}
}

func pool() cloudflare.Pool {
	return cloudflare.Pool{
		Name: "hk", Description: "atoll:www/hk", Enabled: true, Monitor: "m", MinimumOrigins: 1, OriginSteering: cloudflare.OriginRandom,
		Origins: []cloudflare.Origin{{Name: "hk1", Address: "192.0.2.1", Enabled: true, Weight: 1}, {Name: "hk2", Address: "192.0.2.2", Enabled: true, Weight: 0.1}},
	}
}

func balancer() cloudflare.LoadBalancer {
	return cloudflare.LoadBalancer{
		Name: "www", Description: "atoll:www", Enabled: true, Proxied: true, DefaultPools: []string{"a", "b"}, FallbackPool: "a", Steering: cloudflare.SteeringRandom,
		PoolWeights: map[string]float64{"a": 1, "b": 0.3}, FailoverAcrossPools: true,
		Session: cloudflare.Session{Affinity: cloudflare.AffinityCookie, TTL: 1800, Drain: 1800, Failover: "sticky", SameSite: "Auto", Secure: "Auto"},
	}
}

// TestNoDifferences takes what the vendor fills in by itself, or says in another order, for no difference.
func TestNoDifferences(t *testing.T) {
	t.Parallel()
	m := monitor()
	m.ConsecutiveDown, m.ConsecutiveUp = 1, 1
	p := pool()
	p.CheckRegions = []string{"WNAM"}
	slices.Reverse(p.Origins)
	p.Origins[0].Weight += 1e-9
	lb := balancer()
	lb.TTL, lb.PoolWeights["c"] = 30, 0.5
	got := slices.Concat(
		loadbalancer.MonitorDifferences(monitor(), m), loadbalancer.PoolDifferences("hk", pool(), p), loadbalancer.BalancerDifferences(balancer(), lb),
	)
	if len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// TestDifferences finds each change, and names it.
func TestDifferences(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{}
	for field, change := range map[string]func(*cloudflare.Monitor){
		"interval":       func(m *cloudflare.Monitor) { m.Interval = 300 },
		"path":           func(m *cloudflare.Monitor) { m.Path = "/" },
		"expected_codes": func(m *cloudflare.Monitor) { m.ExpectedCodes = "2xx" },
		"host_header":    func(m *cloudflare.Monitor) { m.Host = "other" },
		"type":           func(m *cloudflare.Monitor) { m.Type = cloudflare.MonitorTCP },
	} {
		m := monitor()
		change(&m)
		tests["monitor: "+field] = loadbalancer.MonitorDifferences(monitor(), m)
	}
	for what, change := range map[string]func(*cloudflare.Pool){
		"pool of hk: enabled":      func(p *cloudflare.Pool) { p.Enabled = false },
		"pool of hk: monitor":      func(p *cloudflare.Pool) { p.Monitor = "" },
		"pool of hk: latitude":     func(p *cloudflare.Pool) { zero := 0.0; p.Latitude = &zero },
		"pool of hk: hk1: enabled": func(p *cloudflare.Pool) { p.Origins[0].Enabled = false },
		"pool of hk: hk2: weight":  func(p *cloudflare.Pool) { p.Origins[1].Weight = 0.2 },
		"pool of hk: it lacks hk2": func(p *cloudflare.Pool) { p.Origins = p.Origins[:1] },
		"pool of hk: it has x (192.0.2.": func(p *cloudflare.Pool) {
			p.Origins = append(p.Origins, cloudflare.Origin{Name: "x", Address: "192.0.2.9"})
		},
	} {
		p := pool()
		change(&p)
		tests[what] = loadbalancer.PoolDifferences("hk", pool(), p)
	}
	for what, change := range map[string]func(*cloudflare.LoadBalancer){
		"load balancer: proxied":          func(lb *cloudflare.LoadBalancer) { lb.Proxied = false },
		"load balancer: pools":            func(lb *cloudflare.LoadBalancer) { lb.DefaultPools = []string{"b", "a"} },
		"load balancer: fallback pool":    func(lb *cloudflare.LoadBalancer) { lb.FallbackPool = "b" },
		"load balancer: pools of SEAS":    func(lb *cloudflare.LoadBalancer) { lb.RegionPools = map[string][]string{"SEAS": {"a"}} },
		"load balancer: weight of pool b": func(lb *cloudflare.LoadBalancer) { lb.PoolWeights["b"] = 0.4 },
		"session affinity: ttl":           func(lb *cloudflare.LoadBalancer) { lb.Session.TTL = 82800 },
		"session affinity: drain":         func(lb *cloudflare.LoadBalancer) { lb.Session.Drain = 0 },
		"session affinity: failover":      func(lb *cloudflare.LoadBalancer) { lb.Session.Failover = "none" },
	} {
		lb := balancer()
		change(&lb)
		tests[what] = loadbalancer.BalancerDifferences(balancer(), lb)
	}
	for what, got := range tests {
		if len(got) != 1 || !strings.HasPrefix(got[0], what) {
			t.Errorf("%s: got %q", what, got)
		}
	}
}
