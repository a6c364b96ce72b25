package cloudflare_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
)

// TestRefusals: what is wrong with a request, and what the vendor says of it.
func TestRefusals(t *testing.T) {
	c := contracttest.Load(t, contracttest.Cloudflare)
	a := serveThrough(t, &cloudflare.Server{}, c.Middleware)
	_, made, balancer := balanced(a)
	a.do(http.MethodPost, records(), object{"type": "A", "name": "a", "content": "192.0.2.1", "ttl": 1})
	a.do(http.MethodPost, records(), object{"type": "CNAME", "name": "c", "content": "a.example.com", "ttl": 1})
	lb := object{"name": "x.example.com", "default_pools": []any{made["id"]}, "fallback_pool": made["id"]}
	good := pool("p")
	origin := func(field string, value any) object {
		return with(good, "origins", []object{with(object{"name": "x", "address": "192.0.2.3"}, field, value)})
	}
	tests := []struct {
		name string
		path string
		body any
		code int
		word string
	}{
		{"interval of the plan", monitors, object{"interval": 10}, 1002, "interval is not in range [15, 3600]: validation failed"},
		{"long interval", monitors, object{"interval": 3601}, 1002, "interval"},
		{"timeout", monitors, object{"timeout": 11}, 1002, "timeout"},
		{"retries", monitors, object{"retries": 6}, 1002, "retries"},
		{"type", monitors, object{"type": "gopher"}, 1002, "gopher"},
		{"tcp without port", monitors, object{"type": "tcp"}, 1002, "port"},
		{"path", monitors, object{"path": "healthz"}, 1002, "path"},
		{"codes", monitors, object{"expected_codes": "20"}, 1002, "expected_codes"},
		{"codes of tcp", monitors, object{"type": "tcp", "port": 80, "expected_codes": "200"}, 1002, "expected_codes"},
		{"user agent", monitors, object{"header": object{"user-agent": []string{"x"}}}, 1002, "User-Agent"},
		{"wrong type", monitors, object{"interval": "60"}, 1002, "interval must not be string"},

		{"pool name", pools, pool("a b"), 1002, "name"},
		{"pool name taken", pools, pool("asia"), 1003, "value not unique"},
		{"no endpoint", pools, with(good, "origins", []object{}), 1002, "the origin list length must be in range [1, 20]"},
		{"monitor", pools, with(good, "monitor", "nothing"), 1002, "monitor"},
		{"minimum", pools, with(good, "minimum_origins", 2), 1002, "minimum_origins"},
		{"region", pools, with(good, "check_regions", []string{"MOON"}), 1002, "MOON"},
		{"latitude alone", pools, with(good, "latitude", 1.5), 1002, "longitude"},
		{"address", pools, origin("address", "http://x"), 1002, "address"},
		{"weight", pools, origin("weight", 1.5), 1002, "weight"},
		{"port", pools, origin("port", 70000), 1002, "port"},
		{"host of another account", pools, origin("header", object{"Host": []string{"www.other.example"}}), 1002, `Host header "www.other.example" not allowed`},
		{"two of an address", pools, with(good, "origins", []object{{"name": "a", "address": "192.0.2.3"}, {"name": "b", "address": "192.0.2.3"}}), 1002, "not unique"},

		{"hostname taken", balancers(), with(lb, "name", "www.example.com"), 1003, "value not unique"},
		{"hostname of another zone", balancers(), with(lb, "name", "www.other.example"), 1002, "not in the zone example.com"},
		{"no pools", balancers(), with(lb, "default_pools", []any{}), 1002, "default_pools"},
		{"no fallback", balancers(), with(lb, "fallback_pool", ""), 1002, "fallback_pool"},
		{"pool that is not there", balancers(), with(lb, "default_pools", []any{"nothing"}), 1002, `pool "nothing" does not exist`},
		{"steering", balancers(), with(lb, "steering_policy", "luck"), 1002, "luck"},
		{"proximity", balancers(), with(lb, "steering_policy", "proximity"), 1002, "latitude"},
		{"short affinity", balancers(), with(with(lb, "session_affinity", "cookie"), "session_affinity_ttl", 1799), 1002, "[1800, 604800]"},
		{"affinity by header", balancers(), with(lb, "session_affinity", "header"), 1002, "headers"},

		{"address of A", records(), object{"type": "A", "name": "n", "content": "2001:db8::1", "ttl": 1}, 9005, "IPv4"},
		{"address of AAAA", records(), object{"type": "AAAA", "name": "n", "content": "192.0.2.1", "ttl": 1}, 9006, "IPv6"},
		{"ttl", records(), object{"type": "A", "name": "n", "content": "192.0.2.1", "ttl": 30}, 9021, "TTL"},
		{"identical", records(), object{"type": "A", "name": "a", "content": "192.0.2.1", "ttl": 60}, 81058, "identical"},
		{"cname beside", records(), object{"type": "CNAME", "name": "a", "content": "b.example.com", "ttl": 1}, 81053, "already exists"},
		{"beside cname", records(), object{"type": "A", "name": "c", "content": "192.0.2.1", "ttl": 1}, 81054, "CNAME"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := a
			a.t = t
			a.refused(http.MethodPost, test.path, test.body, 400, test.code, test.word)
		})
	}
	a.refused(http.MethodPatch, balancers()+"/"+text(balancer, "id"), object{"fallback_pool": "gone"}, 400, 1002, "gone")
	for path, want := range map[string]int{monitors: 1, pools: 1, balancers(): 1, records(): 2} {
		if got := len(a.list(path)); got != want {
			t.Errorf("%s: %d objects, want %d: something refused was made", path, got, want)
		}
	}
	for _, v := range c.Violations() {
		if v.Part == contract.Response || v.Status < 400 {
			t.Errorf("contract: %v", v)
		}
	}
	if len(c.Violations()) == 0 {
		t.Error("the contract let an interval in quotes pass: it checks nothing")
	}
}

func TestQuotas(t *testing.T) {
	a := serve(t, &cloudflare.Server{Quotas: cloudflare.Quotas{LoadBalancers: 1, Pools: 2, Endpoints: 3, Monitors: 1}})
	_, made, _ := balanced(a) // with two endpoints
	lb := object{"name": "x.example.com", "default_pools": []any{made["id"]}, "fallback_pool": made["id"]}
	a.refused(http.MethodPost, monitors, object{}, 400, 1004, "1 monitors")
	a.refused(http.MethodPost, balancers(), lb, 400, 1004, "1 load balancers")
	two := []object{{"name": "a", "address": "192.0.2.5"}, {"name": "b", "address": "192.0.2.6"}}
	a.refused(http.MethodPost, pools, with(pool("two"), "origins", two), 400, 1004, "3 endpoints")
	a.do(http.MethodPost, pools, with(pool("one"), "origins", two[:1]))
	a.do(http.MethodPatch, pools+"/"+text(made, "id"), object{"origins": []object{{"name": "a", "address": "192.0.2.5"}}})
	a.refused(http.MethodPost, pools, with(pool("third"), "origins", two[1:]), 400, 1004, "2 pools")
}

func TestEnterpriseChecksOftener(t *testing.T) {
	a := serve(t, &cloudflare.Server{Quotas: cloudflare.Enterprise()})
	a.do(http.MethodPost, monitors, object{"interval": 10})
	a.refused(http.MethodPost, monitors, object{"interval": 9}, 400, 1002, "[10, 3600]")
}

func TestTokens(t *testing.T) {
	everything := []string{cloudflare.MonitorsAndPoolsWrite, cloudflare.LoadBalancersWrite, cloudflare.DNSWrite, cloudflare.ZoneRead}
	without := func(one string) cloudflare.Token {
		return cloudflare.Token{Permissions: slices.DeleteFunc(slices.Clone(everything), func(p string) bool { return p == one })}
	}
	s := &cloudflare.Server{
		Zones: []string{"example.com", "other.example"}, Token: token,
		Tokens: map[string]cloudflare.Token{
			"no-pools": without(cloudflare.MonitorsAndPoolsWrite), "no-lb": without(cloudflare.LoadBalancersWrite),
			"no-dns": without(cloudflare.DNSWrite), "no-zone": without(cloudflare.ZoneRead),
			"reads":   {Permissions: []string{cloudflare.MonitorsAndPoolsRead, cloudflare.LoadBalancersRead, cloudflare.DNSRead, cloudflare.ZoneRead}},
			"other":   {Permissions: everything, Zones: []string{"other.example"}},
			"expired": {Permissions: everything, Status: "expired"},
		},
	}
	a := serve(t, s)
	zone := "/zones/" + cloudflare.ZoneID("example.com")
	record := object{"type": "A", "name": "n", "content": "192.0.2.1", "ttl": 1}
	tests := []struct {
		token, method, path string
		body                any
		status, code        int
	}{
		{token, "GET", monitors, nil, 200, 0},
		{"guess", "GET", monitors, nil, 403, 9109},
		{"guess", "GET", "/user/tokens/verify", nil, 401, 1000},
		{"", "GET", monitors, nil, 400, 9106},
		{"two words", "GET", monitors, nil, 400, 6003},
		{"expired", "GET", monitors, nil, 403, 9109},
		{"no-pools", "GET", monitors, nil, 403, 10000},
		{"no-pools", "GET", balancers(), nil, 200, 0},
		{"no-lb", "GET", balancers(), nil, 403, 10000},
		{"no-lb", "GET", pools, nil, 200, 0},
		{"no-dns", "POST", records(), record, 403, 10000},
		{"no-zone", "GET", "/zones", nil, 403, 9109},
		{"no-zone", "GET", zone, nil, 403, 9109},
		{"no-zone", "GET", records(), nil, 200, 0},
		{"reads", "GET", records(), nil, 200, 0},
		{"reads", "POST", records(), record, 403, 10000},
		{"reads", "POST", monitors, object{}, 403, 10000},
		{"other", "GET", zone, nil, 403, 9109},
		{"other", "GET", records(), nil, 403, 9109},
		{"other", "GET", "/zones", nil, 200, 0},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %s %s", test.token, test.method, test.path), func(t *testing.T) {
			a := a
			a.t, a.token = t, test.token
			got := a.call(test.method, test.path, test.body)
			code := 0
			if len(got.Errors) > 0 {
				code = got.Errors[0].Code
			}
			if got.status != test.status || code != test.code {
				t.Errorf("status %d, errors %+v, want %d, %d", got.status, got.Errors, test.status, test.code)
			}
		})
	}
	a.token = "other"
	if got := a.list("/zones"); len(got) != 1 || got[0]["name"] != "other.example" {
		t.Errorf("zones of a token for one zone: %v", got)
	}
	for text, status := range map[string]string{token: "active", "expired": "expired"} {
		a.token = text
		if got := a.do(http.MethodGet, "/user/tokens/verify", nil); got["status"] != status || strings.Contains(fmt.Sprint(got), text+" ") {
			t.Errorf("verified %v, want %s", got, status)
		}
	}
}

func TestOtherAccountsAreClosed(t *testing.T) {
	a := serve(t, &cloudflare.Server{})
	other := strings.Replace(pools, cloudflare.AccountID, cloudflare.ZoneID("x"), 1)
	a.refused(http.MethodGet, other, nil, 403, 10000, "Authentication error")
}

func TestUnknownPaths(t *testing.T) {
	// The document does not have these paths, of course.
	a := serveThrough(t, &cloudflare.Server{}, func(h http.Handler) http.Handler { return h })
	a.refused(http.MethodGet, "/nothing", nil, 404, 7003, "/client/v4/nothing")
	a.refused(http.MethodGet, "/zones/example.com", nil, 404, 7003, "perhaps your object identifier is invalid?")
	a.refused(http.MethodPut, "/zones", object{}, 405, 10405, "not allowed")
}

func TestRateLimit(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := &cloudflare.Server{Now: func() time.Time { return now }}
	a := serve(t, s)
	for n := range 1200 {
		if got := a.call(http.MethodGet, "/user/tokens/verify", nil); got.status != http.StatusOK {
			t.Fatalf("request %d: status %d", n+1, got.status)
		}
		now = now.Add(time.Millisecond)
	}
	got := a.call(http.MethodGet, pools, nil)
	if got.status != 429 || got.Errors[0].Code != 10100 || got.header.Get("Retry-After") != "300" {
		t.Errorf("status %d, errors %+v, Retry-After %q", got.status, got.Errors, got.header.Get("Retry-After"))
	}
	if want := `"default";q=1200;w=300`; got.header.Get("Ratelimit-Policy") != want {
		t.Errorf("policy %q, want %q", got.header.Get("Ratelimit-Policy"), want)
	}
	// The block lasts five minutes from the request too many, whatever the window was.
	now = now.Add(299 * time.Second)
	if got := a.call(http.MethodGet, pools, nil); got.status != 429 || got.header.Get("Retry-After") != "1" {
		t.Errorf("after 299 s: status %d, Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
	other := a
	other.token = "another"
	if got := other.call(http.MethodGet, pools, nil); got.status != http.StatusOK {
		t.Errorf("another token: status %d", got.status)
	}
	now = now.Add(time.Second)
	if got := a.call(http.MethodGet, pools, nil); got.status != http.StatusOK || got.header.Get("Ratelimit") != `"default";r=1199;t=300` {
		t.Errorf("after the block: status %d, %q", got.status, got.header.Get("Ratelimit"))
	}
}
