package pairs_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/pairs"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// fakeDriver says of pair uploads what a test wants.
type fakeDriver struct {
	replication.Driver

	mu       sync.Mutex
	status   replication.Status
	hangs    bool
	accepted chan io.ReadWriteCloser
	// written counts the canaries, permits how often the side was told that it is alone.
	written, permits int
}

// Canary writes the next canary.
func (f *fakeDriver) Canary(context.Context, string) (replication.Canary, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written++
	return replication.Canary{Nonce: strconv.Itoa(f.written), Written: time.Now()}, nil
}

// Canaries has seen nonce "1" of the other side's.
func (f *fakeDriver) Canaries(ctx context.Context, _ string, after replication.Canary) (replication.Canary, error) {
	if after.Nonce != "1" {
		return replication.Canary{Nonce: "1"}, nil
	}
	<-ctx.Done()
	return replication.Canary{}, ctx.Err()
}

func (f *fakeDriver) Status(ctx context.Context, _ string) (replication.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hangs {
		<-ctx.Done()
		return replication.Status{}, errors.New("the worker does not answer")
	}
	return f.status, nil
}

// Accept holds a stream until its context ends.
func (f *fakeDriver) Accept(ctx context.Context, _ string, stream io.ReadWriteCloser) error {
	f.accepted <- stream
	<-ctx.Done()
	return stream.Close()
}

// node is the node hk1, whose pair uploads with sg1 is led by one of them.
type node struct {
	t      *testing.T
	driver *fakeDriver

	mu      sync.Mutex
	sight   pairs.Sight
	reaches bool
	// dead tells that nobody hears of sg1.
	dead    bool
	told    int
	manager *pairs.Manager
	// before is what hk1 said before its agent was started.
	before spec.Status
	// takes is how long a canary takes to the other node, mute tells that this says nothing of canaries.
	takes time.Duration
	mute  bool
}

// arrived is the other node's word of this one's canaries.
func (n *node) arrived(ctx context.Context, _, after string) (string, error) {
	if n.mute {
		return "", errors.New("connection refused")
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	patience := time.NewTimer(15 * time.Second)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-patience.C:
			return "", nil
		case <-tick.C:
		}
		n.driver.mu.Lock()
		newest := n.driver.written
		n.driver.mu.Unlock()
		n.mu.Lock()
		takes := n.takes
		n.mu.Unlock()
		if nonce := strconv.Itoa(newest); newest > 0 && nonce != after {
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(takes):
				return nonce, nil
			}
		}
	}
}

func newNode(t *testing.T, leader string) *node {
	n := &node{t: t, driver: &fakeDriver{accepted: make(chan io.ReadWriteCloser, 4)}, reaches: true}
	n.sight = pairs.Sight{
		Known: true, Statuses: map[string]spec.Status{}, Received: map[string]time.Time{},
		Pairs: []topology.Pair{{
			Name: "uploads", Pair: spec.Pair{Driver: spec.ReplicationUnison, Leader: leader}, Self: spec.PairEnd{Path: "/srv/uploads"},
			Peer: topology.PairPeer{Node: "sg1", PairEnd: spec.PairEnd{Path: "/srv/uploads"}},
		}},
		Reaches: func(string) bool { return n.reaches }, Dead: func(string) bool { return n.dead },
	}
	return n
}

// start runs a manager until the test ends. It must be called in a bubble.
func (n *node) start() {
	n.manager = pairs.New(pairs.Config{
		Node: "hk1", Drivers: map[spec.ReplicationDriver]replication.Driver{spec.ReplicationUnison: n.driver}, Before: n.before,
		See: func() pairs.Sight {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.sight
		},
		Canary:  n.arrived,
		Changed: func(bool) { n.told++ }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.manager.Run(ctx)
	}()
	n.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// says sets what the node's own side says and lets a manager look at it.
func (n *node) says(s replication.Status) {
	n.driver.mu.Lock()
	n.driver.status = s
	n.driver.mu.Unlock()
	pass(2 * time.Second)
}

// hears sets what sg1 says of its side, received now.
func (n *node) hears(state spec.PairState) {
	n.mu.Lock()
	n.sight.Statuses["sg1"] = spec.Status{Node: "sg1", Pairs: map[string]spec.PairStatus{"uploads": {State: state, Synced: time.Now()}}}
	n.sight.Received["sg1"] = time.Now()
	n.mu.Unlock()
	pass(2 * time.Second)
}

func (n *node) change(f func(*pairs.Sight)) {
	n.mu.Lock()
	f(&n.sight)
	n.mu.Unlock()
	pass(2 * time.Second)
}

// pass lets time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (n *node) expect(state spec.PairState, reason, health string) {
	n.t.Helper()
	_, got, _, _ := n.manager.Condition()
	fitness := n.manager.Health()
	if said := n.manager.All()["uploads"].State; said != state || got != reason || !strings.Contains(fitness.Problem, health) || (health == "") != (fitness.Problem == "") || fitness.None {
		n.t.Errorf("got state %s, condition %s, health %+v; want %s, %s, %q", said, got, fitness, state, reason, health)
	}
}

func TestLeaderMayServeOnceBothSidesAreEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		began := time.Now()
		n.says(replication.Status{State: spec.PairStarting, Started: began})
		n.expect(spec.PairStarting, "Waiting", "not synchronized yet")
		n.says(replication.Status{State: spec.PairSyncing, Started: began})
		n.expect(spec.PairSyncing, "Waiting", "not synchronized yet")
		n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
		n.expect(spec.PairSynced, "Ready", "")
		// From now on changes on their way are nothing unusual.
		n.says(replication.Status{State: spec.PairSyncing, Started: began})
		n.expect(spec.PairSyncing, "Ready", "")
		// After a restart of the programs nothing is known again.
		n.says(replication.Status{State: spec.PairStarting, Started: time.Now()})
		n.expect(spec.PairStarting, "Waiting", "not synchronized yet")
	})
}

func TestFollowerBelievesWhatItsLeaderSaysAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "sg1")
		n.start()
		// Said before the follower was there: it cannot be true of it.
		n.hears(spec.PairSynced)
		n.says(replication.Status{State: spec.PairSyncing, Started: time.Now()})
		n.expect(spec.PairStarting, "Waiting", "not synchronized yet")
		n.hears(spec.PairStarting)
		n.expect(spec.PairStarting, "Waiting", "not synchronized yet")
		n.hears(spec.PairSynced)
		n.expect(spec.PairSynced, "Ready", "")
	})
}

func TestLeaderSaysAgainWhatItsFollowerWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		n.says(replication.Status{State: spec.PairSynced, Started: time.Now()})
		for _, tt := range []struct {
			state spec.PairState
			again int
		}{{spec.PairSynced, 0}, {spec.PairStarting, 1}, {spec.PairStarting, 1}, {spec.PairDisconnected, 0}} {
			told := n.told
			n.hears(tt.state)
			pass(5 * time.Second)
			if got := n.told - told; got != tt.again {
				t.Errorf("after %s from sg1 it was said %d times, want %d", tt.state, got, tt.again)
			}
		}
	})
}

func TestNodeOutOfMaintenanceCatchesUpFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "sg1")
		n.start()
		began := time.Now()
		n.says(replication.Status{State: spec.PairSyncing, Started: began})
		n.hears(spec.PairSynced)
		n.expect(spec.PairSynced, "Ready", "")
		n.change(func(s *pairs.Sight) { s.Away = true })
		n.change(func(s *pairs.Sight) { s.Away = false })
		n.expect(spec.PairStarting, "Waiting", "not synchronized yet")
		n.hears(spec.PairSyncing)
		n.expect(spec.PairSyncing, "Waiting", "not synchronized yet")
		n.hears(spec.PairSynced)
		n.expect(spec.PairSynced, "Ready", "")
	})
}

// TestLeaderOutOfMaintenanceCatchesUpFirst is of a cluster that was changed while all its nodes were in maintenance.
func TestLeaderOutOfMaintenanceCatchesUpFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		began := time.Now()
		n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: began})
		n.expect(spec.PairSynced, "Ready", "")
		n.change(func(s *pairs.Sight) { s.Away = true })
		n.says(replication.Status{State: spec.PairSyncing, Started: began, Synced: began})
		n.change(func(s *pairs.Sight) { s.Away = false })
		n.expect(spec.PairSyncing, "Waiting", "not synchronized yet")
		n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
		n.hears(spec.PairSyncing)
		n.expect(spec.PairSynced, "Ready", "")
	})
}

func TestNodeWhosePeerIsDeadServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		n.reaches = false
		n.says(replication.Status{State: spec.PairStarting, Started: time.Now()})
		n.expect(spec.PairStarting, "Waiting", "")
		n.says(replication.Status{State: spec.PairDisconnected, Started: time.Now()})
		n.expect(spec.PairDisconnected, "Disconnected", "")
	})
}

func TestNodeWhosePeerHasFailedServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		n.hears(spec.PairFailed)
		n.says(replication.Status{State: spec.PairStarting, Started: time.Now()})
		n.expect(spec.PairStarting, "Waiting", "")
	})
}

func TestFailedSideTakesItsNodeOutAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		n.says(replication.Status{State: spec.PairSynced, Started: time.Now()})
		n.says(replication.Status{State: spec.PairFailed, Problem: "the disk is full"})
		n.expect(spec.PairFailed, "Failed", "")
		pass(15 * time.Second)
		n.expect(spec.PairFailed, "Failed", "uploads: failed")
		if _, _, message, _ := n.manager.Condition(); message != "pair uploads: the disk is full" {
			t.Errorf("the condition says %q", message)
		}
		n.says(replication.Status{State: spec.PairSynced, Started: time.Now()})
		n.expect(spec.PairSynced, "Ready", "")
	})
}

func TestAgentsRestartInterruptsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "sg1")
		began := time.Now()
		n.driver.status = replication.Status{State: spec.PairSyncing, Started: began}
		pass(time.Hour)
		n.before = spec.Status{Node: "hk1", Reported: time.Now(), Pairs: map[string]spec.PairStatus{"uploads": {State: spec.PairSynced, Since: began}}}
		pass(10 * time.Second)
		n.start()
		if problem := n.manager.Health().Problem; problem != "" {
			t.Errorf("before the first look: %s", problem)
		}
		pass(2 * time.Second)
		n.expect(spec.PairSynced, "Ready", "")
		if since := n.manager.All()["uploads"].Since; !since.Equal(began) {
			t.Errorf("synced since %s, want %s", since, began)
		}
	})
}

func TestWorkerThatHangsIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.driver.hangs = true
		n.start()
		pass(3 * time.Second)
		n.expect(spec.PairFailed, "Failed", "")
	})
}

func TestOthersAreToldOfChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		began := time.Now()
		n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
		told := n.told
		for range 10 {
			n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
		}
		if n.told != told {
			t.Errorf("told %d times that nothing has changed", n.told-told)
		}
		n.says(replication.Status{State: spec.PairSynced, Started: began, Conflicts: []string{"a (conflict)"}})
		if got := n.manager.All()["uploads"]; n.told != told+1 || got.Conflicts != 1 || got.ConflictPaths[0] != "a (conflict)" {
			t.Errorf("told %d times, says %+v", n.told-told, got)
		}
		n.change(func(s *pairs.Sight) { s.Pairs = nil })
		if len(n.manager.All()) != 0 || !n.manager.Health().None {
			t.Errorf("still says %v", n.manager.All())
		}
	})
}

func TestOnlyTheLeaderOpensAStream(t *testing.T) {
	for _, tt := range []struct {
		name, leader, pair, caller string
		reason                     trust.Reason
	}{
		{"the leader", "sg1", "uploads", "sg1", ""},
		{"another node", "sg1", "uploads", "hk2", trust.ReasonNotAllowed},
		{"a node that does not lead", "hk1", "uploads", "sg1", trust.ReasonNotAllowed},
		{"for another pair", "sg1", "photos", "sg1", api.ReasonNoSuchPair},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, tt.leader)
				n.start()
				take, err := n.manager.Stream(tt.pair, tt.caller)
				var refused *api.Error
				if tt.reason != "" && (!errors.As(err, &refused) || refused.Reason != tt.reason) {
					t.Fatalf("got %v, want reason %s", err, tt.reason)
				}
				if tt.reason == "" && (err != nil || take == nil) {
					t.Fatalf("got %v", err)
				}
			})
		})
	}
}

func TestNewStreamEndsTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "sg1")
		n.start()
		open := func() (net.Conn, io.ReadWriteCloser) {
			take, err := n.manager.Stream("uploads", "sg1")
			if err != nil {
				t.Fatal(err)
			}
			far, near := net.Pipe()
			go take(near)
			return far, <-n.driver.accepted
		}
		first, _ := open()
		second, stream := open()
		if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the first stream: %v, want its end", err)
		}
		go func() { _, _ = stream.Write([]byte("x")) }()
		if _, err := io.ReadFull(second, make([]byte, 1)); err != nil {
			t.Errorf("the second stream: %v", err)
		}
		n.manager.Close()
		if _, err := second.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after Close: %v, want its end", err)
		}
	})
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager := pairs.New(pairs.Config{Now: time.Now})
		var opened []io.Closer
		defer func() {
			for _, c := range opened {
				_ = c.Close()
			}
		}()
		open := func(pair string, kib int) io.ReadWriteCloser {
			far, near := net.Pipe()
			opened = append(opened, near)
			go func() { _, _ = io.Copy(io.Discard, far) }()
			return manager.Limit(pair, near, kib)
		}
		// What belongs to one pair has one limit, and another pair has its own.
		const size = 320 << 10
		write := func(streams ...io.Writer) time.Duration {
			from := time.Now()
			var writing sync.WaitGroup
			for _, stream := range streams {
				writing.Go(func() {
					if n, err := stream.Write(make([]byte, size)); n != size || err != nil {
						t.Errorf("wrote %d bytes: %v", n, err)
					}
				})
			}
			writing.Wait()
			return time.Since(from)
		}
		one, other := open("uploads", 64), open("uploads", 64)
		if took := write(one, other, open("another", 64)); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("640 KiB at 64 KiB/s took %s", took)
		}
		if took := write(open("free", 0)); took > time.Second {
			t.Errorf("without a limit it took %s", took)
		}
		// A limit that is changed holds for streams that are open.
		pass(time.Second)
		open("uploads", 640)
		if took := write(one, other); took > 1100*time.Millisecond {
			t.Errorf("640 KiB at 640 KiB/s took %s", took)
		}
		open("uploads", 64)
		wrote := make(chan error)
		go func() {
			_, err := one.Write(make([]byte, 640<<10))
			wrote <- err
		}()
		pass(time.Second)
		if err := one.Close(); err != nil {
			t.Error(err)
		}
		if err := <-wrote; err == nil {
			t.Error("a write to a closed stream succeeds")
		}
	})
}
