package cloudflare_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
)

const (
	account = emulated.AccountID
	domain  = "example.com"
)

// cloud is an emulated account and a client of it with short pauses. Calls counts the requests by method and end of the path.
type cloud struct {
	*emulated.Server
	client *cloudflare.Client
	zone   string

	mu    sync.Mutex
	calls map[string]int
}

func newCloud(t *testing.T, change func(*cloudflare.Config)) *cloud {
	t.Helper()
	c := &cloud{Server: &emulated.Server{Token: "right"}, zone: emulated.ZoneID(domain), calls: map[string]int{}}
	handler := contracttest.Watched(t, contracttest.Cloudflare)(c.Server)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.calls[r.Method+" "+r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]++
		c.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		c.Close()
		server.Close()
	})
	cfg := cloudflare.Config{Token: "right", URL: server.URL + "/client/v4", Timeout: time.Second, Pause: time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	var err error
	if c.client, err = cloudflare.New(cfg); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cloud) count(call string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[call]
}

func monitor() cloudflare.Monitor {
	return cloudflare.Monitor{
		Description: "ours", Type: cloudflare.MonitorHTTPS, Port: 8443, Interval: 60, Timeout: 5, Retries: 0, ConsecutiveDown: 2, ConsecutiveUp: 3,
		Method: "GET", Path: "/health", Host: "www.example.com", ExpectedCodes: "2xx", ExpectedBody: "ok", AllowInsecure: true, FollowRedirects: true,
	}
}

func pool(monitor string) cloudflare.Pool {
	latitude, longitude := 0.0, 114.2
	return cloudflare.Pool{
		Name: "hong-kong", Description: "ours", Enabled: true, Monitor: monitor, MinimumOrigins: 2, Latitude: &latitude, Longitude: &longitude,
		CheckRegions: []string{"SEAS", "WEU"}, OriginSteering: cloudflare.OriginLeastConnections,
		Origins: []cloudflare.Origin{
			{Name: "hk1", Address: "192.0.2.1", Port: 8443, Enabled: true, Weight: 0.25, Host: "www.example.com"},
			{Name: "hk2", Address: "hk2.example.net", Enabled: false, Weight: 0},
		},
	}
}

func balancer(pool string) cloudflare.LoadBalancer {
	return cloudflare.LoadBalancer{
		Name: "www.example.com", Description: "ours", Enabled: true, Proxied: true, DefaultPools: []string{pool}, FallbackPool: pool,
		Steering: cloudflare.SteeringRandom, PoolWeights: map[string]float64{pool: 0.5}, RegionPools: map[string][]string{"SEAS": {pool}},
		FailoverAcrossPools: true,
		Session: cloudflare.Session{
			Affinity: cloudflare.AffinityCookie, TTL: 1800, Drain: 3600, Failover: "sticky", SameSite: "Lax", Secure: "Always",
		},
	}
}

// TestRoundTrip makes one of everything, reads it, changes it and deletes it, and demands that nothing of it is lost.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	c, ctx := newCloud(t, nil), t.Context()
	same := func(what string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", what, diff)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m, existed, err := c.client.CreateMonitor(ctx, account, monitor())
	must(err)
	want := monitor()
	want.ID = m.ID
	same("monitor", want, m)
	if existed || m.ID == "" {
		t.Errorf("got existed %v, id %q", existed, m.ID)
	}
	p, _, err := c.client.CreatePool(ctx, account, pool(m.ID))
	must(err)
	wantPool := pool(m.ID)
	wantPool.ID = p.ID
	same("pool", wantPool, p)
	lb, _, err := c.client.CreateLoadBalancer(ctx, c.zone, balancer(p.ID))
	must(err)
	wantLB := balancer(p.ID)
	wantLB.ID = lb.ID
	same("load balancer", wantLB, lb)

	want = cloudflare.Monitor{ID: m.ID, Description: "tcp", Type: cloudflare.MonitorTCP, Port: 22, Interval: 30, Timeout: 2, Retries: 1}
	must(c.client.UpdateMonitor(ctx, account, want))
	m, err = c.client.Monitor(ctx, account, m.ID)
	must(err)
	same("changed monitor", want, m)
	wantPool = cloudflare.Pool{
		ID: p.ID, Name: "other", Enabled: false, MinimumOrigins: 1, OriginSteering: cloudflare.OriginRandom,
		Origins: []cloudflare.Origin{{Name: "hk1", Address: "192.0.2.9", Enabled: true, Weight: 1}},
	}
	must(c.client.UpdatePool(ctx, account, wantPool))
	p, err = c.client.Pool(ctx, account, p.ID)
	must(err)
	same("changed pool", wantPool, p)
	wantLB = cloudflare.LoadBalancer{
		ID: lb.ID, Name: "www.example.com", Enabled: true, TTL: 60, DefaultPools: []string{p.ID}, FallbackPool: p.ID, Steering: cloudflare.SteeringOff,
		RegionPools: map[string][]string{}, Session: cloudflare.Session{Affinity: cloudflare.AffinityNone},
	}
	must(c.client.UpdateLoadBalancer(ctx, c.zone, wantLB))
	lb, err = c.client.LoadBalancer(ctx, c.zone, lb.ID)
	must(err)
	same("changed load balancer", wantLB, lb)

	if users, err := c.client.PoolUsers(ctx, account, p.ID); err != nil || !slices.Equal(users, []string{"www.example.com"}) {
		t.Errorf("got users %q, error %v", users, err)
	}
	if err := c.client.DeletePool(ctx, account, p.ID); !errors.Is(err, cloudflare.ErrInUse) {
		t.Errorf("got error %v, want ErrInUse", err)
	}
	for range 2 { // the second time it is gone already
		must(c.client.DeleteLoadBalancer(ctx, c.zone, lb.ID))
		must(c.client.DeletePool(ctx, account, p.ID))
		must(c.client.DeleteMonitor(ctx, account, m.ID))
	}
	_, err = c.client.LoadBalancer(ctx, c.zone, lb.ID)
	_, errPool := c.client.Pool(ctx, account, p.ID)
	_, errMonitor := c.client.Monitor(ctx, account, m.ID)
	for _, err := range []error{err, errPool, errMonitor} {
		if !errors.Is(err, cloudflare.ErrNotFound) {
			t.Errorf("got error %v, want ErrNotFound", err)
		}
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	c, ctx := newCloud(t, nil), t.Context()
	for _, r := range []cloudflare.Record{
		{Type: cloudflare.RecordA, Name: "www.example.com", Content: "192.0.2.1", Proxied: true, TTL: cloudflare.AutomaticTTL, Comment: "ours"},
		{Type: cloudflare.RecordAAAA, Name: "www.example.com", Content: "2001:db8::1", TTL: 120, Comment: "ours"},
	} {
		made, _, err := c.client.CreateRecord(ctx, c.zone, r)
		if err != nil {
			t.Fatal(err)
		}
		r.ID = made.ID
		if diff := cmp.Diff(r, made); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if again, existed, err := c.client.CreateRecord(ctx, c.zone, r); err != nil || !existed || again.ID != made.ID {
			t.Errorf("a second create: got %+v, existed %v, error %v", again, existed, err)
		}
		r.Proxied, r.TTL, r.Comment = false, 300, "changed"
		if err := c.client.UpdateRecord(ctx, c.zone, r); err != nil {
			t.Fatal(err)
		}
		got, err := c.client.Record(ctx, c.zone, r.ID)
		if diff := cmp.Diff(r, got); err != nil || diff != "" {
			t.Errorf("error %v, -want +got\n%s", err, diff)
		}
	}
	if list, err := c.client.Records(ctx, c.zone, "www.example.com"); err != nil || len(list) != 2 {
		t.Errorf("got %d records, error %v", len(list), err)
	}
	if list, err := c.client.Records(ctx, c.zone, "other.example.com"); err != nil || len(list) != 0 {
		t.Errorf("got %d records of another name, error %v", len(list), err)
	}
}

// TestPages lists more records than fit on one page.
func TestPages(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	c.Limits = emulated.Unlimited()
	const many = 130
	for i := range many {
		if _, _, err := c.client.CreateRecord(t.Context(), c.zone, cloudflare.Record{
			Type: cloudflare.RecordA, Name: "www.example.com", Content: fmt.Sprintf("192.0.2.%d", i), TTL: 60,
		}); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := c.client.Records(t.Context(), c.zone, "www.example.com"); err != nil || len(list) != many {
		t.Errorf("got %d records, error %v", len(list), err)
	}
}

// TestCreateDoesNotDouble creates a pool under every fault after which it is not known whether it was made.
func TestCreateDoesNotDouble(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault emulated.Fault
		posts int
	}{
		{"answer lost", emulated.Fault{Method: http.MethodPost, LoseAnswer: true}, 1},
		{"hangs before it is made", emulated.Fault{Method: http.MethodPost, Hang: true}, 2},
		{"inner error", emulated.Fault{Method: http.MethodPost, Status: http.StatusInternalServerError}, 2},
		{"rate limit", emulated.Fault{Method: http.MethodPost, Status: http.StatusTooManyRequests}, 2},
		{"the look fails", emulated.Fault{Method: http.MethodGet, Status: http.StatusBadGateway}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, nil)
			c.Inject(tt.fault)
			_, existed, err := c.client.CreatePool(t.Context(), account, pool(""))
			if err != nil {
				t.Fatal(err)
			}
			if existed || c.count("POST pools") != tt.posts {
				t.Errorf("got existed %v after %d requests, want it made after %d", existed, c.count("POST pools"), tt.posts)
			}
			if c.PendingFaults() != 0 {
				t.Error("the fault did not happen")
			}
			if list, err := c.client.Pools(t.Context(), account); err != nil || len(list) != 1 {
				t.Errorf("got %d pools, error %v", len(list), err)
			}
			if _, existed, err := c.client.CreatePool(t.Context(), account, pool("")); err != nil || !existed {
				t.Errorf("a second create: got existed %v, error %v; want the same pool", existed, err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	always := func(f emulated.Fault) func(*cloud) {
		f.Times = -1
		return func(c *cloud) { c.Inject(f) }
	}
	tests := []struct {
		name   string
		config func(*cloudflare.Config)
		change func(*cloud)
		want   error
	}{
		{"unknown token", func(c *cloudflare.Config) { c.Token = "wrong" }, nil, cloudflare.ErrForbidden},
		{"malformed token", func(c *cloudflare.Config) { c.Token = "two words" }, nil, cloudflare.ErrUnauthorized},
		{"bad request", nil, always(emulated.Fault{Method: http.MethodPost, Status: http.StatusBadRequest, Code: 1002}), cloudflare.ErrInvalid},
		{"quota", nil, func(c *cloud) {
			c.Quotas.Pools = 1
			_, _, _ = c.client.CreatePool(context.Background(), account, cloudflare.Pool{Name: "other", Origins: pool("").Origins, MinimumOrigins: 1})
		}, cloudflare.ErrQuota},
		{"down", nil, always(emulated.Fault{Status: http.StatusServiceUnavailable}), cloudflare.ErrUnavailable},
		{"hangs", func(c *cloudflare.Config) { c.Timeout = 10 * time.Millisecond }, always(emulated.Fault{Hang: true}), cloudflare.ErrUnreachable},
		{"limited for good", nil, always(emulated.Fault{Method: http.MethodPost, Status: http.StatusTooManyRequests}), cloudflare.ErrRateLimited},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, tt.config)
			if tt.change != nil {
				tt.change(c)
			}
			if _, _, err := c.client.CreatePool(t.Context(), account, pool("")); !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
}

// TestMissingPermission names the permission that the token lacks; what is wrong with the token itself is told instead.
func TestMissingPermission(t *testing.T) {
	t.Parallel()
	calls := map[string]struct {
		call func(context.Context, *cloud) error
		want cloudflare.Permission
	}{
		"zones": {func(ctx context.Context, c *cloud) error { _, err := c.client.FindZone(ctx, domain); return err }, cloudflare.PermissionZone()},
		"monitors": {func(ctx context.Context, c *cloud) error {
			_, _, err := c.client.CreateMonitor(ctx, account, monitor())
			return err
		}, cloudflare.PermissionPools(false)},
		"limits":        {func(ctx context.Context, c *cloud) error { _, err := c.client.Limits(ctx, account); return err }, cloudflare.PermissionPools(false)},
		"pool":          {func(ctx context.Context, c *cloud) error { return c.client.DeletePool(ctx, account, "x") }, cloudflare.PermissionPools(true)},
		"load balancer": {func(ctx context.Context, c *cloud) error { return c.client.DeleteLoadBalancer(ctx, c.zone, "x") }, cloudflare.PermissionBalancers(true)},
		"records":       {func(ctx context.Context, c *cloud) error { _, err := c.client.Records(ctx, c.zone, "www"); return err }, cloudflare.PermissionDNS(false)},
	}
	for name, tt := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for status, wantKind := range map[string]error{"active": cloudflare.ErrForbidden, "expired": cloudflare.ErrUnauthorized} {
				c := newCloud(t, func(cfg *cloudflare.Config) { cfg.Token = "narrow" })
				c.Tokens = map[string]emulated.Token{"narrow": {Status: status}}
				err := c.client.Explain(t.Context(), account, tt.call(t.Context(), c))
				var failure *cloudflare.Error
				if !errors.As(err, &failure) || !errors.Is(err, wantKind) {
					t.Fatalf("%s: got %v, want %v", status, err, wantKind)
				}
				if status == "active" && failure.Permission != tt.want || status == "expired" && failure.Token != cloudflare.TokenExpired {
					t.Errorf("%s: got %v", status, err)
				}
			}
		})
	}
}

func TestFindZone(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	for range 2 { // the second time it is remembered
		z, err := c.client.FindZone(t.Context(), domain)
		if err != nil || z.ID != c.zone || z.AccountID != account || z.Enterprise {
			t.Fatalf("got %+v, error %v", z, err)
		}
	}
	if n := c.count("GET zones"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	_, err := c.client.FindZone(t.Context(), "ample.com")
	var missing *cloudflare.ZoneNotFoundError
	if !errors.As(err, &missing) || missing.Zone != "ample.com" || !errors.Is(err, cloudflare.ErrNotFound) {
		t.Errorf("got error %v, want that the zone is not found", err)
	}
}

// TestZoneInTwoAccounts takes the active one of two, and neither of two that are.
func TestZoneInTwoAccounts(t *testing.T) {
	t.Parallel()
	for other, wantErr := range map[string]error{"pending": nil, "active": cloudflare.ErrInvalid} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			zone := `{"id": %q, "name": "example.com", "status": %q, "account": {"id": "a", "name": "A"}}`
			_, _ = fmt.Fprintf(w, `{"success": true, "errors": [], "messages": [], "result": [`+zone+","+zone+`]}`, "one", other, "two", "active")
		}))
		t.Cleanup(server.Close)
		client, err := cloudflare.New(cloudflare.Config{Token: "right", URL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		if z, err := client.FindZone(t.Context(), domain); !errors.Is(err, wantErr) || err == nil && z.ID != "two" {
			t.Errorf("%s: got %+v, error %v", other, z, err)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	if l, err := c.client.Limits(t.Context(), account); err != nil || l != (cloudflare.Limits{Interval: 15, Endpoints: 20}) {
		t.Errorf("got %+v, error %v", l, err)
	}
}

// TestBlock is refused once for an hour: neither that request nor any other goes on asking.
func TestBlock(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	c.Inject(emulated.Fault{Method: http.MethodPost, Status: http.StatusTooManyRequests, RetryAfter: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, _, err := c.client.CreatePool(ctx, account, pool(""))
	var failure *cloudflare.Error
	if !errors.As(err, &failure) || !errors.Is(err, cloudflare.ErrRateLimited) || failure.RetryAfter != time.Hour {
		t.Errorf("got error %v, want ErrRateLimited with an hour", err)
	}
	asked := c.count("GET pools")
	if _, err := c.client.Pools(ctx, account); !errors.Is(err, cloudflare.ErrRateLimited) {
		t.Errorf("got error %v, want ErrRateLimited", err)
	}
	if c.count("GET pools") != asked {
		t.Error("the API was asked all the same")
	}
}

func TestPoolHealth(t *testing.T) {
	t.Parallel()
	c, ctx := newCloud(t, nil), t.Context()
	m, _, err := c.client.CreateMonitor(ctx, account, monitor())
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := c.client.CreatePool(ctx, account, pool(m.ID))
	if err != nil {
		t.Fatal(err)
	}
	health, err := c.client.PoolHealth(ctx, account, p.ID)
	if err != nil || !health["192.0.2.1"].Healthy {
		t.Errorf("got %+v, error %v", health, err)
	}
}

// TestParseHealth reads the vendor's own example and a pool that fails in most places.
func TestParseHealth(t *testing.T) {
	t.Parallel()
	got, err := cloudflare.ParseHealth([]byte(`{"pool_id": "17b5962d775c646f3f9725cbc7a53df4", "pop_health": {
		"Amsterdam, NL": {"healthy": true, "origins": [{"2001:DB8::5": {"healthy": true, "rtt": "12.1ms", "failure_reason": "No failures", "response_code": 401}}]},
		"Hong Kong": {"healthy": false, "origins": [{"192.0.2.1": {"healthy": false, "failure_reason": "TCP connection failed"}}]},
		"Paris": {"healthy": false, "origins": [{"192.0.2.1": {"healthy": false, "failure_reason": "HTTP timeout occurred"}}]},
		"Tokyo": {"healthy": true, "origins": [{"192.0.2.1": {"healthy": true, "failure_reason": "No failures"}}]}}}`))
	want := map[string]cloudflare.Health{
		"2001:db8::5": {Healthy: true},
		"192.0.2.1":   {Reasons: []string{"HTTP timeout occurred", "TCP connection failed"}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, -want +got\n%s", err, diff)
	}
	if empty, err := cloudflare.ParseHealth([]byte(`{"pop_health": {}}`)); err != nil || len(empty) != 0 {
		t.Errorf("before the first check: got %+v, error %v", empty, err)
	}
	if _, err := cloudflare.ParseHealth([]byte(`{"pop_health": []}`)); err == nil {
		t.Error("another shape was accepted")
	}
}

func TestBadURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"api.cloudflare.com", "ftp://api.cloudflare.com/client/v4", "https://", ":"} {
		if _, err := cloudflare.New(cloudflare.Config{URL: url}); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
}
