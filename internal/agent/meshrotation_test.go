package agent_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// keyPatience is how long three nodes may take to change their keys one by one: each keeps the old one for some seconds.
const keyPatience = 4 * time.Minute

// keyGeneration returns the cluster's object with another key generation.
func (w *world) keyGeneration(n int) store.Record {
	w.t.Helper()
	mesh := spec.DefaultMesh()
	mesh.KeyGeneration = n
	w.generation = max(w.generation, uint64(time.Now().UnixMilli()))
	return w.sign(clusterName, spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: mesh, Ports: spec.DefaultPorts()})
}

// waitKeys waits until one machine finds that the nodes have keys of a generation, and that nobody changes any more.
func (m *machine) waitKeys(generation int, nodes ...*machine) {
	m.w.t.Helper()
	m.w.waitLong(keyPatience, fmt.Sprintf("%s finds keys of generation %d", m.name, generation), func() error {
		s, err := m.status()
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if k := s.Nodes[n.name].MeshKey; k == nil || k.Generation != generation || k.Changing {
				return fmt.Errorf("%s: %+v, warnings %q", n.name, k, s.Warnings)
			}
		}
		return nil
	})
}

func keysOf(machines ...*machine) map[string]string {
	out := map[string]string{}
	for _, m := range machines {
		out[m.name], _ = m.mesh.state()
	}
	return out
}

// TestKeysAreReplaced raises the generation; all change their keys, one at a time, and nobody loses anybody.
func TestKeysAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := three(w)
	w.waitReady(machines...)
	machines[0].waitKeys(1, machines...)
	before := keysOf(machines...)
	machines[0].push(w.keyGeneration(2))
	for _, m := range machines {
		m.waitKeys(2, machines...)
	}
	w.waitReady(machines...)
	after := keysOf(machines...)
	for _, m := range machines {
		if after[m.name] == before[m.name] {
			t.Errorf("%s still has its old key", m.name)
		}
		_, view := m.mesh.state()
		for _, p := range view.Peers {
			if p.MeshKey != after[p.Name] || p.OtherKey != nil || p.KeyNumber != 1 {
				t.Errorf("%s believes %s under %q (number %d) and %v, want %q alone", m.name, p.Name, p.MeshKey, p.KeyNumber, p.OtherKey, after[p.Name])
			}
		}
		m.restart()
	}
	// Whoever starts again says the same as before.
	w.waitReady(machines...)
	machines[2].waitKeys(2, machines...)
	if got := keysOf(machines...); fmt.Sprint(got) != fmt.Sprint(after) {
		t.Errorf("keys %v after a restart, want %v", got, after)
	}

	// What is lost of the keys is found again from the reports.
	if err := machines[1].stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(machines[1].state, "meshkeys.json")); err != nil {
		t.Fatal(err)
	}
	machines[1].start()
	w.waitReady(machines...)
	machines[0].waitKeys(2, machines...)
	if got := keysOf(machines...); fmt.Sprint(got) != fmt.Sprint(after) {
		t.Errorf("keys %v after what was known of them was lost, want %v", got, after)
	}
	if s, err := machines[0].status(); err != nil || s.Nodes["hk2"].MeshKey.Number != 1 {
		t.Errorf("hk2's key is %+v (%v), want number 1", s.Nodes["hk2"].MeshKey, err)
	}
}

// TestChangeOfKeySurvivesAPowerCut cuts the power before and after the change.
func TestChangeOfKeySurvivesAPowerCut(t *testing.T) {
	t.Parallel()
	for _, step := range agent.KeySteps() {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			machines := three(w)
			w.waitReady(machines...)
			m := machines[0]
			before := keysOf(m)
			if err := m.stop(); err != nil {
				t.Fatal(err)
			}
			a := agent.New(m.config())
			var cut atomic.Bool
			a.SetCut(func(at string) error {
				if at == step && !cut.Swap(true) {
					return agent.ErrPowerCut
				}
				return nil
			})
			ended := make(chan error, 1)
			m.run(a, func(err error) { ended <- err })
			machines[1].push(w.keyGeneration(2))
			w.waitLong(keyPatience, "the power is cut", func() error {
				if !cut.Load() {
					return errors.New("not yet")
				}
				return nil
			})
			if err := <-ended; !errors.Is(err, agent.ErrPowerCut) {
				t.Fatalf("the agent ended with %v", err)
			}
			m.start()
			machines[2].waitKeys(2, machines...)
			w.waitReady(machines...)
			if got := keysOf(m); got[m.name] == before[m.name] {
				t.Error("the node still has its old key")
			}
			if s, err := m.status(); err != nil || s.Nodes[m.name].MeshKey.Number != 1 {
				t.Errorf("the key is %+v (%v), want number 1: it is changed once", s.Nodes[m.name].MeshKey, err)
			}
		})
	}
}

// TestKeysAreReplacedWithoutOne has a node away meanwhile: the others go on without it, and it comes back under its old key,
// which is replaced then.
func TestKeysAreReplacedWithoutOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ahead atomic.Int64
	machines := []*machine{w.machine(1, "hk1"), w.machine(2, "hk2"), w.machine(3, "sg1")}
	for i, m := range machines {
		m.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		f := ticketFor{}
		if i > 0 {
			f.seeds = []string{machines[0].endpoint()}
		}
		m.provision(m.payload(m.ticket(f), m.node("")))
		m.start()
	}
	w.waitReady(machines...)
	away := machines[2]
	if err := away.stop(); err != nil {
		t.Fatal(err)
	}
	away.mesh.leave()
	for _, m := range machines[:2] {
		m.waitCondition(spec.ConditionGossipReady, spec.ConditionFalse, "")
		m.waitCondition(spec.ConditionMeshReady, spec.ConditionFalse, "")
	}
	machines[0].push(w.keyGeneration(2))
	w.wait("the first waits for the one that is away", func() error {
		s, err := machines[0].status()
		if err != nil {
			return err
		}
		k := s.Nodes["hk1"].MeshKey
		if k != nil && k.Generation == 2 {
			t.Log("this machine is so slow that the node has waited and gone on before anybody looked")
			return nil
		}
		if k == nil || !k.Changing || k.Waits != "node sg1 to take the new key over" {
			return fmt.Errorf("%+v", k)
		}
		return nil
	})
	ahead.Store(int64(40 * time.Second))
	machines[0].waitKeys(2, machines[:2]...)
	if s, err := machines[0].status(); err != nil || s.Nodes["sg1"].MeshKey.Generation != 1 {
		t.Errorf("the key of the node that is away is %+v (%v), want one of generation 1", s.Nodes["sg1"].MeshKey, err)
	}
	away.start()
	machines[0].waitKeys(2, machines...)
	away.waitKeys(2, machines...)
	w.waitReady(machines...)
}
