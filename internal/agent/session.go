package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/databases"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/pairs"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/gossip"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// session is an agent's work as a member of one cluster.
type session struct {
	a        *Agent
	m        *membership
	log      *slog.Logger
	store    *store.Store
	keeper   *keeper
	sequence *sequence
	keyring  *keyring
	api      apiServer
	prober   Prober
	clock    clock
	syncer   *gossip.Syncer
	fitness  fitness
	// databases keeps this node's part in databases. Seeing is held by its look at the store.
	databases *databases.Manager
	seeing    sync.Mutex

	// pairs watches this node's sides of pairs.
	pairs *pairs.Manager

	// cut is a test's cut in a step; only loop uses it.
	cut error

	// links watches the links to other nodes.
	links *probes.Manager

	// acceptance is what other nodes think of this one.
	acceptance acceptance
	// leave holds a wish to leave.
	leave chan departure
	// urgent tells that a report is due at once.
	urgent atomic.Bool
	// poked wakes report, look wakes observe, suspicion wakes watchHome.
	poked, look, suspicion chan struct{}
	// weigh wakes watchServing, proxied wakes watchProxy, reorder has loop run the steps again.
	weigh, proxied, reorder chan struct{}
	// databased wakes judgeDatabases, paired judgePairs.
	databased, paired chan struct{}
	// public asks peers at their public addresses.
	public publicProber

	// lost are the peers that were found dead; only watchServing uses it.
	lost lostPeers
	// firstSeen is when each peer appeared; only observe uses it.
	firstSeen map[string]time.Time
	// announced tells that the console has been told that this node is up; only observe uses it.
	announced bool
	// livePage is the live map, where the cluster has a port for it.
	livePage plainServer
	// twin watches for a copy of this node.
	twin twin

	mu          sync.Mutex
	departed    *departure
	driver      mesh.Driver
	gossip      *gossip.Gossip
	gossipAt    netip.AddrPort
	gossipRTT   time.Duration
	running     bool
	meshStatus  mesh.Status
	meshLooked  time.Time
	fileProblem string
	twinProblem string
	reachable   int
	peers       int
	// away is this node's maintenance, nil while it is in service.
	away               *spec.Maintenance
	appliedGenerations map[spec.Ref]uint64
	appliedVersion     uint64
	// proxyTrouble is what the last round of steps found wrong with local proxies, by hostname, in words for strangers.
	proxyTrouble map[string]string
	// out holds the nodes that get no traffic from the vendor, by hostname. What it holds is not changed any more.
	out map[string][]string
}

// errDeparted ends a session whose node is to leave.
var errDeparted = errors.New("the node leaves the cluster")

// serve works as a member until the node is to leave, or until its membership is renewed or this machine turns out to be a
// copy, which gives no departure.
func (a *Agent) serve(ctx context.Context, m *membership) (*departure, error) {
	log := a.log.With("cluster", m.record.Cluster, "node", m.record.Node)
	st, err := store.Open(a.state.path(storeDir), m.root, store.Options{Now: a.cfg.Now, Log: log})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := st.Close(); err != nil {
			log.Error("the store does not close", "error", err)
		}
	}()
	prober, err := a.cfg.NewProber(log)
	if err != nil {
		log.Error("peers cannot be probed; who is reachable is what the mesh driver says", "error", err)
		prober = noProber{}
	}
	s := &session{
		a: a, m: m, log: log, store: st,
		keeper: openKeeper(a.state, a.cfg.Now, log), sequence: openSequence(a.state, 0), keyring: openKeyring(a.state, log),
		prober: prober,
		leave:  make(chan departure, 1), poked: make(chan struct{}, 1), look: make(chan struct{}, 1),
		suspicion: make(chan struct{}, 1), weigh: make(chan struct{}, 1), proxied: make(chan struct{}, 1), reorder: make(chan struct{}, 1), databased: make(chan struct{}, 1), paired: make(chan struct{}, 1),
		firstSeen: map[string]time.Time{}, lost: lostPeers{},
	}
	s.fitness.remember(a.state, log)
	// Before the first report, which would say less otherwise: the others believe the last one.
	s.keyring.remember(st.Snapshot().Statuses[m.record.Node].MeshKey)
	s.databases = s.newDatabases()
	s.pairs = s.newPairs()
	s.links = s.newLinks()
	if err := s.start(); err != nil {
		return nil, errors.Join(err, prober.Close())
	}
	a.setSession(s)
	defer a.setSession(nil)
	err = s.run(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, errDeparted):
		return s.departed, nil
	case errors.Is(err, errNotAtHome), errors.Is(err, errAdopted) && !isPowerCut(err):
		return nil, nil
	}
	return nil, err
}

func (a *Agent) setSession(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session = s
	if s == nil {
		a.health = api.Health{State: stateStopped, Waiting: "the agent is between two states"}
	}
}

// start puts what the node knows by itself into the store and prepares the API.
func (s *session) start() error {
	var records []store.Record
	for _, object := range s.m.record.Objects {
		records = append(records, store.ObjectRecord(object))
	}
	for _, o := range s.store.Merge(append(records, s.ownProof())) {
		if o.Result == store.Refused {
			s.log.Warn("a record of the first-boot data is refused", "key", string(o.Key), "reason", string(o.Reason), "message", o.Message)
		}
	}
	cfg, err := trust.ServerTLS(s.m.identity, s.proof, s.m.root)
	if err != nil {
		return fmt.Errorf("prepare the API: %w", err)
	}
	s.api.handler, s.api.tls, s.api.log = s.confirming(api.NewHandler(s.m.root, newBackend(s), s.a.cfg.Now)), cfg, s.log
	s.livePage.what, s.livePage.create = "the live map", s.newLivePage
	s.syncer = gossip.NewSyncer(s.direct(), s.seeds)
	return nil
}

func (s *session) proof() trust.Proof { return s.m.record.Proof }

func (s *session) ownProof() store.Record { return store.ProofRecord(s.m.record.Proof) }

// run does everything at once until one part ends: the loop when the node is to leave, all of them when ctx ends.
func (s *session) run(ctx context.Context) error {
	// Before anything is done: two machines that are one node would both write.
	if err := s.lookHome(ctx); err != nil {
		return errors.Join(err, s.prober.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{
		s.watchHome, s.loop, s.observe, s.watchServing, s.watchProxy, s.watchFilters, s.removeDead, s.askPublic, s.keepDatabases, s.judgeDatabases, s.pairs.Run, s.judgePairs, s.links.Run, s.report, s.heedFile, s.syncer.Run, gossip.NewPusher(s.direct()).Run,
	} {
		group.Go(func() error { return part(ctx) })
	}
	err := group.Wait()
	s.pairs.Close()
	s.api.close()
	return errors.Join(err, s.livePage.close(), s.stopGossip(), s.prober.Close())
}

// depart spreads the removal and ends the session.
func (s *session) depart(ctx context.Context, d departure) error {
	s.mu.Lock()
	s.departed = &d
	s.mu.Unlock()
	s.spreadRemoval(ctx)
	return errDeparted
}

// poke wakes whoever waits on the channel, now or at its next look.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *session) setDriver(d mesh.Driver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.driver = d
	s.meshLooked = time.Time{}
}
