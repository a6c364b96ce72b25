package agent_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// twins returns a cluster of a node and another one, sg1, which is off, and a machine with a copy of its disk. Nothing tells
// the two machines apart.
func (w *world) twins(outside string) (first, original, twin *machine) {
	w.t.Helper()
	first = w.machine(1, "hk1")
	first.provision(first.payload(first.ticket(ticketFor{}), first.node("")))
	first.start()
	first.waitHealth("joins", healthy)
	original = w.machine(2, "sg1")
	original.outside = outside
	original.provision(original.payload(original.ticket(ticketFor{seeds: []string{first.endpoint()}}), original.node("")))
	original.start()
	// With no address that leads to the node, nobody but itself says that it is well.
	original.waitCondition(spec.ConditionMeshReady, spec.ConditionTrue, "")
	original.waitCondition(spec.ConditionGossipReady, spec.ConditionTrue, "")
	if err := original.stop(); err != nil {
		w.t.Fatal(err)
	}
	twin = w.machine(3, "sg1")
	if err := os.MkdirAll(filepath.Dir(twin.state), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if out, err := exec.CommandContext(w.t.Context(), "cp", "-a", original.state, twin.state).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return first, original, twin
}

// saysTwin tells whether the machine reports that it is there twice.
func (m *machine) saysTwin() error {
	c, err := m.condition(spec.ConditionConflict)
	if err != nil {
		return err
	}
	if c.Status != spec.ConditionTrue || !strings.Contains(c.Message, "reports as node sg1 with the same identity") {
		return fmt.Errorf("condition Conflict is %+v", c)
	}
	return nil
}

// TestCopyFindsItsNode starts a copy whose hardware says nothing while the node runs at its address.
func TestCopyFindsItsNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, original, twin := w.twins("")
	original.start()
	original.waitHealth("runs", healthy)
	standsAside := func(h healthOf) bool {
		return waiting(h) && contains(h.Waiting, "runs on another machine") && h.Parts["hardware"] == "another machine answers at this node's address"
	}
	twin.start()
	twin.waitHealth("stands aside", standsAside)
	twin.waitConsole("atolld moved", "atolld copied", "answers at "+original.endpoint())
	if _, view := twin.mesh.state(); view != nil {
		t.Error("the copy has started the mesh before it looked whether the node runs elsewhere")
	}
	if _, err := twin.info(); err == nil {
		t.Error("the copy's API answers with the node's identity")
	}
	w.wait("the node knows of its copy", original.saysTwin)
	original.waitHealth("runs on", healthy)

	// Said before the node is off: the copy must not believe it.
	moved := func() {
		t.Helper()
		if _, err := agent.Moved(agent.Config{StateDir: twin.state, Machine: twin.config().Machine}); err != nil {
			t.Fatal(err)
		}
	}
	moved()
	w.wait("the copy looks once more and stands aside again", func() error {
		twin.mu.Lock()
		defer twin.mu.Unlock()
		count := 0
		for _, line := range twin.console {
			if strings.Contains(line, "answers at") {
				count++
			}
		}
		if count < 2 {
			return fmt.Errorf("the console says %q", twin.console)
		}
		return nil
	})

	// A node that is silent is not known to be off: that is for the operator to say.
	if err := original.stop(); err != nil {
		t.Fatal(err)
	}
	twin.restart()
	twin.waitHealth("still stands aside", standsAside)
	moved()
	twin.waitHealth("is the node", healthy)
}

// TestNodeComesHome starts the node while a copy runs that found nobody at the node's address.
func TestNodeComesHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, original, twin := w.twins("")
	twin.start()
	twin.waitHealth("is taken for the node", healthy)
	original.start()
	twin.waitHealth("stands aside", func(h healthOf) bool { return waiting(h) && contains(h.Waiting, "runs on another machine") })
	original.waitHealth("runs", healthy)
}

// TestTwinsBehindOneAddress runs a node and its copy where neither is reached at the node's address, so that nothing but
// their reports gives them away. They also share the address in the mesh, so that only one of them gossips.
func TestTwinsBehindOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, original, twin := w.twins(fmt.Sprintf("127.%d.%d.99", w.a, w.b))
	twin.start()
	twin.waitHealth("runs", healthy)
	original.start()
	// Only the reports that both make from time to time cross, and not each time.
	w.waitLong(3*time.Minute, "both say so", func() error { return errors.Join(original.saysTwin(), twin.saysTwin()) })
}
