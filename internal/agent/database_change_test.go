package agent_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// settled tells that all members run with a setting.
func (w *world) settled(setting string) func(api.DatabaseView) bool {
	return func(v api.DatabaseView) bool {
		good := whole(v) && v.Rollout == nil
		w.group.do(func() {
			for _, e := range w.group.engines {
				good = good && e.running == setting
			}
		})
		return good
	}
}

// TestDatabaseRollout changes a setting that takes a restart.
func TestDatabaseRollout(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	machines[0].push(w.database("b"))
	v := machines[0].waitDatabase("all run with the new setting", w.settled("b"))
	w.group.do(func() {
		// The primary comes last, and what took over from it was restarted already.
		if want := []string{"sg1", "hk2", "hk1"}; !slices.Equal(w.group.restarted, want) {
			t.Errorf("restarted are %v, want %v", w.group.restarted, want)
		}
	})
	if v.Primary != "hk2" {
		t.Errorf("the primary is %s, want the one that it was handed to", v.Primary)
	}
	w.waitReady(machines...)
}

// TestDatabaseRolloutStops has a setting with which a server does not come up: one is out, the others go on.
func TestDatabaseRolloutStops(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	w.group.do(func() { w.group.broken = "b" })
	machines[0].push(w.database("b"))
	v := machines[0].waitDatabase("stops", func(v api.DatabaseView) bool { return v.Rollout != nil && v.Rollout.Stopped != "" })
	if v.Primary != "hk1" || v.Online != 2 || !strings.Contains(v.Rollout.Stopped, "sg1") || !strings.Contains(v.Rollout.Stopped, "does not start") {
		t.Errorf("it is %s", tell(v))
	}
	w.wait("the status says so", func() error {
		s, err := machines[1].status()
		if err == nil && !strings.Contains(strings.Join(s.Reasons, "\n"), "the rollout has stopped") {
			err = errors.New(strings.Join(s.Reasons, "\n"))
		}
		return err
	})
	w.group.do(func() {
		if want := []string{"sg1"}; !slices.Equal(w.group.restarted, want) {
			t.Errorf("restarted are %v, want %v", w.group.restarted, want)
		}
	})
	machines[0].push(w.database("a"))
	machines[0].waitDatabase("the change is taken back", w.settled("a"))
	w.group.do(func() {
		// The one that was out has come back, and nobody was restarted for that.
		if want := []string{"sg1"}; !slices.Equal(w.group.restarted, want) {
			t.Errorf("restarted are %v, want %v", w.group.restarted, want)
		}
	})
	machines[0].push(w.database("c"))
	machines[0].waitDatabase("another change", w.settled("c"))
}

// TestDatabaseMemberRemoved removes the primary's member, and then its node's part altogether.
func TestDatabaseMemberRemoved(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	machines[0].push(w.tombstoneOf(spec.KindMember, "app.hk1"))
	machines[1].waitDatabase("another one takes writes", func(v api.DatabaseView) bool {
		return v.Online == 2 && v.Primary != "" && v.Primary != "hk1" && len(v.Members) == 2
	})
	w.wait("nothing of it is left", func() error {
		s, err := machines[0].status()
		if err != nil {
			return err
		}
		w.group.mu.Lock()
		defer w.group.mu.Unlock()
		if e := w.group.engines["hk1"]; e.member != nil || e.left == 0 {
			return fmt.Errorf("the server is there, and has left %d times", e.left)
		}
		if files := machines[0].files(); slices.Contains(files, "database-app.json") {
			return fmt.Errorf("files %v", files)
		}
		if got := machines[0].router.routes(); len(got) > 0 {
			return fmt.Errorf("it routes %v", got)
		}
		if c, has := s.Nodes["hk1"].Condition(spec.ConditionDatabaseReady); has {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
	if h, err := machines[0].health(); err != nil || h.Parts["database"] != "" {
		t.Errorf("health is %+v %v", h, err)
	}
	// A node that has no data runs the router.
	machines[0].push(machines[0].member(spec.MemberClient, 0))
	machines[0].waitDatabase("is a client", func(v api.DatabaseView) bool {
		return v.Members["hk1"].State == spec.MemberClientOnly && v.Members["hk1"].Router.Writable
	})
	machines[0].waitCondition(spec.ConditionDatabaseReady, spec.ConditionTrue, "Ready")
}

// TestDatabaseNodeRemoved takes the primary's node out of the cluster.
func TestDatabaseNodeRemoved(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	machines[1].push(w.tombstone("hk1"))
	machines[0].waitHealth("waits again", waiting)
	w.group.do(func() {
		if e := w.group.engines["hk1"]; e.member != nil || e.left == 0 {
			t.Errorf("the server is there, and has left %d times", e.left)
		}
	})
	if files := machines[0].files(); slices.Contains(files, "database-app.json") {
		t.Errorf("files are left: %v", files)
	}
	machines[1].waitDatabase("another one takes writes", func(v api.DatabaseView) bool { return v.Primary != "" && v.Primary != "hk1" })
}

func TestDatabaseSwitchover(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	client := machines[1].operator()
	t.Cleanup(client.Close)
	ask := func(id, to string) (api.SwitchoverResult, error) {
		return client.Switchover(t.Context(), "app", api.SwitchoverRequest{ID: id, To: to}, nil)
	}
	if c, err := client.SwitchoverCheck(t.Context(), "app", "sg1"); err != nil || c.From != "hk1" || c.To != "sg1" || c.Queue != 3 || c.MostQueue != 500 || c.Reason != "" {
		t.Errorf("a look before: %+v %v", c, err)
	}
	if c, err := client.SwitchoverCheck(t.Context(), "app", "nobody"); err != nil || c.Reason != "unknown-member" || c.Message == "" {
		t.Errorf("a look before a switchover to nobody: %+v %v", c, err)
	}
	if v, err := machines[1].view(); err != nil || v.Primary != "hk1" {
		t.Errorf("a look has made %q the primary (%v)", v.Primary, err)
	}
	got, err := ask("1", "sg1")
	if err != nil || got.From != "hk1" || got.To != "sg1" {
		t.Fatalf("%+v %v", got, err)
	}
	machines[0].waitDatabase("has moved", func(v api.DatabaseView) bool { return v.Primary == "sg1" && whole(v) })
	if again, err := ask("1", "sg1"); err != nil || again.From != "hk1" {
		t.Errorf("asked again: %+v %v", again, err)
	}
	var failed *api.SwitchoverFailedError
	if _, err := ask("2", "nobody"); !errors.As(err, &failed) || failed.Result.Reason != "unknown-member" {
		t.Errorf("to nobody: %v", err)
	}
	var refused *api.Error
	if _, err := client.Switchover(t.Context(), "other", api.SwitchoverRequest{ID: "3", To: "hk1"}, nil); !errors.As(err, &refused) || refused.Reason != api.ReasonNoSuchDatabase {
		t.Errorf("of another database: %v", err)
	}
	w.group.do(func() { w.group.engines["hk2"].fails = errors.New("off") })
	w.group.kill("hk2")
	machines[1].waitCondition(spec.ConditionDatabaseReady, spec.ConditionFalse, "")
	if _, err := ask("4", "hk1"); !errors.As(err, &failed) || failed.Result.Reason != "not-online" {
		t.Errorf("asked a member that is down: %v", err)
	}
}

// TestDatabaseRouterDown has a node whose applications do not reach the database.
func TestDatabaseRouterDown(t *testing.T) {
	t.Parallel()
	_, machines := running(t)
	machines[0].router.set(true)
	machines[0].waitHealth("the router is down", func(h api.Health) bool {
		return !h.Healthy && h.Parts["database"] == "the router does not run"
	})
	machines[0].waitCondition(spec.ConditionDatabaseReady, spec.ConditionFalse, "RouterDown")
	if h, err := machines[1].health(); err != nil || !h.Healthy {
		t.Errorf("another node: %+v %v", h, err)
	}
	machines[0].router.set(false)
	machines[0].waitHealth("the router is back", func(h api.Health) bool { return h.Healthy })
}

// TestDatabaseMadeAgain has a node that is made again under the name that may begin the group: it joins.
func TestDatabaseMadeAgain(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	machines[1].push(w.tombstone("hk1"))
	machines[0].waitHealth("waits again", waiting)
	machines[1].waitDatabase("goes on", func(v api.DatabaseView) bool { return v.Online == 2 && v.Primary != "" })
	w.group.do(func() { w.group.engines["hk1"].data = nil })
	machines[0].provision(machines[0].payload(machines[0].ticket(ticketFor{seeds: []string{machines[1].endpoint()}}), machines[0].node("")))
	machines[0].waitCondition(spec.ConditionJoined, spec.ConditionTrue, "")
	machines[0].push(machines[0].member(spec.MemberVoter, 50))
	machines[1].waitDatabase("is whole", whole)
	w.group.do(func() {
		if !slices.Equal(w.group.began, []string{"hk1"}) {
			t.Errorf("the group was begun by %v", w.group.began)
		}
	})
}

// TestDatabaseSwitchoverWithoutID is a request that makes no sense.
func TestDatabaseSwitchoverWithoutID(t *testing.T) {
	t.Parallel()
	_, machines := running(t)
	client := machines[0].operator()
	t.Cleanup(client.Close)
	var refused *api.Error
	_, err := client.Switchover(t.Context(), "app", api.SwitchoverRequest{To: "sg1"}, nil)
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusBadRequest {
		t.Errorf("without an ID: %v", err)
	}
}

// TestDatabaseRefused has a setting that the server refuses: it is not taken for applied, and the primary goes on.
func TestDatabaseRefused(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	ref := spec.Ref{Kind: spec.KindDatabase, Name: "app"}
	machines[0].waitDatabase("is applied", func(api.DatabaseView) bool {
		s, err := machines[0].status()
		return err == nil && s.Nodes["hk2"].Applied[ref] == s.Generations[ref]
	})
	w.group.do(func() { w.group.engines["hk2"].fails = &database.SettingsError{Message: "no such variable"} })
	machines[0].push(w.database("b"))
	c := machines[1].waitCondition(spec.ConditionDatabaseReady, spec.ConditionFalse, "SettingsRefused")
	if !strings.Contains(c.Message, "no such variable") {
		t.Errorf("it says %q", c.Message)
	}
	machines[0].waitDatabase("the others know the change", func(v api.DatabaseView) bool {
		return v.Rollout != nil && len(v.Rollout.Waiting) == 2
	})
	s, err := machines[0].status()
	if err != nil {
		t.Fatal(err)
	}
	if s.Nodes["hk2"].Applied[ref] >= s.Generations[ref] {
		t.Error("hk2 says that it has applied what it refuses")
	}
	w.group.do(func() {
		if len(w.group.restarted) > 0 {
			t.Errorf("restarted are %v", w.group.restarted)
		}
		w.group.engines["hk2"].fails = nil
	})
	machines[0].waitDatabase("the change goes on", w.settled("b"))
}

// TestDatabaseRefusedAndTakenBack has a setting that one server refuses and the others take, and takes it back. The one that refuses
// dies meanwhile: it starts with what it had. Nobody is restarted for what never came into effect.
func TestDatabaseRefusedAndTakenBack(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	w.group.do(func() { w.group.engines["hk2"].refuses = "b" })
	machines[0].push(w.database("b"))
	machines[1].waitCondition(spec.ConditionDatabaseReady, spec.ConditionFalse, "SettingsRefused")
	machines[0].waitDatabase("the others would restart", func(v api.DatabaseView) bool { return v.Rollout != nil && len(v.Rollout.Waiting) == 2 })
	w.group.kill("hk2")
	machines[0].waitDatabase("it is back", func(v api.DatabaseView) bool { return whole(v) && v.Rollout != nil })
	machines[0].push(w.database("a"))
	machines[0].waitDatabase("the change is taken back", w.settled("a"))
	machines[1].waitCondition(spec.ConditionDatabaseReady, spec.ConditionTrue, "Ready")
	w.group.do(func() {
		if len(w.group.restarted) > 0 {
			t.Errorf("restarted are %v", w.group.restarted)
		}
		for node, want := range map[string]int{"hk1": 1, "hk2": 2, "sg1": 1} {
			if got := w.group.engines[node].started; got != want {
				t.Errorf("the server of %s was started %d times, want %d", node, got, want)
			}
		}
	})
}

// TestDatabaseUnfit has a primary that is unfit to be it.
func TestDatabaseUnfit(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	w.group.do(func() { w.group.engines["hk1"].unfit = "the disk is nearly full" })
	machines[0].waitDatabase("it hands over", func(v api.DatabaseView) bool { return v.Primary == "hk2" && whole(v) })
	machines[0].waitCondition(spec.ConditionDatabaseReady, spec.ConditionFalse, "Unfit")
}
