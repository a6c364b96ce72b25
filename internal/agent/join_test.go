package agent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

type healthOf = api.Health

func waiting(h api.Health) bool { return h.State == "waiting" && !h.Healthy }

func healthy(h api.Health) bool { return h.Healthy && h.State == "joined" }

func contains(s, part string) bool { return strings.Contains(s, part) }

func equal(a, b []string) bool { return slices.Equal(a, b) }

// files returns the names in the machine's state directory.
func (m *machine) files() []string {
	m.w.t.Helper()
	entries, err := os.ReadDir(m.state)
	if err != nil {
		m.w.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// cutAfter runs the machine's agent until it loses power after the step.
func (m *machine) cutAfter(step string) {
	m.w.t.Helper()
	a := agent.New(m.config())
	a.SetCut(func(s string) error {
		if s == step {
			return agent.ErrPowerCut
		}
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- a.Run(m.w.t.Context()) }()
	select {
	case err := <-done:
		if !errors.Is(err, agent.ErrPowerCut) {
			m.w.t.Fatalf("the agent ended with %v, not by the power cut after %q", err, step)
		}
	case <-time.After(patience):
		m.w.t.Fatalf("step %q never came", step)
	}
}

func TestJoinSurvivesAPowerCutAfterEachStep(t *testing.T) {
	t.Parallel()
	for _, step := range agent.JoinSteps() {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.machine(1, "hk1")
			m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
			m.cutAfter(step)
			identity, err := os.ReadFile(filepath.Join(m.state, "identity.pem"))
			if err != nil {
				t.Fatal(err)
			}
			key, _ := m.mesh.state()
			m.start()
			m.waitHealth("has joined", healthy)
			again, err := os.ReadFile(filepath.Join(m.state, "identity.pem"))
			if err != nil {
				t.Fatal(err)
			}
			if string(again) != string(identity) {
				t.Error("the node made another identity; under one ticket that would be a conflict")
			}
			if now, _ := m.mesh.state(); key != "" && now != key {
				t.Errorf("the mesh key changed from %q to %q", key, now)
			}
			if _, err := os.Stat(m.firstBootFile()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the first-boot file with the ticket's key is still there (%v)", err)
			}
			if forgotten := m.readJoin()["forgotten"]; forgotten != true {
				t.Errorf("join.json says forgotten=%v, want true", forgotten)
			}
		})
	}
}

func TestLeavingSurvivesAPowerCutAfterEachStep(t *testing.T) {
	t.Parallel()
	for _, step := range agent.LeaveSteps() {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.machine(1, "hk1")
			// The payload carries the node's own removal, which cannot be in reality but is the shortest way to a leaving.
			// A removal in the very millisecond of the ticket would be one from before it.
			m.provision(m.payload(m.ticket(ticketFor{issued: time.Now().Add(-time.Second)}), m.node(""), w.tombstone("hk1")))
			m.cutAfter(step)
			m.start()
			m.waitHealth("waits", waiting)
			w.wait("only the memory of it is left", func() error {
				if got := m.files(); !equal(got, []string{"left.json"}) {
					return errors.New(strings.Join(got, " "))
				}
				return nil
			})
			if key, view := m.mesh.state(); key != "" || view != nil {
				t.Errorf("left over: mesh key %q, view %v", key, view)
			}
		})
	}
}

func TestTicketsThatAreRefused(t *testing.T) {
	t.Parallel()
	foreign, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		ticket ticketFor
		// age is that of the ticket, clock how far the machine's clock is ahead.
		age, clock time.Duration
		want       []string
	}{
		{"expired", ticketFor{}, 3 * time.Hour, 0, []string{"expired", "clock of this machine", "2h0m0s ahead"}},
		{"clock far ahead", ticketFor{}, 0, 4 * time.Hour, []string{"expired", "3h0m0s ahead"}},
		{"clock far behind", ticketFor{}, 0, -26 * time.Hour, []string{"future", "clock of this machine", "26h0m0s behind"}},
		{"renamed", ticketFor{node: "sg1"}, 0, 0, []string{`"sg1"`, `"hk1"`}},
		{"foreign cluster", ticketFor{cluster: "shop"}, 0, 0, []string{`"shop"`}},
		{"forged", ticketFor{key: foreign}, 0, 0, []string{"signed by key"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.machine(1, "hk1")
			// The machine's clock stands still, so that what it says does not depend on how long the test takes.
			began := time.Now()
			m.now = func() time.Time { return began.Add(tt.clock) }
			tt.ticket.issued = began.Add(-tt.age)
			payload := m.payload(m.ticket(tt.ticket), m.node(""))
			if tt.ticket.node != "" {
				payload = []byte(strings.Replace(string(payload), `"node":"sg1"`, `"node":"hk1"`, 1))
			}
			m.provision(payload)
			m.start()
			h := m.waitHealth("says why", func(h api.Health) bool { return waiting(h) && contains(h.Waiting, "cannot be used") })
			for _, want := range tt.want {
				if !contains(h.Waiting, want) {
					t.Errorf("health says %q, want %q in it", h.Waiting, want)
				}
			}
			if got := m.files(); len(got) != 0 {
				t.Errorf("a refused ticket left %v behind", got)
			}
			if _, err := os.Stat(m.firstBootFile()); err != nil {
				t.Errorf("the unused first-boot file is gone: %v", err)
			}
			m.mu.Lock()
			console := strings.Join(m.console, "\n")
			m.mu.Unlock()
			if !contains(console, tt.want[0]) {
				t.Errorf("the console shows %q, want %q in it", console, tt.want[0])
			}
		})
	}
}

func TestJoinWithAClockFiveMinutesWrong(t *testing.T) {
	t.Parallel()
	for _, wrong := range []time.Duration{5*time.Minute - time.Second, -5*time.Minute + time.Second} {
		t.Run(wrong.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			right, off := w.machine(1, "hk1"), w.machine(2, "hk2")
			off.now = func() time.Time { return time.Now().Add(wrong) }
			right.provision(right.payload(right.ticket(ticketFor{}), right.node("")))
			off.provision(off.payload(off.ticket(ticketFor{seeds: []string{right.endpoint()}}), off.node("")))
			right.start()
			off.start()
			off.waitCondition(spec.ConditionJoined, spec.ConditionTrue, "Joined")
			c := off.waitCondition(spec.ConditionClockSane, spec.ConditionFalse, "OutOfStep")
			direction := map[bool]string{true: "ahead of", false: "behind"}[wrong > 0]
			// Reports of a machine with too much to do are seconds old, which count as the clock's.
			if !contains(c.Message, direction) || !regexp.MustCompile(`\b(4m[345]\ds|5m[12]?\ds)\b`).MatchString(c.Message) {
				t.Errorf("got %q, want it to say %s and by how much", c.Message, direction)
			}
		})
	}
}

func TestWaitingAgentSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	m.start()
	h := m.waitHealth("waits", func(h api.Health) bool { return waiting(h) && len(h.Parts) > 0 })
	if got := h.Parts["file "+m.firstBootFile()]; got != "nothing there" {
		t.Errorf("parts are %v, want the file named with nothing there", h.Parts)
	}
	m.provision([]byte(`{"atoll":1,"colour":"red"}`))
	h = m.waitHealth("names the unknown key", func(h api.Health) bool { return contains(h.Waiting, `"colour"`) })
	if !contains(h.Parts["file "+m.firstBootFile()], `"colour"`) {
		t.Errorf("parts are %v", h.Parts)
	}
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.waitHealth("joins", healthy)
}

func TestDamagedMembershipIsSetAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	m.waitHealth("joins", healthy)
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.state, "join.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	// The agent waits for a moment before it has looked at anything.
	w.wait("the damaged part is kept", func() error {
		if files := m.files(); !slices.ContainsFunc(files, func(name string) bool { return strings.HasPrefix(name, "damaged-") }) {
			return fmt.Errorf("the state holds %v", files)
		}
		return nil
	})
	m.waitHealth("waits", waiting)
}

func TestStateIsForRootAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	m.waitHealth("joins", healthy)
	err := filepath.Walk(m.state, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSameProblemIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	m.provision(m.payload(m.ticket(ticketFor{issued: time.Now().Add(-3 * time.Hour)}), m.node("")))
	m.start()
	first := m.waitHealth("refuses the ticket", func(h api.Health) bool { return contains(h.Waiting, "expired") })
	// The text names the time, so it changes with every look.
	m.waitHealth("has looked again", func(h api.Health) bool { return contains(h.Waiting, "expired") && h.Waiting != first.Waiting })
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.console) != 1 {
		t.Errorf("the console shows %d lines, want one: %q", len(m.console), m.console)
	}
}

func TestRemember(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	if _, err := agent.Remember(m.state); !errors.Is(err, agent.ErrNotJoined) {
		t.Errorf("before joining: got %v, want ErrNotJoined", err)
	}
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	m.waitHealth("joins", healthy)
	got, err := agent.Remember(m.state)
	if err != nil {
		t.Fatal(err)
	}
	info, err := m.info()
	if err != nil {
		t.Fatal(err)
	}
	want := agent.Summary{
		Cluster: clusterName, Node: "hk1", Identity: info.Identity.Fingerprint(), SigningKey: w.key.Public().Fingerprint(),
		Source: "file " + m.firstBootFile(), Joined: got.Joined,
	}
	if got != want || got.Joined.IsZero() {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
