// Package pairs keeps an eye on a node's sides of replication pairs: what each says, whether the node may serve with it, and the
// streams by which one side reaches the other. The steps of the agent apply the sides themselves.
package pairs

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	// lookInterval is how often each side is looked at.
	lookInterval = time.Second
	// failurePatience is how long a side may have failed before the node stops to serve: programs start again by themselves.
	failurePatience = 15 * time.Second
	// settling is how long after a start it is no news that nothing is known yet.
	settling = 10 * time.Second
	// believable is how old what the agent said before its restart may be: one that was away for longer has missed what the other side did.
	believable = time.Minute
)

// Sight is what a node knows of its cluster at one moment.
type Sight struct {
	// Known tells that the objects of the cluster and of this node are there and that this node is admitted. While it is not,
	// what is there stays.
	Known bool
	Pairs []topology.Pair
	// Away tells that the node is in maintenance, Lost that it does not stand with half of its cluster.
	Away, Lost bool
	// Order is the generation of the last order to enter or leave maintenance: one may be over before anybody looks.
	Order    uint64
	Statuses map[string]spec.Status
	// Received is when each status arrived, by this machine's clock.
	Received map[string]time.Time
	// Reaches tells whether a peer answers over the mesh, Dead that nobody has heard of it for a while, by whatever way. One that the operator
	// has taken out of service is not dead.
	Reaches, Dead func(node string) bool
	// Gone tells whether more than half of the cluster's nodes find a node dead, be it in maintenance or not.
	Gone func(node string) bool
}

// Config is what a Manager works with. All fields are required.
type Config struct {
	Node    string
	Drivers map[spec.ReplicationDriver]replication.Driver
	// Before is what this node said last before the agent was started.
	Before spec.Status
	// See returns what is known now.
	See func() Sight
	// Changed is called when what All returns has changed; urgent tells that others wait for it.
	Changed func(urgent bool)
	// Canary asks the other node of a pair which canary of this one has arrived last, and waits some seconds for one that is not after.
	Canary func(ctx context.Context, pair, after string) (nonce string, err error)
	// Now is the clock for dates.
	Now func() time.Time
	Log *slog.Logger
}

// Manager watches a node's sides of pairs. Make it with New; Run it once. Its other methods are safe for concurrent use.
type Manager struct {
	cfg Config
	// began is when the manager was made, dated the same by the clock for dates.
	began, dated time.Time

	limits limits

	mu    sync.Mutex
	sides map[string]*side
	// turns are those that pairs of this node take, by the name of the standby pair. They are for whoever looks alone.
	turns map[string]*turns
	// streams are those that are open, by pair: of two one is left over from a connection that broke.
	streams map[string]context.CancelFunc
}

// side is what is known of this node's side of a pair.
type side struct {
	said spec.PairStatus
	// found is what the side's driver said last.
	found replication.Status
	// started is when the side's programs started, by their own account; since is when that was seen first, or when the node came
	// out of maintenance after that: what the leader said before does not count.
	started, since time.Time
	// equal tells that the sides were found equal since then.
	equal bool
	debt
	// failed is when the side was first seen to have failed, zero while it has not.
	failed time.Time
	// answered is when the last word of the other side arrived that was answered.
	answered time.Time
	probe
}

// New returns a manager that has looked at nothing yet.
func New(cfg Config) *Manager {
	return &Manager{cfg: cfg, began: time.Now(), dated: cfg.Now(), sides: map[string]*side{}, streams: map[string]context.CancelFunc{}}
}

// Run looks at the node's sides of pairs until ctx ends, which is the only error.
func (m *Manager) Run(ctx context.Context) error {
	tick, permits := time.NewTicker(lookInterval), time.NewTicker(permitInterval)
	defer tick.Stop()
	defer permits.Stop()
	var measured sync.WaitGroup
	defer measured.Wait()
	for {
		m.look(ctx)
		for _, p := range m.due() {
			measured.Go(func() { m.measure(ctx, p) })
		}
		select {
		case <-permits.C:
			m.permit(ctx)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// look looks at every side once, at all of them at the same time: one that hangs keeps no other waiting.
func (m *Manager) look(ctx context.Context) {
	sight := m.cfg.See()
	if !sight.Known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookInterval)
	defer cancel()
	found := make([]replication.Status, len(sight.Pairs))
	var looks sync.WaitGroup
	for i, p := range sight.Pairs {
		m.limits.set(p.Name, p.Limits.Bandwidth)
		looks.Go(func() { found[i] = m.status(ctx, p) })
	}
	looks.Wait()
	m.takeTurns(ctx, sight, found)
	m.mu.Lock()
	defer m.mu.Unlock()
	changed, urgent := false, false
	for i, p := range sight.Pairs {
		s := m.sides[p.Name]
		if s == nil {
			s = m.resume(p.Name, found[i], sight)
			m.sides[p.Name] = s
		}
		before := s.said
		s.judge(p, found[i], sight, m.excused(p, found[i]), m.cfg.Now().UTC())
		m.standIn(p, &s.said)
		asked := s.asked(p, sight) || s.released
		changed = changed || asked || !same(before, s.said)
		urgent = urgent || asked || before.State != s.said.State || before.Problem != s.said.Problem || before.Full != s.said.Full || before.Owes != s.said.Owes
	}
	for name := range m.sides {
		if !slices.ContainsFunc(sight.Pairs, func(p topology.Pair) bool { return p.Name == name }) {
			delete(m.sides, name)
			changed = true
		}
	}
	if changed {
		m.cfg.Changed(urgent)
	}
}

// resume returns what is known of a side that is looked at for the first time. When its programs ran before this agent did, what the agent
// said before its restart holds.
func (m *Manager) resume(pair string, now replication.Status, sight Sight) *side {
	s := &side{}
	kept := m.cfg.Before.Pairs[pair]
	for _, serving := range m.cfg.Before.Serving {
		if serving.Barred {
			s.owes = spec.PairOwesMaintenance
		}
	}
	if s.owes == "" && !sight.Away && kept.State == spec.PairSynced && !now.Started.IsZero() && now.Started.Before(m.dated) && m.dated.Sub(m.cfg.Before.Reported) < believable {
		s.said, s.equal, s.started, s.since = kept, true, now.Started, time.Now()
	}
	return s
}

func (m *Manager) status(ctx context.Context, p topology.Pair) replication.Status {
	driver := m.cfg.Drivers[p.Driver]
	if driver == nil {
		return replication.Status{State: spec.PairFailed, Problem: fmt.Sprintf("this agent does not know driver %q: update it", p.Driver)}
	}
	s, err := driver.Status(ctx, p.Name)
	if err != nil {
		return replication.Status{State: spec.PairFailed, Problem: err.Error()}
	}
	return s
}

// maxConflictPaths is how many conflicts a status names.
const maxConflictPaths = 20

// judge takes in what a side's driver says of it.
// Excused tells that it is another pair's turn.
func (s *side) judge(p topology.Pair, now replication.Status, sight Sight, excused bool, date time.Time) {
	if s.owe(p, now, sight) {
		s.started, s.since, s.equal = now.Started, time.Now(), false
	}
	said := spec.PairStatus{
		State: now.State, Since: s.said.Since, Synced: now.Synced, Pending: now.Pending, Conflicts: len(now.Conflicts),
		ConflictPaths: now.Conflicts[:min(len(now.Conflicts), maxConflictPaths)], Watching: now.Watching, Problem: now.Problem,
		Warning: now.Warning, Short: now.Short, Full: now.Full, Cold: now.Cold, After: now.After,
		Propagation: s.said.Propagation, Measured: s.said.Measured,
	}
	s.found, s.window = now, s.window.since(date)
	said.Lately = s.window.said()
	if !now.Carried.From.IsZero() {
		said.Carried = &now.Carried
	}
	if !p.Leads() && now.State == spec.PairSyncing {
		// Only the leader's program knows whether the sides are equal.
		leader := sight.Statuses[p.Peer.Node].Pairs[p.Name]
		said.Synced = leader.Synced
		switch known := sight.Received[p.Peer.Node].After(s.since); {
		case !known && !s.equal:
			said.State = spec.PairStarting
		case !known:
			said.State = s.said.State
		case leader.State == spec.PairSynced || leader.State == spec.PairStarting:
			said.State = leader.State
		}
	}
	if excused && !p.Leads() && said.State == spec.PairDisconnected {
		said.State = spec.PairStandingBy
	}
	s.equal = s.equal || excused || said.State == spec.PairSynced
	if excused && !s.held {
		s.owes = ""
	}
	s.settle(p, sight, s.equal && (s.owes != spec.PairOwesMaintenance || said.State == spec.PairSynced && s.complete(p, now, sight)))
	said.Owes = s.owes
	if said.State != s.said.State {
		said.Since = date
	}
	if said.State != spec.PairFailed {
		s.failed = time.Time{}
	} else if s.failed.IsZero() {
		s.failed = time.Now()
	}
	s.said = said
}

// asked tells whether the other side waits for this one to say again that both are equal: what the leader said before the other's
// programs started, or before its maintenance ended, does not count, and while nothing changes it would say nothing for long.
func (s *side) asked(p topology.Pair, sight Sight) bool {
	at := sight.Received[p.Peer.Node]
	if !p.Leads() || s.said.State != spec.PairSynced || sight.Statuses[p.Peer.Node].Pairs[p.Name].State != spec.PairStarting || !at.After(s.answered) {
		return false
	}
	s.answered = at
	return true
}

// same tells whether two statuses say the same to others; when both sides were equal last is no news.
func same(a, b spec.PairStatus) bool {
	return a.State == b.State && a.Problem == b.Problem && a.Conflicts == b.Conflicts && a.Pending == b.Pending && a.Watching == b.Watching &&
		a.Measured.Equal(b.Measured) && a.Warning == b.Warning && a.Short == b.Short && a.Full == b.Full && a.Owes == b.Owes && a.StandsIn.Equal(b.StandsIn) && sameCold(a.Cold, b.Cold) && a.After.Equal(b.After) && slices.Equal(a.ConflictPaths, b.ConflictPaths)
}

// All returns what this node says of its side of each pair.
func (m *Manager) All() map[string]spec.PairStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]spec.PairStatus{}
	for name, s := range m.sides {
		out[name] = s.said
	}
	return out
}

// Condition returns how this node's sides of all pairs are, for spec.ConditionFilesReady. Status is "" for a node without pairs,
// and pending tells that it cannot be told yet.
func (m *Manager) Condition() (status spec.ConditionStatus, reason, message string, pending bool) {
	sight := m.cfg.See()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !sight.Known {
		return "", "", "", true
	}
	var texts []string
	for _, p := range sight.Pairs {
		s := m.sides[p.Name]
		why, text := "", ""
		switch {
		case s == nil:
			why, text = "Waiting", "has just started"
		case s.said.State == spec.PairFailed:
			why, text = "Failed", s.said.Problem
		case s.said.State == spec.PairDisconnected:
			why, text = "Disconnected", cmp.Or(s.said.Problem, p.Peer.Node+" is not to be reached; changes wait")
		case !s.equal:
			why, text = "Waiting", "is not synchronized with "+p.Peer.Node+" yet"
		case s.said.Problem != "":
			why, text = "Incomplete", s.said.Problem
		case s.said.Cold != nil && s.said.Cold.Problem != "":
			why, text = "ColdProblem", "old directories: "+s.said.Cold.Problem
		case s.said.After != nil && s.said.After.State == spec.AfterFailed:
			why, text = "AfterChange", "the command after changes does not succeed: "+s.said.After.Problem
		case s.slow(p):
			why, text = "Slow", fmt.Sprintf("a change took %.1f s to %s, more than the objective of %d s", s.said.Propagation, p.Peer.Node, p.Objective)
		}
		if why != "" {
			reason, texts = cmp.Or(reason, why), append(texts, "pair "+p.Name+": "+text)
		}
		pending = pending || s == nil
	}
	switch {
	case pending && time.Since(m.began) < settling:
		return "", "", "", true
	case len(sight.Pairs) == 0:
		return "", "", "", false
	case len(texts) > 0:
		return spec.ConditionFalse, reason, strings.Join(texts, "; "), false
	}
	return spec.ConditionTrue, "Ready", "", false
}

// Stream implements api.Streamer.
func (m *Manager) Stream(pair, node string) (func(net.Conn), error) {
	p, driver, err := m.ofPeer(pair, node)
	if err != nil {
		return nil, err
	}
	if p.Leads() {
		return nil, &api.Error{StatusCode: http.StatusForbidden, Reason: trust.ReasonNotAllowed, Message: fmt.Sprintf("pair %q is led by %s on this node's account, not by %s", pair, p.Leader, node)}
	}
	return func(conn net.Conn) { m.take(driver, pair, m.Limit(pair, conn, p.Limits.Bandwidth)) }, nil
}

// take gives a stream to a pair's side, and ends an earlier one: a leader has one at a time, so that the other is of a connection
// that broke without a word.
func (m *Manager) take(driver replication.Driver, pair string, stream io.ReadWriteCloser) {
	ctx, cancel := context.WithCancel(context.Background())
	m.mu.Lock()
	if earlier := m.streams[pair]; earlier != nil {
		earlier()
	}
	m.streams[pair] = cancel
	m.mu.Unlock()
	defer cancel()
	if err := driver.Accept(ctx, pair, stream); err != nil {
		m.cfg.Log.Info("a stream of a pair has ended", "pair", pair, "error", err)
	}
}

// Close ends all streams.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cancel := range m.streams {
		cancel()
	}
	clear(m.streams)
}

// Names returns the pairs that are looked at, sorted.
func (m *Manager) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.sides))
}
