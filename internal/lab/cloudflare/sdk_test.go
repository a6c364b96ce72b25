package cloudflare_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cloudflare/cloudflare-go/v7/dns"
	"github.com/cloudflare/cloudflare-go/v7/load_balancers"
	"github.com/cloudflare/cloudflare-go/v7/option"
	"github.com/cloudflare/cloudflare-go/v7/user"
	"github.com/cloudflare/cloudflare-go/v7/zones"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// TestVendorsClient lets the vendor's own library do what the provider does.
func TestVendorsClient(t *testing.T) {
	var names []string
	for n := range 45 {
		names = append(names, fmt.Sprintf("zone%02d.example", n))
	}
	s := &cloudflare.Server{Zones: names, Token: token}
	a := serve(t, s)
	ctx := t.Context()
	options := []option.RequestOption{option.WithBaseURL(a.url), option.WithAPIToken(token), option.WithMaxRetries(1)}
	body := func(v any) option.RequestOption {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return option.WithRequestBody("application/json", data)
	}

	if verified, err := user.NewTokenService(options...).Verify(ctx); err != nil || verified.Status != user.TokenVerifyResponseStatusActive {
		t.Errorf("token %+v, error %v", verified, err)
	}

	// Lists with pages end, and hold everything once.
	found := 0
	for pager := zones.NewZoneService(options...).ListAutoPaging(ctx, zones.ZoneListParams{}); pager.Next(); found++ {
		if zone := pager.Current(); zone.Account.ID != cloudflare.AccountID || zone.ID != cloudflare.ZoneID(zone.Name) {
			t.Errorf("zone %+v", zone)
		}
	}
	if found != len(names) {
		t.Errorf("%d zones, want %d", found, len(names))
	}

	monitorService, poolService := load_balancers.NewMonitorService(options...), load_balancers.NewPoolService(options...)
	var newMonitor load_balancers.MonitorNewParams
	newMonitor.AccountID.Value, newMonitor.AccountID.Present = cloudflare.AccountID, true
	newMonitor.Path.Value, newMonitor.Path.Present = "/healthz", true
	monitor, err := monitorService.New(ctx, newMonitor)
	if err != nil || monitor.Path != "/healthz" || monitor.Interval != 60 {
		t.Fatalf("monitor %+v, error %v", monitor, err)
	}
	var newPool load_balancers.PoolNewParams
	newPool.AccountID.Value, newPool.AccountID.Present = cloudflare.AccountID, true
	pool, err := poolService.New(ctx, newPool, body(with(pool("asia"), "monitor", monitor.ID)))
	if err != nil || len(pool.Origins) != 1 || pool.Origins[0].Weight != 1 || !pool.Enabled {
		t.Fatalf("pool %+v, error %v", pool, err)
	}
	var listPools load_balancers.PoolListParams
	listPools.AccountID.Value, listPools.AccountID.Present = cloudflare.AccountID, true
	found = 0
	for pager := poolService.ListAutoPaging(ctx, listPools); pager.Next(); {
		found++
	}
	if found != 1 {
		t.Errorf("%d pools", found)
	}

	zone := cloudflare.ZoneID(names[0])
	var newBalancer load_balancers.LoadBalancerNewParams
	newBalancer.ZoneID.Value, newBalancer.ZoneID.Present = zone, true
	balancer, err := load_balancers.NewLoadBalancerService(options...).New(ctx, newBalancer, body(object{
		"name": "www." + names[0], "proxied": true, "default_pools": []string{pool.ID}, "fallback_pool": pool.ID,
		"session_affinity": "cookie", "session_affinity_ttl": 1800, "steering_policy": "dynamic_latency",
	}))
	if err != nil || balancer.SessionAffinityTTL != 1800 || balancer.SteeringPolicy != load_balancers.SteeringPolicyDynamicLatency {
		t.Fatalf("load balancer %+v, error %v", balancer, err)
	}

	recordService := dns.NewRecordService(options...)
	for n := range 3 {
		var record dns.RecordNewParams
		record.ZoneID.Value, record.ZoneID.Present = zone, true
		if _, err := recordService.New(ctx, record, body(object{"type": "A", "name": "a", "content": fmt.Sprintf("192.0.2.%d", n+1), "ttl": 60})); err != nil {
			t.Fatal(err)
		}
	}
	var listRecords dns.RecordListParams
	listRecords.ZoneID.Value, listRecords.ZoneID.Present = zone, true
	listRecords.PerPage.Value, listRecords.PerPage.Present = 2, true
	found = 0
	for pager := recordService.ListAutoPaging(ctx, listRecords); pager.Next(); {
		found++
	}
	if found != 3 {
		t.Errorf("%d records, want 3", found)
	}

	// The library finds the vendor's code in an error.
	var deletion load_balancers.PoolDeleteParams
	deletion.AccountID.Value, deletion.AccountID.Present = cloudflare.AccountID, true
	_, err = poolService.Delete(ctx, pool.ID, deletion)
	if err == nil || !strings.Contains(err.Error(), "1005") || !strings.Contains(err.Error(), "412") {
		t.Errorf("error %v", err)
	}
	// It repeats a creation whose answer was lost, which is refused as a double.
	s.Inject(cloudflare.Fault{Method: http.MethodPost, Path: pools, LoseAnswer: true})
	if _, err := poolService.New(ctx, newPool, body(object{"name": "europe", "origins": []object{{"name": "x", "address": "192.0.2.77"}}})); err == nil ||
		!strings.Contains(err.Error(), "1003") {
		t.Errorf("error %v", err)
	}
	if got := len(s.Account().Pools); got != 2 {
		t.Errorf("%d pools, want 2", got)
	}
}
