package mesh_test

import (
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
)

// ownNetwork moves the test to a network namespace of its own, which ends with the test's thread.
func ownNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: needs root to make a network namespace")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	ip(t, "link set dev lo up")
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func wait(t *testing.T, p *mesh.Prober, what string, done func(map[string]mesh.PeerMeasurement) bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done(p.Measurements()) {
		select {
		case <-deadline:
			t.Fatalf("never happened: %s; measured %+v", what, p.Measurements())
		case <-tick.C:
		}
	}
}

func TestProber(t *testing.T) {
	ownNetwork(t)
	// Frames for a neighbour that is not there vanish without an error, as packets do on a dead path.
	ip(t, "link add silent type veth peer name hole")
	ip(t, "link set dev silent up")
	ip(t, "link set dev hole up")
	ip(t, "address add 10.9.1.1/24 dev silent")
	ip(t, "neighbour add 10.9.1.9 lladdr 02:00:00:00:00:09 dev silent nud permanent")
	ip(t, "address add 10.9.0.1/32 dev lo")
	p, err := mesh.NewProber(mesh.ProberOptions{Interval: 10 * time.Millisecond, Timeout: 30 * time.Millisecond, DeadAfter: 3}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	good, dead, noRoute := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.1.9"), netip.MustParseAddr("172.31.0.1")
	p.SetPeers(map[string]netip.Addr{"good": good, "dead": dead, "no-route": noRoute})

	wait(t, p, "enough probes of all", func(m map[string]mesh.PeerMeasurement) bool {
		return m["good"].Sent > 20 && m["dead"].Sent > 20 && m["no-route"].Sent > 20
	})
	m := p.Measurements()
	if got := m["good"]; !got.Reachable || got.Loss > 0.2 || got.RTT <= 0 || got.RTT > 100*time.Millisecond || got.LastAnswer.IsZero() {
		t.Errorf("a peer that answers: %+v", got)
	}
	for _, name := range []string{"dead", "no-route"} {
		if got := m[name]; got.Reachable || got.Loss != 1 || got.RTT != 0 || got.Answered != 0 {
			t.Errorf("a peer that never answers (%s): %+v", name, got)
		}
	}

	// One that stays keeps its numbers, one that goes is forgotten.
	p.SetPeers(map[string]netip.Addr{"good": good, "dead": dead})
	after := p.Measurements()
	if after["good"].Sent < m["good"].Sent {
		t.Errorf("a peer that stays began anew: %+v, before %+v", after["good"], m["good"])
	}
	if _, there := after["no-route"]; there {
		t.Error("a peer that went is still measured")
	}

	// A peer that comes alive, and dies again.
	began := after["dead"].Since
	ip(t, "address add 10.9.1.9/32 dev lo")
	wait(t, p, "the dead peer answers", func(m map[string]mesh.PeerMeasurement) bool { return m["dead"].Reachable })
	alive := p.Measurements()["dead"]
	if !alive.Since.After(began) {
		t.Errorf("alive since %s, not after %s", alive.Since, began)
	}
	// That it was dead is not a loss of the path that is there now.
	if alive.Loss > 0.5 {
		t.Errorf("alive again with a loss of %.2f", alive.Loss)
	}
	ip(t, "address del 10.9.1.9/32 dev lo")
	wait(t, p, "it is dead again", func(m map[string]mesh.PeerMeasurement) bool { return !m["dead"].Reachable })
	if got := p.Measurements()["dead"]; !got.Since.After(alive.Since) {
		t.Errorf("dead since %s, not after %s", got.Since, alive.Since)
	}

	// A peer at another address is another peer.
	p.SetPeers(map[string]netip.Addr{"good": dead})
	if got := p.Measurements()["good"]; got.Reachable || got.Answered != 0 {
		t.Errorf("at a new address: %+v", got)
	}
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
