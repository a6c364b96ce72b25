package cloudflare_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// volatile are the fields that differ from one object to the next.
var volatile = cmpopts.IgnoreMapEntries(func(name string, _ any) bool {
	return name == "id" || name == "created_on" || name == "modified_on"
})

// TestDefaults: the vendor fills in what a client left out, and a plan after an apply has to be empty all the same.
func TestDefaults(t *testing.T) {
	a := serve(t, &cloudflare.Server{})
	monitor := a.do(http.MethodPost, monitors, object{})
	want := object{
		"type": "http", "description": "", "method": "GET", "path": "/", "header": object{}, "port": 0.0, "timeout": 5.0, "retries": 2.0,
		"interval": 60.0, "consecutive_up": 0.0, "consecutive_down": 0.0, "expected_body": "", "expected_codes": "",
		"follow_redirects": false, "allow_insecure": false, "probe_zone": "",
	}
	if diff := cmp.Diff(want, monitor, volatile); diff != "" {
		t.Errorf("monitor (-want +got)\n%s", diff)
	}
	made := a.do(http.MethodPost, pools, pool("asia"))
	want = object{
		"name": "asia", "description": "", "enabled": true, "minimum_origins": 1.0, "check_regions": nil,
		"origins": []any{object{
			"name": "sg1", "address": "192.0.2.1", "enabled": true, "weight": 1.0, "port": 0.0, "flatten_cname": true,
		}},
		"origin_steering":    object{"policy": "random"},
		"load_shedding":      object{"default_percent": 0.0, "default_policy": "random", "session_percent": 0.0, "session_policy": "hash"},
		"notification_email": "", "notification_filter": nil,
	}
	if diff := cmp.Diff(want, made, volatile); diff != "" {
		t.Errorf("pool (-want +got)\n%s", diff)
	}
	balancer := a.do(http.MethodPost, balancers(), object{
		"name": "WWW.example.com", "default_pools": []any{made["id"]}, "fallback_pool": made["id"],
	})
	want = object{
		"name": "www.example.com", "zone_name": "example.com", "description": "", "enabled": true, "proxied": false, "ttl": 30.0,
		"default_pools": []any{made["id"]}, "fallback_pool": made["id"],
		"region_pools": object{}, "country_pools": object{}, "pop_pools": object{}, "rules": []any{},
		"steering_policy": "off", "random_steering": object{"default_weight": 1.0},
		"adaptive_routing":            object{"failover_across_pools": false},
		"location_strategy":           object{"mode": "pop", "prefer_ecs": "proximity"},
		"session_affinity":            "none",
		"session_affinity_attributes": object{"samesite": "Auto", "secure": "Auto", "zero_downtime_failover": "none"},
	}
	if diff := cmp.Diff(want, balancer, volatile); diff != "" {
		t.Errorf("load balancer (-want +got)\n%s", diff)
	}
}

func TestReplaceAndPatch(t *testing.T) {
	a := serve(t, &cloudflare.Server{})
	monitor, made, balancer := balanced(a)

	// PATCH keeps what it does not name; PUT gives it its default.
	one := monitors + "/" + text(monitor, "id")
	patched := a.do(http.MethodPatch, one, object{"interval": 30})
	if patched["interval"] != 30.0 || patched["path"] != "/healthz" || patched["created_on"] != monitor["created_on"] {
		t.Errorf("patched monitor %v", patched)
	}
	if got := a.do(http.MethodPut, one, object{"type": "http"}); got["interval"] != 60.0 || got["path"] != "/" || got["id"] != monitor["id"] {
		t.Errorf("replaced monitor %v", got)
	}

	one = pools + "/" + text(made, "id")
	patched = a.do(http.MethodPatch, one, object{"origins": []object{{"name": "sg1", "address": "192.0.2.1", "enabled": false}}})
	origins, _ := patched["origins"].([]any)
	if len(origins) != 1 || patched["monitor"] != monitor["id"] {
		t.Fatalf("patched pool %v", patched)
	}
	origin, _ := origins[0].(object)
	since := text(origin, "disabled_at")
	if origin["enabled"] != false || since == "" {
		t.Errorf("disabled endpoint %v", origin)
	}
	// The time since when it is disabled stays, so that sessions drain to an end.
	patched = a.do(http.MethodPatch, one, object{"description": "again"})
	origins, _ = patched["origins"].([]any)
	if origin, _ = origins[0].(object); text(origin, "disabled_at") != since {
		t.Errorf("disabled since %v, want %v", origin, since)
	}
	replaced := a.do(http.MethodPut, one, pool("asia"))
	if _, has := replaced["monitor"]; has {
		t.Errorf("replaced pool %v", replaced)
	}
	origins, _ = replaced["origins"].([]any)
	if origin, _ = origins[0].(object); origin["enabled"] != true || text(origin, "disabled_at") != "" {
		t.Errorf("enabled endpoint %v", origin)
	}

	one = balancers() + "/" + text(balancer, "id")
	patched = a.do(http.MethodPatch, one, object{"session_affinity": "cookie", "session_affinity_ttl": 1800})
	if patched["session_affinity"] != "cookie" || patched["proxied"] != true || patched["name"] != "www.example.com" {
		t.Errorf("patched load balancer %v", patched)
	}
	if diff := cmp.Diff(patched, a.do(http.MethodGet, one, nil)); diff != "" {
		t.Errorf("load balancer afterwards (-answer +read)\n%s", diff)
	}
	replaced = a.do(http.MethodPut, one, object{
		"name": "www.example.com", "default_pools": []any{made["id"]}, "fallback_pool": made["id"], "region_pools": object{"SEAS": []any{made["id"]}},
	})
	if replaced["session_affinity"] != "none" || replaced["proxied"] != false || replaced["steering_policy"] != "geo" {
		t.Errorf("replaced load balancer %v", replaced)
	}
}

// TestOrderOfRemoval: what another object uses stays, and once nothing uses it, it can go.
func TestOrderOfRemoval(t *testing.T) {
	a := serve(t, &cloudflare.Server{})
	monitor, made, balancer := balanced(a)
	monitorPath, poolPath := monitors+"/"+text(monitor, "id"), pools+"/"+text(made, "id")
	balancerPath := balancers() + "/" + text(balancer, "id")
	a.refused(http.MethodDelete, monitorPath, nil, 412, 1005, "referenced by other objects")
	a.refused(http.MethodDelete, poolPath, nil, 412, 1005, "referenced by other objects")
	if got := a.list(monitorPath + "/references"); len(got) != 1 || got[0]["resource_name"] != "asia" || got[0]["reference_type"] != "referrer" {
		t.Errorf("references of the monitor %v", got)
	}
	if got := a.list(poolPath + "/references"); len(got) != 2 || got[1]["resource_type"] != "load_balancer" {
		t.Errorf("references of the pool %v", got)
	}
	for _, path := range []string{balancerPath, poolPath, monitorPath} {
		a.do(http.MethodDelete, path, nil)
		a.refused(http.MethodGet, path, nil, 404, 1001, "not found")
		a.refused(http.MethodDelete, path, nil, 404, 1001, "not found")
	}
	for _, list := range []string{balancers(), pools, monitors} {
		if got := a.list(list); len(got) != 0 {
			t.Errorf("%s: %v are left", list, got)
		}
	}
}

func TestGeoPoolsAreReferences(t *testing.T) {
	a := serve(t, &cloudflare.Server{})
	_, _, balancer := balanced(a)
	spare := a.do(http.MethodPost, pools, with(pool("europe"), "origins", []object{{"name": "fr1", "address": "192.0.2.9"}}))
	path := balancers() + "/" + text(balancer, "id")
	a.do(http.MethodPatch, path, object{"region_pools": object{"WEU": []any{spare["id"]}}})
	a.refused(http.MethodDelete, pools+"/"+text(spare, "id"), nil, 412, 1005, "referenced")
	a.do(http.MethodPatch, path, object{"region_pools": object{}})
	a.do(http.MethodDelete, pools+"/"+text(spare, "id"), nil)
}

func TestZones(t *testing.T) {
	a := serve(t, &cloudflare.Server{Zones: []string{"b.example", "a.example", "c.example", "d.example", "e.example", "f.example", "g.example"}})
	zone := a.do(http.MethodGet, "/zones/"+cloudflare.ZoneID("b.example"), nil)
	account, _ := zone["account"].(object)
	if zone["name"] != "b.example" || zone["status"] != "active" || account["id"] != cloudflare.AccountID {
		t.Errorf("zone %v", zone)
	}
	if got := a.list("/zones?name=c.example"); len(got) != 1 || got[0]["id"] != cloudflare.ZoneID("c.example") {
		t.Errorf("by name %v", got)
	}
	if got := a.list("/zones?name=nowhere.example"); len(got) != 0 {
		t.Errorf("by a name that is not there %v", got)
	}
	var names []string
	for n, path := range []string{"/zones?per_page=5", "/zones?per_page=5&page=2", "/zones?per_page=5&page=3"} {
		got := a.call(http.MethodGet, path, nil)
		if got.Info == nil || got.Info.TotalCount != 7 || got.Info.TotalPages != 2 || got.Info.Page != n+1 || got.Info.PerPage != 5 {
			t.Errorf("%s: %+v", path, got.Info)
		}
		for _, zone := range a.list(path) {
			names = append(names, text(zone, "name"))
		}
	}
	want := []string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example", "g.example"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("zones (-want +got)\n%s", diff)
	}
	a.refused(http.MethodGet, "/zones/"+cloudflare.ZoneID("other.example"), nil, 400, 1001, "Invalid zone identifier")
}

func TestRecords(t *testing.T) {
	a := serve(t, &cloudflare.Server{})
	made := a.do(http.MethodPost, records(), object{"type": "A", "name": "www", "content": "192.0.2.1", "ttl": 300, "proxied": true, "comment": "by atoll"})
	want := object{
		"name": "www.example.com", "zone_name": "example.com", "type": "A", "content": "192.0.2.1", "proxied": true, "proxiable": true,
		"ttl": 1.0, "settings": object{}, "meta": object{}, "tags": []any{}, "comment": "by atoll", "comment_modified_on": made["created_on"],
	}
	if diff := cmp.Diff(want, made, volatile); diff != "" {
		t.Errorf("record (-want +got)\n%s", diff)
	}
	a.do(http.MethodPost, records(), object{"type": "AAAA", "name": "www.example.com", "content": "2001:db8:0::1", "ttl": 1})
	a.do(http.MethodPost, records(), object{"type": "TXT", "name": "@", "content": "hello", "ttl": 60})
	for query, want := range map[string]int{
		"": 3, "?name=www.example.com": 2, "?name.exact=www.example.com&type=AAAA": 1, "?name=www.example.com&content=hello": 0,
		"?name=www.example.com&content=hello&match=any": 3, "?name.contains=ww": 2, "?proxied=true": 1, "?comment.exact=by+atoll": 1,
		"?comment.absent=true": 2, "?search=hell": 1, "?per_page=2&page=2": 1, "?order=content&direction=desc": 3,
	} {
		if got := a.list(records() + query); len(got) != want {
			t.Errorf("%s: %d records, want %d", query, len(got), want)
		}
	}
	if got := a.list(records() + "?type=AAAA"); got[0]["content"] != "2001:db8::1" {
		t.Errorf("address %v is not in its short form", got[0]["content"])
	}
	path := records() + "/" + text(made, "id")
	if got := a.do(http.MethodPatch, path, object{"type": "A", "name": "www.example.com", "ttl": 120, "proxied": false, "content": "192.0.2.7"}); got["ttl"] != 120.0 ||
		got["comment"] != "by atoll" || got["proxied"] != false {
		t.Errorf("patched %v", got)
	}
	if got := a.do(http.MethodPut, path, object{"type": "A", "name": "www.example.com", "ttl": 1, "content": "192.0.2.8"}); got["comment"] != nil {
		t.Errorf("replaced %v", got)
	}
	a.do(http.MethodDelete, path, nil)
	a.refused(http.MethodGet, path, nil, 404, 81044, "Record does not exist")
}

// TestLoadBalancerShadowsRecord: both may exist, in either order; the load balancer answers.
func TestLoadBalancerShadowsRecord(t *testing.T) {
	a := serve(t, &cloudflare.Server{})
	a.do(http.MethodPost, records(), object{"type": "A", "name": "www", "content": "192.0.2.1", "ttl": 1})
	balanced(a)
	a.do(http.MethodPost, records(), object{"type": "AAAA", "name": "www", "content": "2001:db8::1", "ttl": 1})
	if got := a.list(records()); len(got) != 2 {
		t.Errorf("records %v", got)
	}
}

func TestHealth(t *testing.T) {
	a := serve(t, &cloudflare.Server{})
	_, made, _ := balanced(a)
	health := a.do(http.MethodGet, pools+"/"+text(made, "id")+"/health", nil)
	found := map[string]any{"healthy": true, "failure_reason": "No failures", "response_code": 200.0, "rtt": "12ms"}
	want := object{"pool_id": made["id"], "pop_health": object{"Singapore, SG": object{
		"healthy": true, "origins": []any{object{"192.0.2.1": found}, object{"192.0.2.2": found}},
	}}}
	if diff := cmp.Diff(want, health); diff != "" {
		t.Errorf("health (-want +got)\n%s", diff)
	}
	bare := a.do(http.MethodPost, pools, with(pool("bare"), "origins", []object{{"name": "x", "address": "192.0.2.9"}}))
	a.refused(http.MethodGet, pools+"/"+text(bare, "id")+"/health", nil, 404, 1006, "Health info unavailable")
}

func TestUsage(t *testing.T) {
	a := serve(t, &cloudflare.Server{})
	balanced(a)
	want := object{"load_balancers": 1.0, "monitors": 1.0, "origins": 2.0, "pools": 1.0, "max_origins_per_pool": 20.0, "minimum_monitor_interval": 15.0}
	if diff := cmp.Diff(want, a.do(http.MethodGet, "/accounts/"+cloudflare.AccountID+"/load_balancers/usage", nil)); diff != "" {
		t.Errorf("usage (-want +got)\n%s", diff)
	}
}

func TestSnapshot(t *testing.T) {
	first := &cloudflare.Server{Zones: []string{"example.com", "a.example"}}
	a := serve(t, first)
	balanced(a)
	a.do(http.MethodPost, records(), object{"type": "A", "name": "x", "content": "192.0.2.1", "ttl": 1})
	data, err := first.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	second := &cloudflare.Server{Zones: []string{"example.com", "b.example"}}
	if err := second.Restore(data); err != nil {
		t.Fatal(err)
	}
	b := serve(t, second)
	for _, list := range []string{monitors, pools, balancers(), records()} {
		if diff := cmp.Diff(a.list(list), b.list(list)); diff != "" {
			t.Errorf("%s (-before +after)\n%s", list, diff)
		}
	}
	if got := b.list("/zones"); len(got) != 3 {
		t.Errorf("zones %v", got)
	}
	if err := (&cloudflare.Server{}).Restore([]byte(`{"version":99}`)); err == nil {
		t.Error("a snapshot of a later version is taken")
	}
}
