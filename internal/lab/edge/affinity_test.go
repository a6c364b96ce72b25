package edge_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/edge"
)

// sticky is a load balancer with sessions by cookie over the nodes, which are healthy.
func sticky(w *world, attributes object, nodes ...*node) (balancer, pool string) {
	w.t.Helper()
	pool = w.pool("all", w.monitor(nil), nodes...)
	for _, n := range nodes {
		w.awaitHealth(pool, n, "healthy")
	}
	return w.balance(object{"session_affinity": "cookie", "session_affinity_ttl": 1800, "session_affinity_attributes": attributes}, pool), pool
}

func TestCookieSticks(t *testing.T) {
	w := newWorld(t)
	nodes := []*node{w.node(1), w.node(2), w.node(3)}
	sticky(w, object{}, nodes...)
	homes := map[string]int{}
	for range 20 {
		v := w.visitor()
		first := v.get()
		c := first.cookie
		if c == nil || !c.HttpOnly || c.Path != "/" || c.Secure || c.SameSite != http.SameSiteLaxMode {
			t.Fatalf("cookie %+v", c)
		}
		homes[first.body]++
		for range 10 {
			if again := v.see(http.StatusOK, first.body); again.cookie != nil {
				t.Fatalf("another cookie %+v", again.cookie)
			}
		}
	}
	if len(homes) < 2 {
		t.Errorf("everybody is at %v", homes)
	}
}

// TestSessionEnds when its time is over, counted from its beginning; then it begins anew.
func TestSessionEnds(t *testing.T) {
	// A session of 1,800 s lasts half a second.
	w := newWorld(t, func(e *edge.Edge) { e.Second = time.Second / 3600 })
	a, b := w.node(1), w.node(2)
	pool := w.pool("both", "", a, b)
	w.balance(object{"session_affinity": "cookie", "session_affinity_ttl": 1800}, pool)
	v := w.visitor()
	began := time.Now()
	if v.get().cookie == nil {
		t.Fatal("no cookie")
	}
	w.await("another cookie", func() bool {
		// A browser would forget the cookie; the edge must not rely on that.
		return v.get().cookie != nil
	})
	if lasted := time.Since(began); lasted < 450*time.Millisecond {
		t.Errorf("the session lasted %v", lasted)
	}
}

func TestForgedCookie(t *testing.T) {
	w := newWorld(t)
	sticky(w, object{}, w.node(1), w.node(2))
	v := w.visitor()
	v.get()
	value := []byte(v.cookies[0].Value)
	value[3] ^= 1
	v.cookies[0].Value = string(value)
	if v.get().cookie == nil {
		t.Error("a changed cookie is taken")
	}
}

// home sends a visitor to a node of which it then has the cookie.
func home(w *world, n *node) *visitor {
	w.t.Helper()
	v := w.visitor()
	w.await("a session at "+n.address, func() bool {
		v = w.visitor()
		return v.get().body == n.address
	})
	return v
}

// TestSessionOfADeadNode, before and after the monitor has seen that it is dead.
func TestSessionOfADeadNode(t *testing.T) {
	tests := []struct {
		failover string
		first    int  // status of the first request after the death
		moves    bool // the cookie is another one at once
		back     bool // the session is where it was when the node comes back before the monitor looks
	}{
		{"none", 521, false, true},
		{"temporary", http.StatusOK, false, true},
		{"sticky", http.StatusOK, true, false},
	}
	for _, test := range tests {
		t.Run(test.failover, func(t *testing.T) {
			w := newWorld(t)
			dying, other := w.node(1), w.node(2)
			monitor := w.monitor(object{"interval": 3600})
			pool := w.pool("both", monitor, dying, other)
			w.awaitHealth(pool, dying, "healthy")
			w.awaitHealth(pool, other, "healthy")
			w.balance(object{
				"session_affinity": "cookie", "session_affinity_ttl": 1800, "session_affinity_attributes": object{"zero_downtime_failover": test.failover},
			}, pool)
			v := home(w, dying)
			dying.kill()
			got := v.get()
			if got.status != test.first || (got.cookie != nil) != test.moves {
				t.Errorf("status %d, cookie %v", got.status, got.cookie)
			}
			dying.start()
			want := other.address
			if test.back {
				want = dying.address
			}
			v.see(http.StatusOK, want)

			// Once it is known to be dead the session goes to another node, with another cookie, and stays there.
			v = home(w, dying)
			dying.kill()
			w.api(http.MethodPatch, monitors+"/"+monitor, object{"interval": 10})
			w.awaitHealth(pool, dying, cloudflare.TCPFailed)
			if moved := v.see(http.StatusOK, other.address); moved.cookie == nil {
				t.Error("no cookie for the new node")
			}
			dying.start()
			w.awaitHealth(pool, dying, "healthy")
			for range 10 {
				v.see(http.StatusOK, other.address)
			}
		})
	}
}

// TestDrain: who is at a node that is disabled may stay for a while, and nobody new comes.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	leaving, other := w.node(1), w.node(2)
	_, pool := sticky(w, object{"drain_duration": 50}, leaving, other) // 50 s, one real second
	v := home(w, leaving)
	origins := w.origins(leaving, other)
	origins[0]["enabled"] = false
	began := time.Now()
	w.api(http.MethodPatch, pools+"/"+pool, object{"origins": origins})
	v.see(http.StatusOK, leaving.address)
	if diff := cmp.Diff(map[string]int{other.address: 20}, w.tally(20)); diff != "" {
		t.Errorf("new visitors (-want +got)\n%s", diff)
	}
	w.await("the drain ends", func() bool {
		got := v.get()
		if got.status != http.StatusOK {
			t.Fatalf("status %d in a planned drain", got.status)
		}
		return got.body == other.address
	})
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("the drain took %v", took)
	}
}

// TestDrainOfADeadNode disables an endpoint because its node is dead: nobody checks it any more, so its sessions are still sent
// there, until the load balancer stops to let them drain.
func TestDrainOfADeadNode(t *testing.T) {
	w := newWorld(t)
	dead, other := w.node(1), w.node(2)
	monitor := w.monitor(object{"interval": 3600})
	pool := w.pool("both", monitor, dead, other)
	w.awaitHealth(pool, dead, "healthy")
	w.awaitHealth(pool, other, "healthy")
	sessions := object{"session_affinity": "cookie", "session_affinity_ttl": 1800}
	attributes := func(drain int) object { return object{"zero_downtime_failover": "none", "drain_duration": drain} }
	sessions["session_affinity_attributes"] = attributes(100_000)
	balancer := w.balance(sessions, pool)
	v := home(w, dead)
	dead.kill()
	origins := w.origins(dead, other)
	origins[0]["enabled"] = false
	w.api(http.MethodPatch, pools+"/"+pool, object{"origins": origins})
	for range 3 {
		if got := v.get(); got.status != 521 {
			t.Fatalf("while it drains: status %d", got.status)
		}
	}
	if diff := cmp.Diff(map[string]int{other.address: 20}, w.tally(20)); diff != "" {
		t.Errorf("new visitors (-want +got)\n%s", diff)
	}
	w.api(http.MethodPatch, balancers()+"/"+balancer, object{"session_affinity_attributes": attributes(0)})
	if moved := v.see(http.StatusOK, other.address); moved.cookie == nil {
		t.Error("no cookie for the new node")
	}
}

func TestWithoutDrainSessionsMoveAtOnce(t *testing.T) {
	w := newWorld(t)
	leaving, other := w.node(1), w.node(2)
	_, pool := sticky(w, object{}, leaving, other)
	v := home(w, leaving)
	origins := w.origins(leaving, other)
	origins[0]["enabled"] = false
	w.api(http.MethodPatch, pools+"/"+pool, object{"origins": origins})
	if v.see(http.StatusOK, other.address).cookie == nil {
		t.Error("no new cookie")
	}
}

// TestRemovedEndpoint: a session whose endpoint is gone from the pool begins anew.
func TestRemovedEndpoint(t *testing.T) {
	w := newWorld(t)
	leaving, other := w.node(1), w.node(2)
	_, pool := sticky(w, object{"drain_duration": 1000}, leaving, other)
	v := home(w, leaving)
	w.api(http.MethodPatch, pools+"/"+pool, object{"origins": w.origins(other)})
	v.see(http.StatusOK, other.address)
}

// TestIPCookie: the first choice follows from the client's address.
func TestIPCookie(t *testing.T) {
	w := newWorld(t)
	w.balance(object{"session_affinity": "ip_cookie"}, w.pool("all", "", w.node(1), w.node(2), w.node(3)))
	if got := w.tally(20); len(got) != 1 {
		t.Errorf("one address is at %v", got)
	}
	if w.visitor().get().cookie == nil {
		t.Error("no cookie")
	}
}

func TestAffinityByHeader(t *testing.T) {
	// A session of 30 s idle lasts 300 ms.
	w := newWorld(t, func(e *edge.Edge) { e.Second = 10 * time.Millisecond })
	w.balance(object{
		"session_affinity": "header", "session_affinity_ttl": 30, "session_affinity_attributes": object{"headers": []string{"X-User"}},
	}, w.pool("all", "", w.node(1), w.node(2), w.node(3)))
	user := func(name string) func(*visitor) { return func(v *visitor) { v.header.Set("X-User", name) } }
	homes := map[string]bool{}
	for _, name := range []string{"ann", "bob", "cid", "dot", "eve", "fay", "gus", "hal"} {
		got := w.tally(5, user(name))
		if len(got) != 1 {
			t.Errorf("%s is at %v", name, got)
		}
		for at := range got {
			homes[at] = true
		}
	}
	if len(homes) < 2 {
		t.Errorf("everybody is at %v", homes)
	}
	if got := w.tally(30); len(got) < 2 {
		t.Errorf("without the header: %v", got)
	}
}
