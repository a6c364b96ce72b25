package pairs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/pairs"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// of returns what the node says of pair uploads.
func (n *node) of() spec.PairStatus { return n.manager.All()["uploads"] }

func (n *node) canaries() int {
	n.driver.mu.Lock()
	defer n.driver.mu.Unlock()
	return n.driver.written
}

func (n *node) slowDown(takes time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.takes = takes
}

func TestChangesAreMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.sight.Pairs[0].Objective = 5
		n.takes = 200 * time.Millisecond
		n.start()
		began := time.Now()
		n.says(replication.Status{State: spec.PairSyncing, Started: began})
		pass(time.Minute)
		if n.canaries() != 0 {
			t.Error("a side that has not been found equal is measured")
		}
		n.says(replication.Status{State: spec.PairSynced, Started: began})
		pass(5 * time.Second)
		got := n.of()
		if got.Propagation < 0.2 || got.Propagation > 0.25 || time.Since(got.Measured) > 10*time.Second {
			t.Errorf("a change of 200 ms: got %+v", got)
		}
		// While all is well, seldom; not at all while nothing can arrive.
		first := n.canaries()
		pass(time.Hour)
		if often := n.canaries() - first; often < 10 || often > 20 {
			t.Errorf("measured %d times in an hour", often)
		}
		n.says(replication.Status{State: spec.PairDisconnected, Started: began})
		first = n.canaries()
		pass(time.Hour)
		if n.canaries() != first {
			t.Error("a side without the other is measured")
		}
	})
}

func TestSlowChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.sight.Pairs[0].Objective = 5
		n.takes = 20 * time.Second
		n.start()
		began := time.Now()
		n.says(replication.Status{State: spec.PairSynced, Started: began})
		// It is told before it has arrived, and is no reason not to serve.
		pass(8 * time.Second)
		n.expect(spec.PairSynced, "Slow", "")
		if _, _, message, _ := n.manager.Condition(); !strings.Contains(message, "more than the objective of 5 s") {
			t.Errorf("the condition says %q", message)
		}
		if got := n.of().Propagation; got < 5 || got > 7 {
			t.Errorf("before it has arrived: %g s", got)
		}
		pass(15 * time.Second)
		if got := n.of().Propagation; got < 20 || got > 20.1 {
			t.Errorf("after it has arrived: %g s", got)
		}
		n.slowDown(time.Second)
		pass(40 * time.Second)
		n.expect(spec.PairSynced, "Ready", "")
		if got := n.of().Propagation; got < 1 || got > 1.1 {
			t.Errorf("the next one: %g s", got)
		}
	})
}

// A canary that was under way when the other node went away is no measure of anything.
func TestCanaryThatIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.sight.Pairs[0].Objective = 60
		n.takes = time.Hour
		n.start()
		began := time.Now()
		n.says(replication.Status{State: spec.PairSynced, Started: began})
		pass(10 * time.Second)
		n.says(replication.Status{State: spec.PairDisconnected, Started: began})
		pass(2 * time.Hour)
		if got := n.of(); got.Propagation != 0 || n.canaries() != 1 {
			t.Errorf("%d canaries, %+v", n.canaries(), got)
		}
	})
}

// Nobody knows how long a change takes to a node that does not say whether it has arrived.
func TestCanaryOfANodeThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.sight.Pairs[0].Objective, n.mute = 5, true
		n.start()
		n.says(replication.Status{State: spec.PairSynced, Started: time.Now()})
		pass(time.Minute)
		n.expect(spec.PairSynced, "Ready", "")
		if n.of().Propagation != 0 || n.canaries() < 2 {
			t.Errorf("%d canaries, %+v", n.canaries(), n.of())
		}
	})
}

func TestWhoMayAskForCanaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, leader := range []string{"hk1", "sg1"} {
			n := newNode(t, leader)
			n.start()
			ask := func(pair, node, after string) (string, error) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				return n.manager.Canary(ctx, pair, node, after)
			}
			if nonce, err := ask("uploads", "sg1", ""); nonce != "1" || err != nil {
				t.Errorf("led by %s: got %q, %v", leader, nonce, err)
			}
			if _, err := ask("uploads", "sg1", "1"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while there is no other: %v", err)
			}
			for _, who := range [][2]string{{"photos", "sg1"}, {"uploads", "hk2"}} {
				var refused *api.Error
				if _, err := ask(who[0], who[1], ""); !errors.As(err, &refused) {
					t.Errorf("%s of %s: %v", who[0], who[1], err)
				}
			}
		}
	})
}

var _ api.Streamer = (*pairs.Manager)(nil)
