package edge_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/edge"
)

// TestFailoverOrder: policy off uses the first pool that is well.
func TestFailoverOrder(t *testing.T) {
	w := newWorld(t)
	monitor := w.monitor(nil)
	a, b, c := w.node(1), w.node(2), w.node(3)
	list := []string{w.pool("first", monitor, a), w.pool("second", monitor, b), w.pool("third", monitor, c)}
	w.balance(nil, list...)
	for n, one := range []*node{a, b, c} {
		w.awaitHealth(list[n], one, "healthy")
	}
	w.visitor().see(http.StatusOK, a.address)
	a.kill()
	w.awaitHealth(list[0], a, cloudflare.TCPFailed)
	w.visitor().see(http.StatusOK, b.address)
	w.api(http.MethodPatch, pools+"/"+list[1], object{"enabled": false})
	w.visitor().see(http.StatusOK, c.address)
	a.start()
	w.awaitHealth(list[0], a, "healthy")
	w.visitor().see(http.StatusOK, a.address)
}

func TestGeo(t *testing.T) {
	w := newWorld(t)
	monitor := w.monitor(nil)
	home, europe, france := w.node(1), w.node(2), w.node(3)
	first, second, third := w.pool("home", monitor, home), w.pool("europe", monitor, europe), w.pool("france", monitor, france)
	w.balance(object{"region_pools": object{"WEU": []string{second, first}}, "country_pools": object{"FR": []string{third}}}, first)
	for pool, n := range map[string]*node{first: home, second: europe, third: france} {
		w.awaitHealth(pool, n, "healthy")
	}
	from := func(region, country string) string {
		v := w.visitor()
		v.header.Set(edge.RegionHeader, region)
		v.header.Set(edge.CountryHeader, country)
		return v.get().body
	}
	for _, test := range []struct{ region, country, want string }{
		{"", "", home.address}, {"SEAS", "ID", home.address}, {"WEU", "DE", europe.address}, {"WEU", "FR", france.address}, {"OC", "AU", home.address},
	} {
		if got := from(test.region, test.country); got != test.want {
			t.Errorf("from %s %s: %s, want %s", test.region, test.country, got, test.want)
		}
	}
	europe.kill()
	w.awaitHealth(second, europe, cloudflare.TCPFailed)
	if got := from("WEU", "DE"); got != home.address {
		t.Errorf("after the region's death: %s", got)
	}
}

// TestDynamicLatency: the pool that answers its monitor fastest gets everything, and another when that becomes slow.
func TestDynamicLatency(t *testing.T) {
	w := newWorld(t)
	slow, fast := w.node(1), w.node(2)
	late := func(n *node) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			timer := time.NewTimer(40 * time.Millisecond)
			defer timer.Stop()
			<-timer.C
			_, _ = io.WriteString(w, n.address)
		}
	}
	slow.behave(late(slow))
	monitor := w.monitor(nil)
	first, second := w.pool("slow", monitor, slow), w.pool("fast", monitor, fast)
	w.balance(object{"steering_policy": "dynamic_latency"}, first, second)
	w.awaitHealth(first, slow, "healthy")
	w.awaitHealth(second, fast, "healthy")
	if diff := cmp.Diff(map[string]int{fast.address: 10}, w.tally(10)); diff != "" {
		t.Errorf("answers (-want +got)\n%s", diff)
	}
	fast.behave(late(fast))
	slow.behave(nil)
	w.await("the other pool is the faster one", func() bool { return w.visitor().get().body == slow.address })
}

func TestRandom(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.node(1), w.node(2), w.node(3)
	first, second, third := w.pool("a", "", a), w.pool("b", "", b), w.pool("c", "", c)
	id := w.balance(object{"steering_policy": "random"}, first, second, third)
	if got := w.tally(200); got[a.address] < 30 || got[b.address] < 30 || got[c.address] < 30 {
		t.Errorf("equal weights: %v", got)
	}
	w.api(http.MethodPatch, balancers()+"/"+id, object{"random_steering": object{
		"default_weight": 0.1, "pool_weights": object{first: 1, third: 0},
	}})
	if got := w.tally(200); got[a.address] < 140 || got[b.address] > 60 || got[c.address] != 0 {
		t.Errorf("weights 1, 0.1 and 0: %v", got)
	}
}

func TestWeightsOfEndpoints(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.node(1), w.node(2), w.node(3)
	origins := w.origins(a, b, c)
	origins[1]["weight"], origins[2]["weight"] = 0.1, 0
	w.balance(nil, w.api(http.MethodPost, pools, object{"name": "all", "origins": origins}))
	if got := w.tally(200); got[a.address] < 140 || got[b.address] == 0 || got[c.address] != 0 {
		t.Errorf("weights 1, 0.1 and 0: %v", got)
	}
}

func TestHash(t *testing.T) {
	w := newWorld(t)
	w.balance(nil, w.api(http.MethodPost, pools, object{
		"name": "all", "origins": w.origins(w.node(1), w.node(2), w.node(3)), "origin_steering": object{"policy": "hash"},
	}))
	if got := w.tally(20); len(got) != 1 {
		t.Errorf("one address is at %v", got)
	}
}

// TestLeastBusy: while one is busy, the others get what comes.
func TestLeastBusy(t *testing.T) {
	for name, build := range map[string]func(w *world, a, b *node){
		"endpoints": func(w *world, a, b *node) {
			w.balance(nil, w.api(http.MethodPost, pools, object{
				"name": "both", "origins": w.origins(a, b), "origin_steering": object{"policy": "least_connections"},
			}))
		},
		"pools": func(w *world, a, b *node) {
			w.balance(object{"steering_policy": "least_outstanding_requests"}, w.pool("a", "", a), w.pool("b", "", b))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			busy, idle := w.node(1), w.node(2)
			build(w, busy, idle)
			release := w.hold(busy)
			if diff := cmp.Diff(map[string]int{idle.address: 20}, w.tally(20)); diff != "" {
				t.Errorf("answers (-want +got)\n%s", diff)
			}
			release()
			w.await("both serve", func() bool { return w.visitor().get().body == busy.address })
		})
	}
}

// hold occupies a node with one request until release.
func (w *world) hold(n *node) (release func()) {
	w.t.Helper()
	begun, done, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var held atomic.Bool
	n.behave(func(w http.ResponseWriter, _ *http.Request) {
		if held.CompareAndSwap(false, true) {
			close(begun)
			<-done
		}
		_, _ = io.WriteString(w, n.address)
	})
	// The first of a few requests that meets the node stays there.
	go func() {
		defer close(over)
		for {
			got, err := w.visitor().ask(http.MethodGet, "/", "")
			if err != nil || got.body == n.address {
				return
			}
		}
	}()
	<-begun
	return func() {
		close(done)
		<-over
		n.behave(nil)
	}
}

func TestProximity(t *testing.T) {
	w := newWorld(t)
	far, near := w.node(1), w.node(2)
	place := func(name string, n *node, latitude, longitude float64) string {
		return w.api(http.MethodPost, pools, object{"name": name, "origins": w.origins(n), "latitude": latitude, "longitude": longitude})
	}
	w.balance(object{"steering_policy": "proximity"}, place("paris", far, 48.9, 2.4), place("jakarta", near, -6.2, 106.8))
	w.visitor().see(http.StatusOK, near.address) // the edge is in Singapore
}

// TestRecords: names without a load balancer lead to the addresses of their proxied records.
func TestRecords(t *testing.T) {
	w := newWorld(t)
	a, b, balanced := w.node(1), w.node(2), w.node(3)
	w.edge.Port = w.port
	w.visitor().see(http.StatusConflict, "error code: 1001")
	record := func(name, address string, proxied bool) string {
		return w.api(http.MethodPost, records(), object{"type": "A", "name": name, "content": address, "proxied": proxied, "ttl": 1})
	}
	first := record(hostname, a.address, false)
	w.visitor().see(http.StatusConflict, "error code: 1001") // clients do not come by here
	w.api(http.MethodPatch, records()+"/"+first, object{"type": "A", "name": hostname, "content": a.address, "ttl": 1, "proxied": true})
	w.visitor().see(http.StatusOK, a.address)
	record(hostname, b.address, true)
	if got := w.tally(100); got[a.address] < 20 || got[b.address] < 20 {
		t.Errorf("two records: %v", got)
	}
	a.kill()
	if diff := cmp.Diff(map[string]int{b.address: 30}, w.tally(30)); diff != "" {
		t.Errorf("after a death (-want +got)\n%s", diff)
	}

	// A load balancer of that name answers instead, until it is disabled.
	id := w.balance(nil, w.pool("one", "", balanced))
	w.visitor().see(http.StatusOK, balanced.address)
	w.api(http.MethodPatch, balancers()+"/"+id, object{"enabled": false})
	w.visitor().see(http.StatusOK, b.address)
	w.api(http.MethodPatch, balancers()+"/"+id, object{"enabled": true, "proxied": false})
	w.visitor().see(http.StatusConflict, "error code: 1001")
}

func TestMoreSpecificNameWins(t *testing.T) {
	w := newWorld(t)
	a, b := w.node(1), w.node(2)
	w.edge.Port = w.port
	pool := w.pool("one", "", a)
	w.api(http.MethodPost, balancers(), object{"name": "*.example.com", "proxied": true, "default_pools": []string{pool}, "fallback_pool": pool})
	w.visitor().see(http.StatusOK, a.address)
	w.api(http.MethodPost, records(), object{"type": "A", "name": hostname, "content": b.address, "proxied": true, "ttl": 1})
	w.visitor().see(http.StatusOK, b.address)
}

// TestEndpointByName: an endpoint may be a hostname of the account that is not proxied.
func TestEndpointByName(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	w.api(http.MethodPost, records(), object{"type": "A", "name": "sg1", "content": n.address, "ttl": 1})
	w.api(http.MethodPost, records(), object{"type": "CNAME", "name": "origin", "content": "sg1.example.com", "ttl": 1})
	hidden := w.api(http.MethodPost, records(), object{"type": "A", "name": "hidden", "content": n.address, "proxied": true, "ttl": 1})
	origins := w.origins(n)
	origins[0]["address"] = "origin.example.com"
	pool := w.api(http.MethodPost, pools, object{"name": "one", "monitor": w.monitor(nil), "origins": origins})
	w.balance(nil, pool)
	w.await("healthy", func() bool { return w.health(pool)["origin.example.com"] == "healthy" })
	w.visitor().see(http.StatusOK, n.address)
	origins[0]["address"] = "hidden.example.com"
	w.api(http.MethodPatch, pools+"/"+pool, object{"origins": origins})
	w.await("what the vendor says of it", func() bool { return w.health(pool)["hidden.example.com"] == cloudflare.InternalTarget })
	if hidden == "" {
		t.Error("no record")
	}
}
