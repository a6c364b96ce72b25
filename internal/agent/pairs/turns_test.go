package pairs_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/pairs"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// leaf is node sg1 of a star with hk1 in its centre, whose backup is hk2.
type leaf struct {
	replication.Driver
	t       *testing.T
	manager *pairs.Manager

	mu sync.Mutex
	// carries are the pairs that were told to carry changes over; slow is one that goes on with it although it was told to rest, mute one that says nothing.
	carries    map[string]bool
	slow, mute string
	began      time.Time
	dead, lost map[string]bool
	cut        bool
	trunk      spec.PairState
	owes       spec.PairDebt
	received   time.Time
	synced     time.Time
	log        []string
}

// Status implements replication.Driver.
func (l *leaf) Status(_ context.Context, pair string) (replication.Status, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pair == l.mute {
		return replication.Status{State: spec.PairStarting}, nil
	}
	s := replication.Status{State: spec.PairStandingBy, Started: l.began, Resting: true}
	if l.carries[pair] || pair == l.slow {
		s.Resting, s.State = false, spec.PairSyncing
	}
	if pair == "home" && (l.dead["hk1"] || l.lost["hk1"]) || pair == "standby" && l.dead["hk2"] {
		s.State = spec.PairDisconnected
	}
	return s, nil
}

// Turn implements replication.Driver.
func (l *leaf) Turn(_ context.Context, pair string, carry bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.carries[pair] != carry {
		l.log = append(l.log, fmt.Sprintf("%s=%t", pair, carry))
	}
	l.carries[pair] = carry
	other := map[string]string{"home": "standby", "standby": "home"}[pair]
	if carry && (l.carries[other] || l.slow == other) {
		l.t.Errorf("%s is to carry changes over while %s does", pair, other)
	}
	return nil
}

// Canary implements replication.Driver: nothing is measured here.
func (*leaf) Canary(context.Context, string) (replication.Canary, error) {
	return replication.Canary{}, context.Canceled
}

func (l *leaf) see() pairs.Sight {
	l.mu.Lock()
	defer l.mu.Unlock()
	turns := &topology.Turns{Home: "home", Standby: "standby", Trunk: "trunk", Centre: "hk1", Backup: "hk2", After: 30}
	pair := func(name, leader string, standby *spec.PairStandby) topology.Pair {
		return topology.Pair{
			Name: name, Turns: turns, Peer: topology.PairPeer{Node: leader},
			Pair: spec.Pair{Driver: spec.ReplicationUnison, Leader: leader, Standby: standby, Ends: map[string]spec.PairEnd{leader: {}, "sg1": {}}},
		}
	}
	status := func(owes spec.PairDebt) spec.Status {
		return spec.Status{Reported: time.Now(), Pairs: map[string]spec.PairStatus{"trunk": {State: l.trunk, Owes: owes, Synced: l.synced}, "home": {State: spec.PairSynced}, "standby": {State: spec.PairSynced}}}
	}
	received := map[string]time.Time{"hk1": l.received, "hk2": time.Now()}
	if !l.dead["hk1"] {
		received["hk1"] = time.Now()
		l.received = time.Now()
	}
	return pairs.Sight{
		Known: true, Pairs: []topology.Pair{pair("home", "hk1", nil), pair("standby", "hk2", &spec.PairStandby{For: "hk1", After: 30})},
		Statuses: map[string]spec.Status{"hk1": status(l.owes), "hk2": status("")}, Received: received, Lost: l.cut,
		Reaches: func(node string) bool { return l.at(func() bool { return !l.lost[node] && !l.dead[node] }) },
		Dead:    func(node string) bool { return l.at(func() bool { return l.dead[node] }) },
		Gone:    func(node string) bool { return l.at(func() bool { return l.dead[node] }) },
	}
}

func (l *leaf) at(f func() bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f()
}

// set changes something and lets seconds go by.
func (l *leaf) set(seconds int, f func()) {
	l.mu.Lock()
	f()
	l.mu.Unlock()
	pass(time.Duration(seconds) * time.Second)
}

// expect demands what was told since the last call.
func (l *leaf) expect(what, want string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := strings.Join(l.log, " "); got != want {
		l.t.Errorf("%s: told %q, want %q", what, got, want)
	}
	l.log = nil
}

func newLeaf(t *testing.T) *leaf {
	return &leaf{t: t, carries: map[string]bool{}, began: time.Now(), dead: map[string]bool{}, lost: map[string]bool{}, trunk: spec.PairSynced}
}

// start runs a manager until the function that it returns is called. It must be called in a bubble.
func (l *leaf) start() (stop func()) {
	l.manager = pairs.New(pairs.Config{
		Node: "sg1", Drivers: map[spec.ReplicationDriver]replication.Driver{spec.ReplicationUnison: l}, See: l.see, Changed: func(bool) {},
		Canary: func(context.Context, string, string) (string, error) { return "", context.Canceled }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(l.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.manager.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func TestBackupTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeaf(t)
		defer l.start()()
		pass(5 * time.Second)
		l.expect("at first", "home=true")
		l.set(29, func() { l.dead["hk1"] = true })
		l.expect("dead for a moment", "")
		if h := l.manager.Health(); h.Problem != "" {
			t.Errorf("it does not serve: %+v", h)
		}
		l.set(60, func() { l.dead["hk1"] = false })
		l.expect("well again", "")

		l.set(40, func() { l.dead["hk1"] = true })
		l.expect("dead", "home=false standby=true")
		all := l.manager.All()
		if all["standby"].StandsIn.IsZero() || all["standby"].State != spec.PairSynced || all["home"].State != spec.PairStandingBy || !all["home"].StandsIn.IsZero() {
			t.Errorf("it says %+v", all)
		}
		if h := l.manager.Health(); h.Problem != "" {
			t.Errorf("it does not serve: %+v", h)
		}
		l.set(120, func() { l.dead["hk1"], l.trunk, l.owes = false, spec.PairStarting, spec.PairOwesStart })
		l.expect("back, without what it has missed", "")
		l.set(120, func() { l.trunk = spec.PairSyncing })
		l.expect("catching up", "")
		l.set(29, func() { l.trunk, l.owes = spec.PairSynced, "" })
		l.expect("has everything since a moment", "")
		l.set(5, func() { l.trunk = spec.PairSyncing })
		l.expect("has everything, and more changes are on their way", "standby=false home=true")
		if all := l.manager.All(); !all["standby"].StandsIn.IsZero() || all["standby"].State != spec.PairStandingBy {
			t.Errorf("it says %+v", all)
		}
	})
}

func TestNobodyTakesOver(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*leaf)
		want   string
	}{
		{"who is cut off itself", func(l *leaf) { l.dead["hk1"], l.cut = true, true }, ""},
		{"the backup is not reached", func(l *leaf) { l.dead["hk1"], l.lost["hk2"] = true, true }, ""},
		{"only this node does not reach the centre", func(l *leaf) { l.lost["hk1"] = true }, ""},
		{"the centre's pair goes on", func(l *leaf) { l.dead["hk1"], l.slow = true, "home" }, "home=false"},
		{"the centre's pair says nothing", func(l *leaf) { l.dead["hk1"], l.mute = true, "home" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLeaf(t)
				defer l.start()()
				pass(5 * time.Second)
				l.expect("at first", "home=true")
				l.set(120, func() { tt.change(l) })
				l.expect("a while later", tt.want)
			})
		})
	}
}

// TestCentreIsBackWhileEverybodyWrites has changes on their way at every look: that both were found equal lately is what counts.
func TestCentreIsBackWhileEverybodyWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeaf(t)
		defer l.start()()
		pass(5 * time.Second)
		l.set(60, func() { l.dead["hk1"], l.synced = true, time.Now() })
		l.expect("dead", "home=true home=false standby=true")
		l.set(60, func() { l.dead["hk1"], l.trunk = false, spec.PairSyncing })
		l.expect("never found equal since", "")
		l.set(60, func() { l.synced = time.Now() })
		l.expect("found equal", "standby=false home=true")
	})
}

// TestBackupDies has the backup die while it stands in: the centre's own pair works again, whatever the centre has missed.
func TestBackupDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeaf(t)
		defer l.start()()
		pass(5 * time.Second)
		l.set(60, func() { l.dead["hk1"] = true })
		l.expect("the centre is dead", "home=true home=false standby=true")
		l.set(60, func() { l.dead["hk1"], l.dead["hk2"], l.trunk = false, true, spec.PairDisconnected })
		l.expect("the backup, too", "standby=false home=true")
	})
}

// TestTurnsGoOn starts the agent, and the pairs' programs, again while the backup stands in.
func TestTurnsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeaf(t)
		stop := l.start()
		pass(5 * time.Second)
		l.set(60, func() { l.dead["hk1"] = true })
		stop()
		l.expect("dead", "home=true home=false standby=true")
		stop = l.start()
		pass(20 * time.Second)
		l.expect("a new agent", "")
		l.set(5, func() { l.began = time.Now(); clear(l.carries) })
		l.expect("new programs", "standby=true")
		stop()
		// What both say when the node itself was started again is that nobody has said anything.
		l.set(0, func() { clear(l.carries) })
		stop = l.start()
		defer func() { stop() }()
		pass(3 * time.Second)
		l.expect("a new start of the node, which nobody has waited for", "standby=true")
	})
}

// TestStartsWithoutItsCentre has the leaf start while the centre is dead, and its backup not synchronized with it yet: it does not serve. Nor does it wait for ever
// where it alone does not reach the centre.
func TestStartsWithoutItsCentre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeaf(t)
		l.lost["hk1"] = true
		defer l.start()()
		pass(5 * time.Second)
		if h := l.manager.Health(); !strings.Contains(h.Problem, "standby: not synchronized yet") {
			t.Errorf("it says %+v", h)
		}
		l.set(20, func() {})
		if h := l.manager.Health(); h.Problem != "" {
			t.Errorf("it waits for what cannot be: %+v", h)
		}
	})
}
