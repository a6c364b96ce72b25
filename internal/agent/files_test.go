package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// fakeTrees are the two trees of a pair, which are equal or not.
type fakeTrees struct {
	began time.Time

	mu     sync.Mutex
	behind bool
}

func (f *fakeTrees) set(behind bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = behind
}

// fakeSide is a machine's side of the world's pair. It has no streams, and no tree.
type fakeSide struct {
	replication.Driver
	m *machine

	mu   sync.Mutex
	pair *replication.Pair
}

// Apply implements replication.Driver.
func (f *fakeSide) Apply(_ context.Context, pairs []replication.Pair) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pair = nil
	if len(pairs) > 0 {
		f.pair = &pairs[0]
	}
	return nil
}

// Status implements replication.Driver.
func (f *fakeSide) Status(context.Context, string) (replication.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	trees := f.m.w.trees
	trees.mu.Lock()
	defer trees.mu.Unlock()
	s := replication.Status{State: spec.PairSyncing, Started: trees.began}
	if f.pair != nil && f.pair.Leads && !trees.behind {
		s.State, s.Synced = spec.PairSynced, time.Now()
	}
	return s, nil
}

// Canary implements replication.Driver: a tree that is none cannot be written to.
func (*fakeSide) Canary(context.Context, string) (replication.Canary, error) {
	return replication.Canary{}, context.Canceled
}

// Canaries implements replication.Driver.
func (*fakeSide) Canaries(ctx context.Context, _ string, _ replication.Canary) (replication.Canary, error) {
	<-ctx.Done()
	return replication.Canary{}, ctx.Err()
}

// newFakeReplications is what a machine's agent has for pairs.
func (m *machine) newFakeReplications() map[spec.ReplicationDriver]replication.New {
	if m.w.trees == nil {
		return nil
	}
	return map[spec.ReplicationDriver]replication.New{
		spec.ReplicationUnison: func(host.System, *slog.Logger) replication.Driver { return &fakeSide{m: m} },
	}
}

// withPair returns machines that serve an application whose files hk1 and sg1 have in a pair.
func withPair(t *testing.T, minimum int, names ...string) (*world, []*machine) {
	t.Helper()
	w := newWorld(t)
	w.trees = &fakeTrees{began: time.Now()}
	machines, _ := w.serving(names...)
	machines[0].push(w.sign(hostname, balancer(httpCheck(), minimum, machines...)), w.sign("uploads", spec.Pair{
		Driver: spec.ReplicationUnison, Ends: map[string]spec.PairEnd{"hk1": {Path: "/srv/uploads"}, "sg1": {Path: "/srv/uploads"}},
		Leader: "hk1", Owner: "www-data", Group: "www-data", Objective: 5,
	}))
	for _, m := range machines {
		m.waitServing("is fit", http.StatusOK, "application", "ok")
	}
	for _, m := range machines[:2] {
		m.waitCondition(spec.ConditionFilesReady, spec.ConditionTrue, "Ready")
		m.waitServing("its files are equal", http.StatusOK, "files", "ok")
	}
	return w, machines
}

// TestMaintenanceUntilFilesAreEqual: who leaves maintenance before everything is everywhere stays out of service until it is, whatever a
// floor says, in its own name and in that of a load balancer.
func TestMaintenanceUntilFilesAreEqual(t *testing.T) {
	t.Parallel()
	w, machines := withPair(t, 1, "hk1", "sg1")
	for _, m := range machines {
		machines[0].push(w.sign(m.name, spec.Maintenance{Since: time.Now()}))
	}
	for _, m := range machines {
		m.waitServing("is away", http.StatusServiceUnavailable, "maintenance", "since")
	}
	w.trees.set(true)
	for _, m := range machines {
		machines[0].push(w.tombstoneOf(spec.KindMaintenance, m.name))
	}
	for _, m := range machines {
		m.waitServing("has left and is behind", http.StatusServiceUnavailable, "files", "uploads: not synchronized yet")
		m.waitHealth("in its own name", func(h api.Health) bool {
			return !h.Healthy && h.Parts["maintenance"] == "ok" && h.Parts["files"] == "uploads: not synchronized yet"
		})
	}
	w.wait("the status says why", func() error {
		s, err := machines[1].status()
		if err != nil {
			return err
		}
		for _, m := range machines {
			if got := s.LoadBalancers[hostname].Nodes[m.name]; got.State != api.ServingOut || !strings.Contains(got.Reason, "after a maintenance") {
				return fmt.Errorf("%s is %+v", m.name, got)
			}
		}
		return nil
	})
	w.trees.set(false)
	for _, m := range machines {
		m.waitServing("is equal", http.StatusOK, "files", "ok")
	}
	// What is behind later is what a pair is made for.
	w.trees.set(true)
	for _, m := range machines {
		m.waitServing("serves on", http.StatusOK, "files", "ok")
	}
}

// TestFloorAndFiles: programs of a pair that start again at both nodes leave one of them in service, and after a maintenance none.
func TestFloorAndFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		barred bool
		want   bool
	}{
		{"after a restart", false, false},
		{"after a maintenance", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hk1 := spec.ServingStatus{Node: "files", Barred: tt.barred}
			// hk2 is the one that asks: its application is unwell.
			kept := agent.Floor("hk2", 1, map[string]spec.Status{"hk1": {Serving: map[string]spec.ServingStatus{hostname: hk1}}}, []string{"hk1"}, nil)
			if kept["hk2"] != tt.want || kept["hk1"] == tt.want {
				t.Errorf("kept in service are %v", kept)
			}
		})
	}
}

// TestCutOffFromFiles has nodes lose the others for a while: each is back in service when its files are what the others have made of them,
// but not all of them wait for that.
func TestCutOffFromFiles(t *testing.T) {
	t.Parallel()
	w, machines := withPair(t, 1, "hk1", "sg1", "hk2")
	apart := machines[:2]
	apart[0].push(w.sign(hostname, balancer(httpCheck(), 1, apart...)))
	for _, tt := range []struct {
		name string
		cut  []*machine
	}{
		{"one of them", apart[1:]},
		{"both", apart},
	} {
		for _, m := range tt.cut {
			m.mesh.cutOff(true)
		}
		for _, m := range tt.cut {
			m.waitServing(tt.name+" has lost the mesh", http.StatusServiceUnavailable, "mesh", "reaches 0 of 2 peers")
		}
		w.trees.set(true)
		for _, m := range tt.cut {
			m.waitCondition(spec.ConditionFilesReady, spec.ConditionFalse, "Waiting")
			m.mesh.cutOff(false)
		}
		serves := "ok"
		if len(tt.cut) == len(apart) {
			serves = "kept in service, too few nodes would be left: uploads: not synchronized yet"
		}
		apart[1].waitServing(tt.name+" is back and behind", http.StatusServiceUnavailable, "files", "not synchronized yet")
		apart[0].waitServing(tt.name+" was cut off, this one serves", http.StatusOK, "files", serves)
		w.trees.set(false)
		for _, m := range apart {
			m.waitServing(tt.name+" has caught up", http.StatusOK, "files", "ok")
		}
	}
}
