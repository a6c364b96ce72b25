package databases

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// lookInterval is how often a server is looked at, lookGap how soon again when others have news.
	lookInterval = 300 * time.Millisecond
	lookGap      = 50 * time.Millisecond
	// lookPatience bounds one look, beyond what engines promise.
	lookPatience = 3 * time.Second
)

// part is this node's member of one database. Its watcher alone touches what is not under mu.
type part struct {
	m      *Manager
	name   string
	engine spec.DatabaseEngine
	driver database.Driver
	log    *slog.Logger

	journal   recovery.Journal
	journaled bool
	// id and position are those of the time in no group, "" otherwise; proposal is what is proposed under that id.
	id, position string
	proposal     *spec.RecoveryProposal
	orders       map[[2]string]database.Order
	// doing is what is being done, nil for nothing; failed is what acts failed with last, by name, while they go on to.
	doing  *act
	failed map[string]string
	// applied is the digest of the member that was applied last, tried that of the one that was to be, maintained that of the one that
	// was maintained last and of who was in the group then.
	applied, tried, maintained   string
	told                         Generations
	applyAt, maintainAt, checkAt time.Time
	applyPause                   time.Duration
	applyError, maintainError    error
	joinAt                       time.Time
	joinPause                    time.Duration
	joinError                    error
	findings                     []spec.Finding
	// notThere are the reports of members that were not there to join, until disbelieved.
	notThere    map[string]uint64
	disbelieved time.Time
	// ready tells that the server was prepared once, if with other settings than it should have.
	ready bool
	// turn is what this member, as primary, has said of the rollout, and since when.
	turn      recovery.RolloutStep
	turnSince time.Time
	handAt    time.Time
	// unfitAt is since when this member, unfit, is the primary all the same; zero before it has tried to hand over.
	unfitAt   time.Time
	last      spec.DatabaseStatus
	published bool
	over      bool

	// asked wakes the watcher for a switchover.
	asked chan struct{}

	mu              sync.Mutex
	isOver          bool
	reason, message string
	switchover      *switchover
}

func newPart(m *Manager, name string, engine spec.DatabaseEngine) *part {
	p := &part{
		m: m, name: name, engine: engine, driver: m.cfg.Engines[engine], log: m.cfg.Log.With("database", name),
		orders: map[[2]string]database.Order{}, failed: map[string]string{}, asked: make(chan struct{}, 1),
		reason: string(recovery.ReasonWaiting), message: "has just started",
	}
	if kept, ok := m.kept[name]; ok {
		p.last = kept
		p.turn = recovery.RolloutStep{Turn: kept.Rollout.Turn, TurnFor: kept.Rollout.TurnFor, Stopped: kept.Rollout.Stopped}
		p.turnSince = time.Now()
	}
	return p
}

func (p *part) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isOver
}

// condition returns why the member is not as it should be, "" when it is.
func (p *part) condition() (reason, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason, p.message
}

// run watches the member until ctx ends or the member is removed. It fails only when a test cuts it.
func (p *part) run(ctx context.Context) error {
	defer p.finish()
	if p.driver == nil {
		p.say("Failed", "this agent does not know engine "+string(p.engine)+": update it")
		<-ctx.Done()
		return nil
	}
	if err := p.load(); err != nil {
		p.say("Failed", err.Error())
		p.m.publish(p.name, spec.DatabaseStatus{State: spec.MemberFailed, Since: p.m.cfg.Now().UTC(), Problem: err.Error()}, true)
		<-ctx.Done()
		return nil
	}
	for {
		began := time.Now()
		sight, changed := p.m.cfg.See()
		if err := p.look(ctx, sight); err != nil {
			return err
		}
		if p.over || ctx.Err() != nil {
			return nil
		}
		gap := time.After(lookGap - time.Since(began))
		select {
		case <-ctx.Done():
			return nil
		case <-gap:
		}
		timer := time.NewTimer(lookInterval - time.Since(began))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-p.asked:
		case <-p.doing.ends():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// finish waits for what is being done; its context has ended with the watcher's.
func (p *part) finish() {
	if p.doing != nil {
		p.doing.cancel()
		<-p.doing.done
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isOver = true
	p.switchover.end("busy", "the agent of this node stops")
}

func (p *part) say(reason, message string) {
	p.mu.Lock()
	changed := p.reason != reason || p.message != message
	p.reason, p.message = reason, message
	p.mu.Unlock()
	if changed {
		p.m.cfg.Changed(false)
	}
}

// look looks at the server once, decides, begins what is to be done, and publishes.
func (p *part) look(ctx context.Context, sight Sight) error {
	p.settle()
	st := p.ask(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the look was cut short by the end of ctx, which is no error
	}
	d, described := find(sight, p.name)
	view := view{d: d, described: described, generations: sight.Generations(p.name), st: st, evidence: p.evidence(ctx, d, st, sight)}
	var decided recovery.Decision
	switch {
	case !sight.Known:
	case sight.Gone(p.name), described && (!d.SelfVotes() || p.journaled && p.journal.Group != d.Group):
		p.takeAway(ctx)
		if p.over {
			p.m.forget(p.name)
			return nil
		}
	case described:
		var err error
		if decided, err = p.decide(ctx, view); err != nil {
			return err
		}
	}
	p.tell(view, decided)
	return nil
}

// view is what one look has found.
type view struct {
	d         topology.Database
	described bool
	// generations are those of the objects that d is from.
	generations Generations
	st          database.Status
	evidence    recovery.Evidence
}

func find(sight Sight, name string) (topology.Database, bool) {
	i := slices.IndexFunc(sight.Databases, func(d topology.Database) bool { return d.Name == name })
	if i < 0 {
		return topology.Database{}, false
	}
	return sight.Databases[i], true
}

// ask returns how the server is, and keeps the outage ID: it holds from one look that finds the member in no group to the first
// that does not, or until something is done about it.
func (p *part) ask(ctx context.Context) database.Status {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	st, err := p.driver.Status(ctx)
	if err != nil {
		st = database.Status{State: spec.MemberDown, Problem: err.Error()}
	}
	if st.State != spec.MemberStranded || p.doing.moves() {
		p.id, p.position, p.proposal = "", "", nil
		return st
	}
	if p.id != "" {
		return st
	}
	position := ""
	if !st.Fresh {
		if position, err = p.driver.Position(ctx); err != nil {
			p.log.Warn("the member's position is not known yet", "error", err)
			return st
		}
	}
	p.renew()
	p.position = position
	return st
}

// renew takes another outage ID, which takes back what was proposed under the one before.
func (p *part) renew() { p.id, p.proposal = rand.Text()[:16], nil }

func (p *part) evidence(ctx context.Context, d topology.Database, st database.Status, sight Sight) recovery.Evidence {
	e := recovery.Evidence{
		Database: p.name, Self: p.m.cfg.Node, Votes: d.Votes, Bootstrap: d.Bootstrap, Recovery: d.Recovery, Journal: p.journal,
		Own:   recovery.Own{State: st.State, Fresh: st.Fresh, View: st.View, Position: p.position, ID: p.id, Proposal: p.proposal},
		Heard: map[string]recovery.Report{}, Known: map[string]recovery.Report{},
		Compare: func(a, b string) (database.Order, error) { return p.compare(ctx, a, b) },
	}
	if !p.journaled {
		e.Journal = recovery.Journal{Group: d.Group}
	}
	fresh := p.m.hearing.listen(sight.Statuses)
	for _, m := range d.Members {
		e.Members = append(e.Members, recovery.Voter{Node: m.Node, Weight: m.Weight})
		status, known := sight.Statuses[m.Node]
		if said, says := status.Databases[p.name]; known && says && m.Node != p.m.cfg.Node {
			r := recovery.Report{DatabaseStatus: said, Sequence: status.Sequence, Seen: status.Reported.UTC().Format(time.RFC3339)}
			if fresh[m.Node] && !p.disbelieves(m.Node, r) {
				e.Heard[m.Node] = r
			} else {
				e.Known[m.Node] = r
			}
		} else if known && m.Node != p.m.cfg.Node {
			e.Known[m.Node] = recovery.Report{Seen: status.Reported.UTC().Format(time.RFC3339)}
		}
	}
	return e
}

// disbelieves tells whether a member that says that it is online is not believed: it was not there to join, so that what it
// said may be from before an outage, told again by somebody else.
func (p *part) disbelieves(node string, r recovery.Report) bool {
	return r.State == spec.MemberOnline && time.Now().Before(p.disbelieved) && r.Sequence <= p.notThere[node]
}

// compare asks the local server how two positions relate, once for each pair.
func (p *part) compare(ctx context.Context, a, b string) (database.Order, error) {
	if order, known := p.orders[[2]string{a, b}]; known {
		return order, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	order, err := p.driver.Compare(ctx, a, b)
	if err != nil {
		return order, err
	}
	const most = 1000
	if len(p.orders) >= most {
		clear(p.orders)
	}
	p.orders[[2]string{a, b}] = order
	return order, nil
}

// tell publishes what this member says of itself.
func (p *part) tell(v view, decided recovery.Decision) {
	s := spec.DatabaseStatus{
		State: v.st.State, Version: v.st.Version, Primary: v.st.Primary, Writable: v.st.Writable, View: v.st.View,
		Lag: v.st.Lag.Seconds(), Queue: v.st.Queue, Progress: v.st.Progress, Problem: v.st.Problem, Incarnation: p.journal.Incarnation,
		Unfit: v.st.Unfit, Findings: p.findings, Rollout: p.rollout(v.st),
	}
	if p.id != "" {
		s.Position = p.position
		s.Outage = &spec.OutageStatus{ID: p.id, Base: p.journal.Base, Proposal: p.proposal, Promise: p.journal.Promise}
	}
	reason, message := p.judge(v, decided)
	switch {
	case s.State != spec.MemberStranded:
	case v.st.Fresh:
		s.State = spec.MemberPreparing
	case reason == string(recovery.ReasonDiverged):
		s.State = spec.MemberFailed
	}
	switch recovery.Reason(reason) {
	case "":
	case recovery.ReasonWaiting, recovery.ReasonJoining:
		s.Progress = cmpFirst(s.Progress, message)
	default:
		s.Problem = message
	}
	s.Since = p.m.cfg.Now().UTC()
	if p.last.State == s.State && !p.last.Since.IsZero() {
		s.Since = p.last.Since
	}
	p.say(reason, message)
	changed, urgent := differs(p.last, s)
	if !p.published || changed {
		if p.last.State != s.State || p.last.Writable != s.Writable {
			p.log.Info("database member changed", "state", string(s.State), "writable", s.Writable, "primary", s.Primary, "incarnation", s.Incarnation, "problem", s.Problem)
		}
		p.m.publish(p.name, s, urgent || !p.published)
		p.last, p.published = s, true
	}
	// Whoever reads that the member was told something must not read what it said before: that it needs no restart, say.
	p.m.looked(p.name, p.told)
}

// rollout is what the member says of a change that restarts members.
func (p *part) rollout(st database.Status) spec.RolloutStatus {
	r := spec.RolloutStatus{
		Generation: p.told.Database, Running: st.Running, Wanted: st.Running,
		Turn: p.turn.Turn, TurnFor: p.turn.TurnFor, Stopped: p.turn.Stopped,
	}
	if st.RestartNeeded {
		r.Wanted = st.Wanted
	}
	return r
}

// judge returns why the member is not as it should be, "" when it is.
func (p *part) judge(v view, decided recovery.Decision) (reason, message string) {
	diverged, isDiverged := asDiverged(p.joinError)
	switch {
	case p.applyError != nil:
		var refused *database.SettingsError
		if errors.As(p.applyError, &refused) {
			return "SettingsRefused", p.applyError.Error()
		}
		return "Failed", p.applyError.Error()
	case v.st.State == spec.MemberOnline && p.maintainError != nil:
		return "Failed", p.maintainError.Error()
	case v.st.State == spec.MemberOnline && v.st.Unfit != "":
		return "Unfit", v.st.Unfit
	case v.st.State == spec.MemberOnline:
		return "", ""
	case v.st.State == spec.MemberStranded && isDiverged && (decided.Reason == recovery.ReasonJoining || decided.Reason == ""):
		return string(recovery.ReasonDiverged), diverged.Error()
	case v.st.State == spec.MemberStranded && p.joinError != nil && decided.Reason == recovery.ReasonJoining:
		return "JoinFailed", "cannot join the group: " + p.joinError.Error()
	case v.st.State == spec.MemberPreparing:
		return string(recovery.ReasonWaiting), cmpFirst(v.st.Progress, "the server starts")
	case v.st.State == spec.MemberRecovering:
		return string(recovery.ReasonJoining), cmpFirst(v.st.Progress, "is in the group and takes over what it has missed")
	case v.st.State == spec.MemberDown && p.doing.moves():
		return string(recovery.ReasonJoining), cmpFirst(v.st.Progress, "the server is started again")
	case v.st.State == spec.MemberDown:
		return string(recovery.ReasonServerDown), cmpFirst(v.st.Problem, "the database server does not answer")
	case decided.Reason != "":
		return string(decided.Reason), decided.Message
	case p.doing != nil:
		return string(recovery.ReasonWaiting), p.doing.name
	}
	return string(recovery.ReasonWaiting), "is not in the group yet"
}

// differs tells whether two statuses say something else, and whether others wait for that.
func differs(a, b spec.DatabaseStatus) (changed, urgent bool) {
	loud := func(s spec.DatabaseStatus) string {
		parts := []string{string(s.State), s.Primary, s.Problem, s.Unfit, s.Position, s.Rollout.Running, s.Rollout.Wanted, s.Rollout.Turn, s.Rollout.TurnFor, s.Rollout.Stopped}
		return strings.Join(parts, "\x00")
	}
	urgent = loud(a) != loud(b) || a.Rollout.Generation != b.Rollout.Generation || a.Writable != b.Writable || a.Incarnation != b.Incarnation || !sameView(a.View, b.View) || !sameOutage(a.Outage, b.Outage)
	quiet := a.Progress != b.Progress || a.Version != b.Version || !slices.Equal(a.Findings, b.Findings) ||
		differMuch(a.Lag, b.Lag, 0.5) || differMuch(float64(a.Queue), float64(b.Queue), 100)
	return urgent || quiet, urgent
}

func differMuch(a, b, by float64) bool { return (a == 0) != (b == 0) || max(a-b, b-a) > by }
