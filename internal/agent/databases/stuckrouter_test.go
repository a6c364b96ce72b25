package databases_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/databases"
)

// TestStuckRouter looks at a router every second that does not find the primary.
func TestStuckRouter(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var s databases.StuckRouter
	restarts := func(missing bool, from, to int) (at []int) {
		for second := from; second < to; second++ {
			if s.Due(missing, began.Add(time.Duration(second)*time.Second)) {
				at = append(at, second)
			}
		}
		return at
	}
	if at := restarts(true, 0, 10); at != nil {
		t.Errorf("started again after %v s, though it may find it yet", at)
	}
	if at := restarts(false, 10, 12); at != nil {
		t.Errorf("started again after %v s, though it has found it", at)
	}
	if at := restarts(true, 12, 100); len(at) != 2 || at[0] != 22 || at[1] != 82 {
		t.Errorf("started again after %v s, want 22 and, since that has not helped, 82", at)
	}
	if at := restarts(false, 100, 200); at != nil {
		t.Errorf("started again after %v s, though it is well", at)
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
