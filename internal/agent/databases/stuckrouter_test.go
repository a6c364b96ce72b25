package databases_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/databases"
	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestStuckRouter looks at a router every second that does not find the primary.
func TestStuckRouter(t *testing.T) {
	t.Parallel()
	// What is seen second by second: "." a way, "x" none though the primary is reached, "-" none and nobody is reached. A restart is in
	// the second of its "x".
	tests := []struct {
		name, seen string
		want       []int
	}{
		{"it finds it by itself", "xxxxxx......", nil},
		{"it does not", "xxxxxxx......", []int{6}},
		{"a long cut is none of its faults", strings.Repeat("-", 100) + "xxxxxx...", nil},
		{"it counts from when the primary is reached", strings.Repeat("-", 20) + "xxxxxxx....", []int{26}},
		{"a path that comes and goes", "xxxx--xxxx--xxxx--xxxxxx...", nil},
		{"a path that loses packets", "xxx-xx-x...", []int{7}},
		{"twice within a minute", "xxxxxxx....." + "----xxxxxxx....", []int{6, 22}},
		{"in vain", strings.Repeat("x", 400), []int{6, 21, 51, 111, 231, 351}},
		{"in vain, and a cut in between", "xxxxxxxx----xxxxxxx" + strings.Repeat("x", 10), []int{6, 21}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			var s databases.StuckRouter
			var at []int
			for second, is := range tt.seen {
				if s.Due(is != '.', is == 'x', began.Add(time.Duration(second)*time.Second)) {
					at = append(at, second)
				}
			}
			if !slices.Equal(at, tt.want) {
				t.Errorf("started again after %v s, want %v", at, tt.want)
			}
		})
	}
}

// stuckWay is a router that leads nowhere until it is started again, if that helps.
type stuckWay struct {
	mu     sync.Mutex
	helps  bool
	writer string
	again  int
}

func (*stuckWay) Apply(context.Context, *router.Config) error { return nil }

func (s *stuckWay) Status(context.Context) (router.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return router.Status{Running: true, Writers: map[string]string{"app": s.writer}}, nil
}

func (s *stuckWay) Restart(context.Context, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again++
	if s.helps {
		s.writer = "hk2"
	}
	return nil
}

func (s *stuckWay) restarts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.again
}

// TestRestartsAStuckRouter gives a node a router that leads nowhere: it is started again when another member is heard that takes writes
// and this node reaches it, and by no means before.
func TestRestartsAStuckRouter(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // and it stays until then: a listener that nobody holds is closed
	at := netip.MustParseAddrPort(l.Addr().String())
	stuck := &stuckWay{helps: true}
	secondary := database.Status{State: spec.MemberOnline, Primary: "hk2", View: view("hk1", "hk2", "sg1"), Running: "a", Wanted: "a"}
	n := newNodeWith(t, secondary, func(n *node, c *databases.Config) {
		n.port = int(at.Port())
		c.Routers = map[spec.RouterDriver]router.Driver{spec.RouterMySQL: stuck}
		c.Bind = func(netip.Addr) netip.Addr { return at.Addr() }
	})
	missing := func() bool {
		return n.log.with("writer=\"\"") > 0
	}
	await.True(t, "the router is looked at", patience, missing)
	// Nobody takes writes: as long as a restart would take if somebody did, and longer.
	began := time.Now()
	await.True(t, "it is left alone", patience, func() bool { return stuck.restarts() > 0 || time.Since(began) > 8*time.Second })
	if stuck.restarts() > 0 {
		t.Fatal("it was started again, though nobody takes writes")
	}
	n.hear("hk2", spec.DatabaseStatus{State: spec.MemberOnline, Primary: "hk2", Writable: true, View: view("hk1", "hk2", "sg1")})
	heard := time.Now()
	await.True(t, "it is started again", patience, func() bool { return stuck.restarts() > 0 })
	if took := time.Since(heard); took < 5*time.Second {
		t.Errorf("it had %s to find the primary by itself", took)
	}
	await.True(t, "the way is there", patience, func() bool { return n.manager.All()["app"].Router.Writer == "hk2" })
	if got := stuck.restarts(); got != 1 {
		t.Errorf("it was started again %d times", got)
	}
	if n.log.with("starting it again") != 1 {
		t.Error("the journal does not say so once")
	}
}

// TestRoutePatience: only while this node's member is with the majority, and nobody else takes writes, is it likely that no node does.
func TestRoutePatience(t *testing.T) {
	t.Parallel()
	failover, own := databases.RoutePatience(false, spec.MemberOnline), databases.RoutePatience(true, spec.MemberOnline)
	if own >= failover {
		t.Errorf("a node that alone has no way waits for %s, in a failover for %s", own, failover)
	}
	for _, state := range []spec.MemberState{spec.MemberBlocked, spec.MemberStranded, spec.MemberRecovering} {
		for _, elsewhere := range []bool{false, true} {
			if got := databases.RoutePatience(elsewhere, state); got != own {
				t.Errorf("a node whose member is %s waits for %s, want %s", state, got, own)
			}
		}
	}
	for _, state := range []spec.MemberState{spec.MemberDown, spec.MemberClientOnly, ""} {
		if got := databases.RoutePatience(false, state); got != failover {
			t.Errorf("a node whose member is %q waits for %s, want %s", state, got, failover)
		}
	}
}

// TestRouteCountsUntilItIsBack: a node whose way to the database has counted as bad does not call itself fit because nobody is known to
// take writes any more.
func TestRouteCountsUntilItIsBack(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var r databases.Route
	at := func(seconds int) bool { return r.Counts(began.Add(time.Duration(seconds) * time.Second)) }
	if at(0) {
		t.Error("a way that is there counts as bad")
	}
	r.Bad(began)
	r.Elsewhere(true)
	if at(1) {
		t.Error("it counts at once")
	}
	if !at(4) {
		t.Error("it does not count after 4 s")
	}
	r.Elsewhere(false)
	if !at(5) {
		t.Error("it does not count any more, though it is as bad as before")
	}
	r.Bad(time.Time{})
	if at(6) {
		t.Error("it counts though there is a way again")
	}
	r.Bad(began.Add(7 * time.Second))
	if at(11) {
		t.Error("the next time nobody takes writes, and it counts after 4 s")
	}
	if !at(30) {
		t.Error("it never counts")
	}
}

// TestReaches asks for servers of which one, or none, is there.
func TestReaches(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	there, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at, was := netip.MustParseAddrPort(there.Addr().String()), netip.MustParseAddrPort(gone.Addr().String())
	t.Cleanup(func() { _ = there.Close() })
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	if !databases.Reaches(t.Context(), was, at) {
		t.Error("the one that is there is not reached")
	}
	if databases.Reaches(t.Context(), was) {
		t.Error("a server that is gone is reached")
	}
	if databases.Reaches(t.Context()) {
		t.Error("nobody is reached, though there is nobody to ask")
	}
}
