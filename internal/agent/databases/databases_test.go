package databases_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const patience = 2 * time.Minute

const nearlyFull = "12 MiB are left: make room"

// TestUnfitPrimary has a primary whose disk is full: it makes way as gently as it can.
func TestUnfitPrimary(t *testing.T) {
	t.Parallel()
	unfit := func(change func(*database.Status)) database.Status {
		st := primary()
		st.Unfit = nearlyFull
		if change != nil {
			change(&st)
		}
		return st
	}
	alone := func(n *node) {
		for _, other := range []string{"hk2", "sg1"} {
			n.hear(other, spec.DatabaseStatus{State: spec.MemberOnline, Primary: "hk1", Incarnation: 1, Unfit: nearlyFull, View: view("hk1", "hk2", "sg1")})
		}
	}
	tests := []struct {
		name   string
		status database.Status
		others func(*node)
		// refuses tells that the group does not change its primary.
		refuses bool
		want    []string
		// calm is how long nothing more may happen, long enough for what must not.
		calm time.Duration
	}{
		{"hands over to the preferred one", unfit(nil), nil, false, []string{"switch over to hk2"}, 4 * time.Second},
		{"hands over to who is fit", unfit(nil), func(n *node) {
			n.hear("hk2", spec.DatabaseStatus{State: spec.MemberOnline, Primary: "hk1", Incarnation: 1, Unfit: nearlyFull, View: view("hk1", "hk2", "sg1")})
		}, false, []string{"switch over to sg1"}, 4 * time.Second},
		{"leaves when it cannot hand over", unfit(nil), nil, true, []string{"switch over to hk2", "leave"}, 0},
		{"leaves when writes stand still", unfit(func(st *database.Status) { st.Writable = false }), nil, false, []string{"leave"}, 0},
		{"stays where nobody is fitter", unfit(nil), alone, false, nil, 5 * time.Second},
		{"stays where nobody is fitter, though writes stand still", unfit(func(st *database.Status) { st.Writable = false }), alone, false, nil, 5 * time.Second},
		{"a secondary stays", unfit(func(st *database.Status) { st.Writable, st.Primary = false, "hk2" }), nil, false, nil, 5 * time.Second},
		{"one that is fit stays", primary(), nil, false, nil, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			n := newNode(t, database.Status{State: spec.MemberOnline, Primary: "hk2", View: view("hk1", "hk2", "sg1"), Running: "a", Wanted: "a"})
			await.True(t, "the server is prepared", patience, func() bool { return n.server.times("apply") > 0 })
			if tt.others != nil {
				tt.others(n)
			}
			n.server.do(func() {
				n.server.status = tt.status
				n.server.handOver = func(to string) error {
					if tt.refuses {
						return &database.SwitchoverError{To: to, Reason: "timeout", Message: "writes wait for room"}
					}
					n.server.status.Primary, n.server.status.Writable = to, false
					return nil
				}
			})
			await.True(t, "it does what is wanted", patience, func() bool { return len(n.did()) >= len(tt.want) })
			since := time.Now()
			await.True(t, "it does nothing more", patience, func() bool {
				return len(n.did()) > len(tt.want) && tt.calm > 0 || time.Since(since) > tt.calm
			})
			got := n.did()
			if len(got) > len(tt.want) && tt.calm == 0 {
				got = got[:len(tt.want)] // it may join again
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("it did %q, want %q", got, tt.want)
			}
			if slices.Contains(tt.want, "leave") && time.Since(began) < 3*time.Second {
				t.Errorf("it left after %s, without patience", time.Since(began))
			}
		})
	}
}

// TestRefusedSettings has a server that refuses a setting: that is tried again, since what it depends on may change, logged once for
// each change, and over without a restart when it is taken back.
func TestRefusedSettings(t *testing.T) {
	t.Parallel()
	n := newNode(t, primary())
	const logged = "there is no variable bad"
	n.server.do(func() { n.server.refused = "bad" })
	await.True(t, "the server is prepared", patience, func() bool { return n.server.times("apply") > 0 })
	refuse := func(settings map[string]string, tries, lines int) {
		t.Helper()
		before := n.server.times("apply")
		n.set(settings)
		await.True(t, "it is tried several times", patience, func() bool { return n.server.times("apply") >= before+tries })
		// A try is logged before the next one begins.
		if got := n.log.with(logged); got != lines {
			t.Errorf("the refusal was logged %d times, want %d", got, lines)
		}
		status, reason, message := n.manager.Condition()
		if status != spec.ConditionFalse || reason != "SettingsRefused" {
			t.Errorf("the condition is %s, %s: %s", status, reason, message)
		}
	}
	refuse(map[string]string{"good": "1", "bad": "2"}, 4, 1)
	refuse(map[string]string{"good": "1", "bad": "3"}, 3, 2)
	n.set(map[string]string{"good": "1"})
	await.True(t, "the change is taken back", patience, func() bool {
		_, reason, _ := n.manager.Condition()
		return reason != "SettingsRefused"
	})
	if got := n.did(); len(got) > 0 {
		t.Errorf("the server was told to %q", got)
	}
	// The same one again is another change.
	refuse(map[string]string{"good": "1", "bad": "3"}, 2, 3)
}

// TestFailuresThatChange are each logged.
func TestFailuresThatChange(t *testing.T) {
	t.Parallel()
	n := newNode(t, primary())
	why := errors.New("one reason")
	n.server.do(func() {
		n.server.status.Unfit = nearlyFull
		n.server.handOver = func(string) error { return why }
	})
	await.True(t, "it cannot hand over", patience, func() bool { return n.log.with("one reason") == 1 })
	await.True(t, "it leaves", patience, func() bool { return n.server.times("leave") > 0 })
	n.server.do(func() {
		why = errors.New("another reason")
		st := primary()
		st.Unfit = nearlyFull
		n.server.status = st
	})
	await.True(t, "it cannot hand over for another reason", patience, func() bool { return n.log.with("another reason") == 1 })
}

// TestTold: whoever hears that a member was told of a change hears with it what that means, such as that it waits for a restart.
func TestTold(t *testing.T) {
	t.Parallel()
	n := newNode(t, primary())
	ref := spec.Ref{Kind: spec.KindDatabase, Name: "app"}
	told := func(generation uint64) bool {
		return n.manager.Applied(map[spec.Ref]uint64{ref: generation})[ref] == generation
	}
	await.True(t, "the first description is in effect", patience, func() bool { return told(1) })
	n.server.do(func() {
		n.server.applied = func(m *database.Member) {
			if m.Settings["good"] == "2" {
				n.server.status.Wanted, n.server.status.RestartNeeded = "b", true
			}
		}
	})
	var wrong atomic.Int32
	n.mu.Lock()
	n.news = func() {
		// As reports are made: first what was told, then what is so.
		if !told(2) {
			return
		}
		if r := n.manager.All()["app"].Rollout; r.Running == r.Wanted {
			wrong.Add(1)
		}
	}
	n.mu.Unlock()
	n.set(map[string]string{"good": "2"})
	await.True(t, "the second description is in effect", patience, func() bool { return told(2) })
	if wrong.Load() > 0 {
		t.Error("others heard that the member was told of a change before they heard that it waits for a restart")
	}
}

// TestJoinIsNotGivenUp has a member join while nobody seems to be there for a while: the server goes on to join, so the member does too, and
// does not say that it is in no group.
func TestJoinIsNotGivenUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, database.Status{State: spec.MemberStranded, Running: "a", Wanted: "a"})
	began, letIn := make(chan struct{}, 1), make(chan struct{})
	var gaveUp atomic.Bool
	n.server.do(func() {
		n.server.join = func(ctx context.Context) error {
			began <- struct{}{}
			select {
			case <-letIn:
			case <-ctx.Done():
				gaveUp.Store(true)
			}
			return ctx.Err()
		}
	})
	<-began
	for _, other := range []string{"hk2", "sg1"} {
		n.hear(other, spec.DatabaseStatus{State: spec.MemberDown, Incarnation: 1})
	}
	looks := func() (count int) {
		n.server.do(func() { count = n.server.looks })
		return count
	}
	before := looks()
	await.True(t, "it is looked at again and again", patience, func() bool { return looks() > before+10 })
	if gaveUp.Load() {
		t.Error("it gave up to join")
	}
	if out := n.manager.All()["app"].Outage; out != nil {
		t.Errorf("it says that it is in no group: %+v", out)
	}
	n.server.do(func() {
		n.server.status = database.Status{State: spec.MemberOnline, Primary: "hk2", View: view("hk1", "hk2", "sg1"), Running: "a", Wanted: "a"}
	})
	close(letIn)
	await.True(t, "it is in the group", patience, func() bool { return n.manager.All()["app"].State == spec.MemberOnline })
}
