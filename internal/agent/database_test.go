package agent_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const groupID = "2f9d6a0e-1c1d-4d4e-9a3e-0b6f0c5d7e11"

// withDatabase gives the world a database of fake servers.
func withDatabase(t *testing.T) (*world, []*machine) {
	t.Helper()
	w := newWorld(t)
	w.group = newGroup()
	machines := three(w)
	w.waitReady(machines...)
	return w, machines
}

func (w *world) databaseKey() *trust.DatabaseKey {
	w.t.Helper()
	key, err := trust.DatabaseKeyOf(w.key, clusterName, "app", groupID)
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// database returns the database's record with a setting.
func (w *world) database(setting string) store.Record {
	w.t.Helper()
	key := w.databaseKey()
	password, err := trust.Seal(key.Public(), "correct horse")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.sign("app", spec.Database{
		Engine: spec.DatabaseMySQL, Group: groupID, Votes: 3, Bootstrap: spec.Bootstrap{Node: "hk1", Epoch: 1}, Port: 3306,
		Accept:   spec.Accepted{Providers: []string{"lab"}},
		Settings: map[string]string{"setting": setting}, Schemas: []string{"web"},
		Users:  map[string]spec.DatabaseUser{"web": {Password: password, PasswordVersion: 1}},
		Router: spec.DatabaseRouter{Driver: spec.RouterMySQL, WritePort: 6446, ReadPort: 6447}, Key: key.Public().String(),
	})
}

// member returns the record of a machine's part.
func (m *machine) member(role spec.MemberRole, weight int) store.Record {
	m.w.t.Helper()
	info, err := m.info()
	if err != nil {
		m.w.t.Fatal(err)
	}
	sealed, err := m.w.databaseKey().SealTo(info.Identity)
	if err != nil {
		m.w.t.Fatal(err)
	}
	return m.w.sign("app."+m.name, spec.Member{Database: "app", Node: m.name, Role: role, Weight: weight, Key: sealed})
}

// describe pushes the database and its members.
func describe(machines ...*machine) {
	w := machines[0].w
	records := []store.Record{w.database("a")}
	for i, m := range machines {
		records = append(records, m.member(spec.MemberVoter, 50-i))
	}
	machines[0].push(records...)
}

// view returns the database as a machine sees it.
func (m *machine) view() (api.DatabaseView, error) {
	s, err := m.status()
	return s.Databases["app"], err
}

// waitDatabase waits until the database is as wanted, as a machine sees it.
func (m *machine) waitDatabase(what string, good func(api.DatabaseView) bool) api.DatabaseView {
	m.w.t.Helper()
	var last api.DatabaseView
	m.w.waitLong(2*patience, what, func() error {
		v, err := m.view()
		if err == nil && !good(v) {
			err = errors.New(tell(v))
		}
		last = v
		return err
	})
	return last
}

// tell is a database in one line.
func tell(v api.DatabaseView) string {
	text := fmt.Sprintf("life %d, primary %q", v.Incarnation, v.Primary)
	for _, n := range slices.Sorted(maps.Keys(v.Members)) {
		m := v.Members[n]
		text += fmt.Sprintf("; %s %s %s%s", n, m.State, m.Progress, m.Problem)
	}
	if v.Rollout != nil {
		text += fmt.Sprintf("; %+v", *v.Rollout)
	}
	return text
}

func whole(v api.DatabaseView) bool { return v.Online == 3 && v.Primary != "" }

// running has a database that all three machines are in.
func running(t *testing.T) (*world, []*machine) {
	t.Helper()
	w, machines := withDatabase(t)
	describe(machines...)
	machines[0].waitDatabase("begins", whole)
	w.waitReady(machines...)
	return w, machines
}

func TestDatabaseBegins(t *testing.T) {
	t.Parallel()
	w, machines := withDatabase(t)
	hk1, hk2, sg1 := machines[0], machines[1], machines[2]
	hk1.push(w.database("a"), hk1.member(spec.MemberVoter, 50), hk2.member(spec.MemberVoter, 50))
	c := hk1.waitCondition(spec.ConditionDatabaseReady, spec.ConditionFalse, "Waiting")
	w.wait("it says for what it waits", func() error {
		if c, _ = hk1.condition(spec.ConditionDatabaseReady); !strings.Contains(c.Message, "2 are") {
			return errors.New(c.Message)
		}
		return nil
	})
	hk1.push(sg1.member(spec.MemberVoter, 50))
	v := hk1.waitDatabase("begins", whole)
	if v.Primary != "hk1" || v.Incarnation != 1 || v.NextIncarnation != 2 {
		t.Errorf("it is %+v", v)
	}
	if !slices.Equal(w.group.began, []string{"hk1"}) {
		t.Errorf("the group was begun by %v", w.group.began)
	}
	for _, m := range machines {
		m.waitCondition(spec.ConditionDatabaseReady, spec.ConditionTrue, "Ready")
		m.waitHealth("has a way to the database", func(h api.Health) bool { return h.Healthy && h.Parts["database"] == "ok" })
		if got := m.router.routes(); !slices.Equal(got, []string{"app"}) {
			t.Errorf("%s routes %v", m.name, got)
		}
	}
	w.waitLong(10*time.Second, "routers can be led to whoever is in the group", func() error {
		w.group.mu.Lock()
		defer w.group.mu.Unlock()
		if got := w.group.engines["hk1"].keptFor; !slices.Equal(got, []string{"hk1", "hk2", "sg1"}) {
			return fmt.Errorf("the primary was told last while %v were in it", got)
		}
		return nil
	})
	hk1.waitDatabase("findings are told", func(v api.DatabaseView) bool { return len(v.Members["hk1"].Findings) == 1 })
	w.waitReady(machines...)

	// Once more: nothing happens, and an agent's restart is no event.
	hk1.restart()
	hk1.waitDatabase("goes on", whole)
	if !slices.Equal(w.group.began, []string{"hk1"}) {
		t.Errorf("the group was begun by %v", w.group.began)
	}
}

// TestDatabaseBeginsOnce cuts the power between the permission's use and the act.
func TestDatabaseBeginsOnce(t *testing.T) {
	t.Parallel()
	w, machines := withDatabase(t)
	if err := machines[0].stop(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	a := agent.New(machines[0].config())
	a.SetCut(func(step string) error {
		if step == "database bootstrap" {
			return agent.ErrPowerCut
		}
		return nil
	})
	go func() { done <- a.Run(t.Context()) }()
	w.wait("the agent answers", func() error { _, err := machines[0].info(); return err })
	describe(machines...)
	if err := <-done; !errors.Is(err, agent.ErrPowerCut) {
		t.Fatalf("the agent ended with %v", err)
	}
	if len(w.group.began) > 0 {
		t.Fatalf("the group was begun by %v", w.group.began)
	}
	machines[0].start()
	machines[0].waitDatabase("begins after all", whole)
	if !slices.Equal(w.group.began, []string{"hk1"}) {
		t.Errorf("the group was begun by %v", w.group.began)
	}
}

func TestDatabaseFailover(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	w.group.do(func() { w.group.engines["hk1"].fails = errors.New("the disk is broken") })
	w.group.kill("hk1")
	v := machines[1].waitDatabase("another one takes writes", func(v api.DatabaseView) bool {
		return v.Primary != "" && v.Primary != "hk1" && v.Members["hk1"].State == spec.MemberDown
	})
	if !w.group.write() {
		t.Error("no write is taken")
	}
	machines[0].waitCondition(spec.ConditionDatabaseReady, spec.ConditionFalse, "Failed")
	// Its applications are served by the others.
	if h, err := machines[0].health(); err != nil || h.Parts["database"] != "ok" {
		t.Errorf("health is %+v %v", h, err)
	}
	w.group.do(func() { w.group.engines["hk1"].fails = nil })
	if again := machines[1].waitDatabase("it comes back", whole); again.Primary != v.Primary {
		t.Errorf("the primary moved back from %s to %s", v.Primary, again.Primary)
	}
}

// TestDatabaseFullOutage kills all servers, with different data, and lets them come back in every order.
func TestDatabaseFullOutage(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	names := []string{"hk1", "hk2", "sg1"}
	orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	life := uint64(1)
	for i, order := range orders {
		w.write(2)
		ahead := names[i%3]
		w.group.do(func() {
			for _, n := range names {
				e := w.group.engines[n]
				e.fails, e.up, e.in = errors.New("no power"), false, false
			}
			// The last write has reached one only.
			w.group.writes++
			w.group.engines[ahead].data = append(slices.Clone(w.group.engines[ahead].data), w.group.writes)
		})
		for step, n := range order {
			if step == 2 {
				machines[order[0]].waitDatabase("shows who is missing", func(v api.DatabaseView) bool {
					return v.Outage && strings.Contains(v.Members[names[order[0]]].Problem, names[n])
				})
			}
			w.group.do(func() { w.group.engines[names[n]].fails = nil })
		}
		v := machines[0].waitDatabase(fmt.Sprintf("comes back (%v)", order), whole)
		// The number of a life that was proposed and taken back, which an old report can bring about, is not used again.
		if v.Incarnation <= life || w.group.began[len(w.group.began)-1] != ahead || len(w.group.began) != i+2 {
			t.Errorf("life %d of the group after %d, begun by %v, want %d times and %s last", v.Incarnation, life, w.group.began, i+2, ahead)
		}
		life = v.Incarnation
		w.group.do(func() {
			for _, n := range names {
				if !slices.Contains(w.group.engines[n].data, w.group.writes-1) {
					t.Errorf("%s has lost writes: %v", n, w.group.engines[n].data)
				}
			}
		})
	}
}

func (w *world) write(n int) {
	w.t.Helper()
	for range n {
		if !w.group.write() {
			w.t.Fatal("no write is taken")
		}
	}
}

// TestDatabaseOverride gives a member up that does not come back; it is diverged when it does.
func TestDatabaseOverride(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	w.group.do(func() {
		for _, e := range w.group.engines {
			e.up, e.in = false, false
		}
		w.group.engines["sg1"].fails = errors.New("no power")
		w.group.writes++
		w.group.engines["sg1"].data = append(slices.Clone(w.group.engines["sg1"].data), w.group.writes)
	})
	v := machines[0].waitDatabase("waits for sg1", func(v api.DatabaseView) bool {
		return strings.Contains(v.Members["hk1"].Problem, "atoll recover --database app --accept-loss-from sg1")
	})
	machines[0].push(w.sign("app", spec.Recovery{Incarnation: v.NextIncarnation, AcceptLossFrom: []string{"sg1"}, Since: time.Now()}))
	v = machines[0].waitDatabase("goes on without", func(v api.DatabaseView) bool { return v.Online == 2 && v.Primary != "" })
	if v.Incarnation != 2 || v.NextIncarnation != 3 {
		t.Errorf("life %d, next %d", v.Incarnation, v.NextIncarnation)
	}
	w.write(1)
	w.group.do(func() { w.group.engines["sg1"].fails = nil })
	machines[2].waitCondition(spec.ConditionDatabaseReady, spec.ConditionFalse, "Diverged")
	machines[0].waitDatabase("shows it", func(v api.DatabaseView) bool { return v.Members["sg1"].State == spec.MemberFailed })
	// Made anew, it gets a copy.
	w.group.do(func() { w.group.engines["sg1"].data = nil })
	machines[2].restart()
	machines[0].waitDatabase("is whole", whole)
}

// TestDatabaseCutInRecovery ends an agent between what it has written down and what it does, at each step of a recovery.
func TestDatabaseCutInRecovery(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	for _, step := range []string{"propose", "promise", "begin", "join"} {
		t.Run(step, func(t *testing.T) {
			before := len(w.group.began)
			done := make(chan int, 3)
			for _, m := range machines {
				if err := m.stop(); err != nil {
					t.Fatal(err)
				}
			}
			w.group.kill("hk1", "hk2", "sg1")
			for i, m := range machines {
				a := agent.New(m.config())
				a.SetCut(func(s string) error {
					if s == "database "+step {
						return agent.ErrPowerCut
					}
					return nil
				})
				m.run(a, func(error) { done <- i })
			}
			cut := 0
			select {
			case cut = <-done:
			case <-time.After(patience):
				t.Fatalf("nobody came to %s", step)
			}
			w.group.kill(machines[cut].name)
			for _, m := range machines {
				// Others may have come as far.
				if err := m.stop(); err != nil && !errors.Is(err, agent.ErrPowerCut) {
					t.Fatal(err)
				}
				m.start()
			}
			machines[0].waitDatabase("comes back", whole)
			if n := len(w.group.began) - before; n != 1 {
				t.Errorf("the group was begun %d times", n)
			}
		})
	}
}
