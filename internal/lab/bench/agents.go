package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// agents are the machines of an emulated cloud whose agents live in this process, each with its own address of the
// loopback network, its own identity and the real API. They share one store, as if everything spread at once, and report
// that all is well: what is measured is the provider.
type agents struct {
	mu    sync.Mutex
	store *store.Store
	byID  map[int]*agent
	work  sync.WaitGroup
	// reported and members are what the agents' last reports were about.
	reported map[spec.Ref]uint64
	members  int
}

var _ linode.Machines = (*agents)(nil)

type agent struct {
	api.StoreBackend
	all      *agents
	address  netip.Addr
	payload  []byte
	cluster  string
	identity *trust.Identity
	server   *http.Server
}

// Create implements linode.Machines.
func (a *agents) Create(_ context.Context, m linode.Machine) (linode.Addresses, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID == nil {
		a.byID = map[int]*agent{}
	}
	n := len(a.byID) + 1
	// Two benchmarks at a time do not share addresses.
	address := netip.AddrFrom4([4]byte{127, byte(64 + os.Getpid()%64), byte(n >> 8), byte(n)})
	a.byID[m.ID] = &agent{all: a, address: address, payload: m.UserData}
	return linode.Addresses{IPv4: address}, nil
}

// Boot implements linode.Machines: the agent joins and serves its API.
func (a *agents) Boot(ctx context.Context, id int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	me := a.byID[id]
	if me == nil || me.server != nil {
		return nil
	}
	data, _, err := platform.Extract(me.payload)
	if err != nil {
		return err
	}
	payload, err := platform.ParsePayload(data)
	if err != nil {
		return err
	}
	if a.store == nil {
		a.store = store.New(payload.Root(), store.Options{})
	}
	return me.join(ctx, payload)
}

func (me *agent) join(ctx context.Context, p *platform.Payload) error {
	var err error
	if me.identity, err = trust.NewIdentity(); err != nil {
		return err
	}
	proof, err := trust.MakeProof(p.Ticket, p.TicketKey, me.identity, trust.Claim{
		MeshKeys: map[spec.MeshDriver]string{spec.MeshTinc: "a key that no mesh will see"}, Made: time.Now(),
	})
	if err != nil {
		return err
	}
	records := []store.Record{store.ProofRecord(proof)}
	for _, o := range p.Objects {
		records = append(records, store.ObjectRecord(o))
	}
	me.StoreBackend = api.StoreBackend{Store: me.all.store, Node: p.Node}
	me.cluster = p.Cluster
	me.Store.Merge(records)
	config, err := trust.ServerTLS(me.identity, func() trust.Proof { return proof }, p.Root())
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort(me.address.String(), strconv.Itoa(spec.DefaultPorts().API)))
	if err != nil {
		return err
	}
	me.server = api.NewServer(config, api.NewHandler(p.Root(), me, time.Now), slog.New(slog.DiscardHandler))
	me.all.work.Go(func() {
		if err := me.server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			fmt.Println("an agent ended:", err)
		}
	})
	return nil
}

// Info implements api.Backend.
func (me *agent) Info() api.Info {
	return api.Info{
		Cluster: me.cluster, Node: me.Node, Version: "bench", Wire: spec.WireVersion,
		Identity: me.identity.Public(), Joined: true, Conditions: allWell(), BootID: "bench",
	}
}

// Push implements api.Backend. What was pushed is in effect at once.
func (me *agent) Push(from trust.Caller, records []store.Record) []store.Outcome {
	outcomes := me.StoreBackend.Push(from, records)
	me.all.report()
	return outcomes
}

// Leave implements api.Backend.
func (me *agent) Leave(context.Context) error { return nil }

// Wake implements api.Backend.
func (me *agent) Wake() {}

// report has every agent say that all objects are in effect and all links direct, when that is news.
func (a *agents) report() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now().UTC()
	snapshot := a.store.Snapshot()
	if maps.Equal(snapshot.Generations, a.reported) && len(snapshot.Members) == a.members {
		return
	}
	a.reported, a.members = snapshot.Generations, len(snapshot.Members)
	peers := map[string]spec.PeerStatus{}
	for name := range snapshot.Members {
		peers[name] = spec.PeerStatus{Reachable: true, Direct: true, Since: now, RTT: 1, Alive: true, AliveSince: now}
	}
	var records []store.Record
	for _, me := range a.byID {
		if me.server == nil {
			continue
		}
		status, err := trust.SignStatus(me.identity, spec.Status{
			Wire: spec.WireVersion, Cluster: me.cluster, Node: me.Node,
			Sequence: uint64(now.UnixMicro()), Reported: now, Version: "bench", BootID: "bench", //nolint:gosec // after 1970
			Conditions: allWell(), Applied: snapshot.Generations, Peers: peers,
		})
		if err == nil {
			records = append(records, store.StatusRecord(status))
		}
	}
	a.store.Merge(records)
}

func allWell() []spec.Condition {
	var out []spec.Condition
	for _, t := range []spec.ConditionType{
		spec.ConditionJoined, spec.ConditionApplied, spec.ConditionMeshReady, spec.ConditionGossipReady,
		spec.ConditionStoreSound, spec.ConditionClockSane,
	} {
		out = append(out, spec.Condition{Type: t, Status: spec.ConditionTrue, Reason: "Bench", Since: time.Unix(1, 0)})
	}
	return append(out, spec.Condition{Type: spec.ConditionConflict, Status: spec.ConditionFalse, Reason: "Bench", Since: time.Unix(1, 0)})
}

// Shutdown implements linode.Machines.
func (a *agents) Shutdown(context.Context, int) error { return nil }

// Reboot implements linode.Machines.
func (a *agents) Reboot(context.Context, int) error { return nil }

// Delete implements linode.Machines.
func (a *agents) Delete(context.Context, int) error { return nil }

// close ends every agent.
func (a *agents) close() {
	a.mu.Lock()
	for _, me := range a.byID {
		if me.server != nil {
			_ = me.server.Close()
		}
	}
	a.mu.Unlock()
	a.work.Wait()
}
