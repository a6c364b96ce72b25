package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
)

// write puts text into a file of the machine's state.
func (m *machine) write(name, text string) {
	m.w.t.Helper()
	path := filepath.Join(m.state, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.w.t.Fatal(err)
	}
}

// TestLeavingSurvivesDamage cuts the power while a node leaves and damages what it has written down: it leaves all the same,
// and as long as anything says what it has left, the used ticket does not bring it back.
func TestLeavingSurvivesDamage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		damaged []string
		want    []string
	}{
		{"nothing", nil, []string{"left.json"}},
		{"the marker", []string{"leaving.json"}, []string{"left.json"}},
		{"the memory of earlier departures", []string{"left.json"}, []string{"left.json"}},
		{"both", []string{"leaving.json", "left.json"}, []string{"left.json"}},
		{"the marker and the membership", []string{"leaving.json", "join.json"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.machine(1, "hk1")
			payload := m.payload(m.ticket(ticketFor{issued: time.Now().Add(-time.Second)}), m.node(""), w.tombstone("hk1"))
			m.provision(payload)
			m.cutAfter(agent.LeaveSteps()[0])
			m.write("damaged-20260101T000000.000000000/identity.pem", "a key of an earlier life")
			for _, name := range tt.damaged {
				m.write(name, "{")
			}
			m.start()
			m.waitHealth("waits", waiting)
			w.wait("only the memory of it is left", func() error {
				if got := m.files(); !equal(got, tt.want) {
					return errors.New(strings.Join(got, " "))
				}
				return nil
			})
			if tt.want == nil {
				return
			}
			m.provision(payload)
			m.waitHealth("does not come back by the used ticket", func(h healthOf) bool { return contains(h.Waiting, "issue a new ticket") })
		})
	}
}

// TestReplacedNodeIsNew gives a node that has been removed a new ticket before it has noticed, because a step takes its time.
func TestReplacedNodeIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	m.provision(m.payload(m.ticket(ticketFor{issued: time.Now().Add(-time.Second)}), m.node("")))
	m.start()
	m.waitHealth("joins", healthy)
	before := m.identity()
	held, free := m.mesh.hold()
	m.push(m.node("")) // wakes the steps
	held()
	m.push(w.tombstone("hk1"))
	fileProblem := func(h healthOf) bool { return h.Parts["first-boot file"] != "" }
	m.provision([]byte("{"))
	m.waitHealth("looks at the file", fileProblem)
	m.provision(m.payload(m.ticket(ticketFor{issued: time.Now().Add(time.Second)}), m.node("")))
	m.waitHealth("looks at the new file", func(h healthOf) bool { return !fileProblem(h) })
	free()
	w.wait("the machine has another identity", func() error {
		now, err := os.ReadFile(filepath.Join(m.state, "identity.pem"))
		if err == nil && string(now) == before {
			err = errors.New("it is the old one")
		}
		return err
	})
	m.waitHealth("joins", healthy)
}

func TestDamagedMemoryOfDeparturesSaysWhatToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	m.write("left.json", "{")
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	remedy := "remove " + filepath.Join(m.state, "left.json")
	m.waitHealth("says what to do", func(h healthOf) bool { return waiting(h) && contains(h.Waiting, remedy) })
	if err := os.Remove(filepath.Join(m.state, "left.json")); err != nil {
		t.Fatal(err)
	}
	m.waitHealth("joins", healthy)
}

func TestPurgeLeavesNoKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	m.waitHealth("joins", healthy)
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"damaged-20260101T000000.000000000/identity.pem", "left.json", "leaving.json"} {
		m.write(name, "{}")
	}
	if err := agent.Purge(t.Context(), m.config()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state still holds %v (%v)", m.files(), err)
	}
}

// TestMembershipsThatAreSetAside also has as many set aside before as are kept, all of them "later", as after a clock that
// went back.
func TestMembershipsThatAreSetAside(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(map[string]any)
	}{
		{"no version", func(r map[string]any) { delete(r, "wire") }},
		{"version 0", func(r map[string]any) { r["wire"] = 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.machine(1, "hk1")
			m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
			m.start()
			m.waitHealth("joins", healthy)
			if err := m.stop(); err != nil {
				t.Fatal(err)
			}
			record := m.readJoin()
			tt.spoil(record)
			text, err := json.Marshal(record)
			if err != nil {
				t.Fatal(err)
			}
			m.write("join.json", string(text))
			for i := range 20 {
				m.write(fmt.Sprintf("damaged-2999%02d", i)+"/join.json", "{")
			}
			m.start()
			var kept []string
			w.wait("the oldest of the earlier ones are gone", func() error {
				kept = slices.DeleteFunc(m.files(), func(name string) bool { return !strings.HasPrefix(name, "damaged-") })
				if len(kept) != 16 || !strings.HasPrefix(kept[1], "damaged-299905") {
					return fmt.Errorf("there are %v", kept)
				}
				return nil
			})
			m.waitHealth("waits", waiting)
			if _, err := os.Stat(filepath.Join(m.state, kept[0], "identity.pem")); err != nil {
				t.Errorf("what was just set aside is not whole: %v", err)
			}
		})
	}
}
