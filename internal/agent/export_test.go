package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// ErrPowerCut is what a cut returns.
var ErrPowerCut = errPowerCut

// SetCut makes cut be called after each persistent step; its error ends the agent there.
func (a *Agent) SetCut(cut func(step string) error) { a.cut = cut }

// JoinSteps and LeaveSteps are the persistent steps in their order.
func JoinSteps() []string {
	return []string{stepIdentity, stepMeshKeys, stepJoined, stepForgot, stepDone}
}

// LeaveSteps are the persistent steps of leaving.
func LeaveSteps() []string {
	return []string{stepLeaving, stepMeshGone, stepStateGone, stepLeftRecord}
}

// KeySteps are the persistent steps of a change of the mesh key.
func KeySteps() []string { return []string{stepKeyChange, stepKeyChanged} }

// Keeper is keeper for tests.
type Keeper struct{ *keeper }

// OpenKeeper opens a keeper in dir.
func OpenKeeper(dir string, now func() time.Time) Keeper {
	return Keeper{openKeeper(state{dir}, now, slog.New(slog.DiscardHandler))}
}

// Set sets a condition.
func (k Keeper) Set(t spec.ConditionType, s spec.ConditionStatus, reason string) {
	k.set(t, s, reason, "")
}

// Get returns a condition.
func (k Keeper) Get(t spec.ConditionType) spec.Condition { return k.get(t) }

// SetPeers sets the peers and returns them with their dates.
func (k Keeper) SetPeers(peers map[string]spec.PeerStatus) map[string]spec.PeerStatus {
	k.setPeers(peers)
	_, out, _ := k.snapshot()
	return out
}

// Version returns the version of what is kept.
func (k Keeper) Version() uint64 { _, _, v := k.snapshot(); return v }

// Urgent tells whether the channel of changed is closed by do.
func (k Keeper) Urgent(do func()) bool {
	c := k.changed()
	do()
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// OpenSequence opens a sequence in dir and returns its next function.
func OpenSequence(dir string, atLeast uint64) func() (uint64, error) {
	return openSequence(state{dir}, atLeast).take
}

// Clock is clock for tests.
type Clock struct {
	clock
	snapshot *store.Snapshot
}

// Hear gives the clock a peer's status: what its clock said, and when that arrived here.
func (c *Clock) Hear(peer string, sequence uint64, said, arrived time.Time) {
	if c.snapshot == nil {
		c.snapshot = &store.Snapshot{Statuses: map[string]spec.Status{}, Received: map[string]time.Time{}}
	}
	c.snapshot.Statuses[peer] = spec.Status{Sequence: sequence, Reported: said}
	c.snapshot.Received[peer] = arrived
	c.observe("self", c.snapshot)
}

// Judge returns the clock's condition.
func (c *Clock) Judge() (spec.ConditionStatus, string, string) { return c.judge() }

// GuardRules are the rules of the metadata guard.
const GuardRules = guardRules

// ReconcileGuard runs the guard's step once.
func ReconcileGuard(ctx context.Context, system host.System, machine platform.Machine) error {
	return guardStep{system: system, machine: machine}.reconcile(ctx, input{})
}

// WaitForMembership looks for first-boot data and joins, without the servers around it, and returns the node's name.
func (a *Agent) WaitForMembership(ctx context.Context) (string, error) {
	if err := a.state.make(); err != nil {
		return "", err
	}
	m, err := a.waitForMembership(ctx)
	if err != nil {
		return "", err
	}
	return m.record.Node, nil
}

// CurrentHealth is what the health endpoint would say.
func (a *Agent) CurrentHealth() api.Health { return a.currentHealth() }

// ReconcileFirewall runs the firewall's step once, for a member that has these objects or, with no cluster, a node that waits.
func ReconcileFirewall(ctx context.Context, system host.System, c *spec.Cluster, v *topology.View) error {
	return firewallStep{system: system, ports: func(in input) openPorts {
		if c == nil {
			return waitingPorts(spec.DefaultPorts())
		}
		return memberPorts(c.Ports, c, in.view)
	}}.reconcile(ctx, input{view: v})
}

// Twin is twin for tests.
type Twin struct{ twin twin }

// Observe gives the watch a status of the node.
func (t *Twin) Observe(sequence uint64, boot string, reported, now time.Time) string {
	t.twin.observe(spec.Status{Sequence: sequence, BootID: boot, Reported: reported}, "mine", now)
	return t.twin.problem("hk1")
}

// Server is server for tests.
type Server struct{ server server }

// NewServer returns a node of a load balancer as the floor counts it.
func NewServer(name string, well, keepable bool) Server {
	return Server{server{name: name, well: well, keepable: keepable}}
}

// KeptInService returns the nodes that the floor keeps in service, sorted.
func KeptInService(minimum int, servers []Server) []string {
	all := make([]server, len(servers))
	for i, s := range servers {
		all[i] = s.server
	}
	return slices.Sorted(maps.Keys(keptInService(minimum, all)))
}

// PublicProber is publicProber for tests.
type PublicProber struct{ prober publicProber }

// Watch sets whom to ask.
func (p *PublicProber) Watch(view *topology.View, before map[string]spec.PeerStatus) {
	p.prober.watch(view, before)
}

// Run asks until ctx ends.
func (p *PublicProber) Run(ctx context.Context) { _ = p.prober.run(ctx, func() {}) }

// Status returns how a peer answers.
func (p *PublicProber) Status(name string, inMesh mesh.PeerMeasurement) *spec.PublicStatus {
	return p.prober.status(name, inMesh)
}

// ServerKeys is serverKeys for tests.
type ServerKeys struct{ keys *serverKeys }

// OpenServerKeys opens the keys in dir.
func OpenServerKeys(dir string, now func() time.Time) ServerKeys {
	return ServerKeys{&serverKeys{state: state{dir}, now: now, log: slog.New(slog.DiscardHandler)}}
}

// Request is request.
func (k ServerKeys) Request(loadBalancer string, hostnames []string) (string, error) {
	return k.keys.request(loadBalancer, hostnames)
}

// PEM is pem.
func (k ServerKeys) PEM(loadBalancer string) ([]byte, error) { return k.keys.pem(loadBalancer) }

// Sweep is sweep.
func (k ServerKeys) Sweep(wanted map[string]bool) error { return k.keys.sweep(wanted) }

// Floor returns the nodes of www.example.com that its floor keeps in service as one with problems sees it, by the others' reports. It
// reaches the reached over the mesh; gossip takes all others to live.
func Floor(self string, minimum int, statuses map[string]spec.Status, reached []string, problems map[string]string) map[string]bool {
	now := time.Now()
	lb, in := topology.LoadBalancer{Hostname: "www.example.com"}, input{snapshot: &store.Snapshot{Statuses: statuses, Received: map[string]time.Time{}}}
	peers := map[string]spec.PeerStatus{}
	for name := range statuses {
		lb.Peers = append(lb.Peers, topology.ServingPeer{Peer: topology.Peer{Name: name}, ServingNode: spec.ServingNode{Enabled: true}})
		in.snapshot.Received[name] = now
		peers[name] = spec.PeerStatus{Alive: true, Reachable: slices.Contains(reached, name)}
	}
	return keptInService(minimum, append(others(lb, in, peers, nil, now, problems), server{name: self, keepable: true}))
}

// PassedBy returns the nodes of www.example.com that the proxy of node self asks only when there is nobody else. Own is how fit that node
// has found itself, statuses are the last reports of all, its own as well.
func PassedBy(self string, check *spec.ApplicationCheck, own spec.ServingStatus, statuses map[string]spec.Status) []string {
	const hostname = "www.example.com"
	s := &session{m: &membership{record: joinRecord{Node: self}}}
	s.fitness.serving = map[string]spec.ServingStatus{hostname: own}
	lb := topology.LoadBalancer{Hostname: hostname, Nodes: slices.Sorted(maps.Keys(statuses)), Check: check, Proxy: &spec.Proxy{}}
	plain := lb
	plain.Hostname, plain.Proxy = "plain.example.com", nil
	return s.passedBy(input{snapshot: &store.Snapshot{Statuses: statuses}, view: &topology.View{LoadBalancers: []topology.LoadBalancer{plain, lb}}})
}

// LostPeers is lostPeers for tests.
type LostPeers struct{ lost lostPeers }

// NewLostPeers returns what is remembered at first.
func NewLostPeers() LostPeers { return LostPeers{lostPeers{}} }

// Found drops what is known of peers that are reached.
func (l LostPeers) Found(peers map[string]spec.PeerStatus) { l.lost.found(peers) }

// All tells whether all peers that are not reached are dead, as far as that is known; the unanswered were asked and are silent so far.
func (l LostPeers) All(names []string, peers map[string]spec.PeerStatus, unanswered []string, now time.Time) bool {
	return l.lost.all(names, peers, func(name string) bool { return slices.Contains(unanswered, name) }, now)
}

// RefusedPorts is refusedPorts on a node that was kept in service for kept.example.com lately.
func RefusedPorts(balancers []topology.LoadBalancer, fit map[string]spec.ServingStatus, statuses map[string]spec.Status,
	received map[string]time.Time, peers map[string]spec.PeerStatus, out []string, now time.Time, before []int,
) []int {
	return refusedPorts(refusalInput{
		balancers: balancers, statuses: statuses, received: received, peers: peers, now: now, before: before,
		out:  func(topology.LoadBalancer) []string { return out },
		kept: func(hostname string) bool { return hostname == "kept.example.com" },
		fit: func(hostname string) (spec.ServingStatus, bool) {
			s, known := fit[hostname]
			return s, known
		},
	})
}

// ProxyWatch is proxyWatch for tests.
type ProxyWatch struct{ *proxyWatch }

// NewProxyWatch returns one that has not looked yet.
func NewProxyWatch() *ProxyWatch { return &ProxyWatch{newProxyWatch(time.Now())} }

// Hangs returns the nodes whose requests for a hostname are to be ended, of those whose applications hang, when another serves it or
// does not, sorted.
func (w *ProxyWatch) Hangs(hung []string, served bool, now time.Time) []string {
	const hostname = "www.example.com"
	set := map[serverName]spec.ProxyDriver{}
	for _, n := range hung {
		set[serverName{hostname, n}] = spec.ProxyHAProxy
	}
	var nodes []string
	for _, at := range w.hangs(set, map[string]bool{hostname: served}, now) {
		nodes = append(nodes, at.node)
	}
	slices.Sort(nodes)
	return nodes
}

// Believes tells whether a look at the proxy of a hostname counts.
func (w *ProxyWatch) Believes(problem, before string, now time.Time) bool {
	return w.believes("www.example.com", problem, before, now)
}
