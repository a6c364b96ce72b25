package edge_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

func TestMonitorSeesWhatHappens(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	monitor := w.monitor(object{"expected_body": "ALIVE", "timeout": 2})
	n.behave(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "I am alive") })
	pool := w.pool("one", monitor, n)
	w.awaitHealth(pool, n, "healthy")

	n.behave(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	w.awaitHealth(pool, n, cloudflare.CodeMismatch)
	n.behave(nil)
	w.awaitHealth(pool, n, cloudflare.BodyMismatch)
	n.behave(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w.awaitHealth(pool, n, cloudflare.HTTPTimeout)
	n.behave(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	w.awaitHealth(pool, n, cloudflare.ConnectionCut)
	n.kill()
	w.awaitHealth(pool, n, cloudflare.TCPFailed)
	w.isolate(n.address, true)
	w.awaitHealth(pool, n, cloudflare.TCPTimeout)
	w.isolate(n.address, false)
	n.start()
	n.behave(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "alive") })
	w.awaitHealth(pool, n, "healthy")

	// The API shows the same.
	health := w.call(http.MethodGet, pools+"/"+pool+"/health", nil)
	pops, _ := health["pop_health"].(object)
	place, _ := pops["Singapore, SG"].(object)
	if place["healthy"] != true {
		t.Errorf("health %v", health)
	}
}

func TestMonitorRequest(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	asked := make(chan *http.Request, 100)
	n.behave(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r:
		default:
		}
	})
	monitor := w.monitor(object{"method": "HEAD", "path": "/up?x=1", "header": object{"Host": []string{"health.example.com"}, "X-Key": []string{"k"}}})
	w.pool("one", monitor, n)
	r := <-asked
	got := []string{r.Method, r.URL.String(), r.Host, r.Header.Get("X-Key")}
	if diff := cmp.Diff([]string{"HEAD", "/up?x=1", "health.example.com", "k"}, got); diff != "" {
		t.Errorf("request (-want +got)\n%s", diff)
	}
	// The endpoint's own name goes before the monitor's.
	w.api(http.MethodPost, pools, object{"name": "two", "monitor": monitor, "origins": []object{{
		"name": "x", "address": n.address, "port": w.port, "header": object{"Host": []string{"own.example.com"}},
	}}})
	w.await("a request for the endpoint's own name", func() bool {
		select {
		case r := <-asked:
			return r.Host == "own.example.com"
		default:
			return false
		}
	})
}

// TestRetries: only a timeout is tried again, at once.
func TestRetries(t *testing.T) {
	w := newWorld(t)
	slow, broken := w.node(1), w.node(2)
	slow.behave(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	broken.behave(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	monitor := w.monitor(object{"interval": 3600, "timeout": 1, "retries": 3})
	pool := w.pool("both", monitor, slow, broken)
	w.awaitHealth(pool, slow, cloudflare.HTTPTimeout)
	w.awaitHealth(pool, broken, cloudflare.CodeMismatch)
	if probes, _ := slow.counts(); probes != 4 {
		t.Errorf("%d checks of the slow node, want 4", probes)
	}
	if probes, _ := broken.counts(); probes != 1 {
		t.Errorf("%d checks of the broken node, want 1", probes)
	}
}

// TestConsecutive: one bad check, or one good one, changes nothing when the monitor wants more.
func TestConsecutive(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	pool := w.pool("one", w.monitor(object{"consecutive_down": 3, "consecutive_up": 2}), n)
	w.awaitHealth(pool, n, "healthy")
	before, _ := n.counts()
	n.behave(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	w.await("unhealthy", func() bool { return w.health(pool)[n.address] != "healthy" })
	if probes, _ := n.counts(); probes-before < 3 {
		t.Errorf("unhealthy after %d checks, want 3", probes-before)
	}
	before, _ = n.counts()
	n.behave(nil)
	w.awaitHealth(pool, n, "healthy")
	if probes, _ := n.counts(); probes-before < 2 {
		t.Errorf("healthy after %d checks, want 2", probes-before)
	}
}

func TestTCPMonitor(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	pool := w.pool("one", w.monitor(object{"type": "tcp", "method": "", "path": "", "expected_codes": ""}), n)
	w.awaitHealth(pool, n, "healthy")
	n.kill()
	w.awaitHealth(pool, n, cloudflare.TCPFailed)
}

// TestDisabledEndpointIsNotChecked, and is once it is enabled again.
func TestDisabledEndpointIsNotChecked(t *testing.T) {
	w := newWorld(t)
	n, other := w.node(1), w.node(2)
	pool := w.pool("one", w.monitor(nil), n, other)
	w.awaitHealth(pool, n, "healthy")
	origins := w.origins(n, other)
	origins[0]["enabled"] = false
	w.api(http.MethodPatch, pools+"/"+pool, object{"origins": origins})
	before, _ := n.counts()
	since, _ := other.counts()
	w.await("three checks of the other node", func() bool { probes, _ := other.counts(); return probes >= since+3 })
	if probes, _ := n.counts(); probes > before+1 { // one may have been on its way
		t.Errorf("%d checks of a disabled endpoint", probes-before)
	}
	if _, known := w.health(pool)[n.address]; known {
		t.Errorf("health of a disabled endpoint: %v", w.health(pool))
	}
	origins[0]["enabled"] = true
	w.api(http.MethodPatch, pools+"/"+pool, object{"origins": origins})
	w.awaitHealth(pool, n, "healthy")
}

// TestSavingAgainKeepsHealth: a write that changes nothing must not make healthy endpoints unknown, which is down.
func TestSavingAgainKeepsHealth(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	monitor := w.monitor(nil)
	pool := w.pool("one", monitor, n)
	w.awaitHealth(pool, n, "healthy")
	for range 5 {
		w.api(http.MethodPatch, monitors+"/"+monitor, object{"interval": 10})
		w.api(http.MethodPatch, pools+"/"+pool, object{"description": "x"})
		if got := w.health(pool)[n.address]; got != "healthy" {
			t.Fatalf("health %q", got)
		}
	}
	// A monitor that did change asks at once, and what was known counts until it knows better.
	before, _ := n.counts()
	w.api(http.MethodPatch, monitors+"/"+monitor, object{"interval": 3600})
	if got := w.health(pool)[n.address]; got != "healthy" {
		t.Fatalf("health %q", got)
	}
	w.await("a check", func() bool { probes, _ := n.counts(); return probes > before })
}

func TestPropagation(t *testing.T) {
	w := newWorld(t)
	w.edge.Propagation = 300 * time.Millisecond
	a, b := w.node(1), w.node(2)
	first, second := w.pool("first", "", a), w.pool("second", "", b)
	id := w.balance(nil, first)
	w.await("the hostname is served", func() bool { return w.visitor().get().status == http.StatusOK })
	began := time.Now()
	w.api(http.MethodPatch, balancers()+"/"+id, object{"default_pools": []string{second}})
	w.visitor().see(http.StatusOK, a.address)
	w.await("the other pool serves", func() bool { return w.visitor().get().body == b.address })
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("the change reached the edge within %v", took)
	}
}
