package pairs_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// PermitAlone counts.
func (f *fakeDriver) PermitAlone(context.Context, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.permits++
	return nil
}

// AcceptCold takes a stream.
func (f *fakeDriver) AcceptCold(_ context.Context, _ string, stream io.ReadWriteCloser) error {
	f.accepted <- stream
	return nil
}

func (f *fakeDriver) permitted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.permits
	f.permits = 0
	return was > 0
}

func TestAlone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// away is how the cluster is after the other node was there for an hour.
		away      func(n *node)
		takeover  int
		after     time.Duration
		permitted bool
	}{
		{"gone for long", func(n *node) { n.reaches = false }, 2, 2*time.Hour + time.Minute, true},
		{"not for long enough", func(n *node) { n.reaches = false }, 2, 2*time.Hour - time.Minute, false},
		{"never", func(n *node) { n.reaches = false }, 0, 5 * time.Hour, false},
		{"it answers", func(*node) {}, 2, 5 * time.Hour, false},
		{"this one is in maintenance", func(n *node) { n.reaches, n.sight.Away = false, true }, 2, 5 * time.Hour, false},
		{"nobody else is heard", func(n *node) {
			n.reaches = false
			n.sight.Statuses["hk2"] = spec.Status{Node: "hk2"}
		}, 2, 5 * time.Hour, false},
		{"one of two others is heard", func(n *node) {
			n.reaches = false
			n.sight.Statuses["hk2"], n.sight.Statuses["hk3"] = spec.Status{Node: "hk2"}, spec.Status{Node: "hk3"}
			n.sight.Received["hk2"] = time.Now().Add(1000 * time.Hour)
		}, 2, 5 * time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, "sg1")
				n.sight.Pairs[0].Cold = &spec.PairCold{Takeover: tt.takeover}
				n.start()
				pass(time.Hour)
				n.mu.Lock()
				n.sight.Statuses["sg1"] = spec.Status{Node: "sg1"}
				n.sight.Received["sg1"] = time.Now()
				tt.away(n)
				n.mu.Unlock()
				if n.driver.permitted() {
					t.Error("it was told while the other node was there")
				}
				pass(tt.after)
				synctest.Wait()
				if got := n.driver.permitted(); got != tt.permitted {
					t.Errorf("told that it is alone: %t", got)
				}
			})
		})
	}
}

func TestColdStream(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, leader, node string
		cold               *spec.PairCold
		reason             trust.Reason
	}{
		{"the leader", "sg1", "sg1", &spec.PairCold{}, ""},
		{"another node", "sg1", "hk2", &spec.PairCold{}, trust.ReasonNotAllowed},
		{"a node that does not lead", "hk1", "sg1", &spec.PairCold{}, trust.ReasonNotAllowed},
		{"a pair that moves nothing", "sg1", "sg1", nil, trust.ReasonNotAllowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, tt.leader)
				n.sight.Pairs[0].Cold = tt.cold
				n.start()
				pass(2 * time.Second)
				take, err := n.manager.ColdStream("uploads", tt.node)
				var refused *api.Error
				if tt.reason != "" {
					if !errors.As(err, &refused) || refused.Reason != tt.reason {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				here, there := net.Pipe()
				take(here)
				if got := <-n.driver.accepted; got == nil {
					t.Error("no stream")
				}
				_ = there.Close()
			})
		})
	}
}

func TestColdProblem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		n.driver.mu.Lock()
		n.driver.status = replication.Status{State: spec.PairSynced, Started: time.Now(), Cold: &spec.ColdStatus{Directories: 3, Problem: "the cold root is not there"}}
		n.driver.mu.Unlock()
		pass(3 * time.Second)
		if got := n.manager.All()["uploads"].Cold; got == nil || got.Directories != 3 {
			t.Errorf("got %+v", got)
		}
		status, reason, message, _ := n.manager.Condition()
		if status != spec.ConditionFalse || reason != "ColdProblem" || message != "pair uploads: old directories: the cold root is not there" {
			t.Errorf("got %s, %s, %q", status, reason, message)
		}
		if fitness := n.manager.Health(); fitness.Problem != "" {
			t.Errorf("health: %q", fitness.Problem)
		}
	})
}
