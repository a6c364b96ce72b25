package databases

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// How long each thing may take, and how often it is done when nothing has changed.
const (
	applyInterval    = 30 * time.Second
	applyPatience    = 5 * time.Minute
	maintainInterval = 30 * time.Second
	maintainPatience = time.Minute
	beginPatience    = 2 * time.Minute
	// joinPatience is long: a join may copy everything, over a slow line.
	joinPatience    = 24 * time.Hour
	restartPatience = 5 * time.Minute
	handPatience    = time.Minute
	checkInterval   = 5 * time.Minute
	pauseFirst      = 500 * time.Millisecond
	pauseMost       = 15 * time.Second
	divergedPause   = time.Minute
	// stepDownPatience is how long an unfit primary tries to hand over; stuckPatience how long it is the primary after that, or
	// without taking writes, before it leaves.
	stepDownPatience = 10 * time.Second
	stuckPatience    = 3 * time.Second
	// disbelief is how long a member that was not there to join is not believed to be online, unless it says so anew.
	disbelief = 15 * time.Second
)

// applies is the name of the act that prepares the server.
const applies = "the server is prepared"

// act is something that takes time.
type act struct {
	name string
	// membership tells that the member goes into a group or out of one: what it says of being in none is over.
	membership bool
	// join tells that it is a join; while that it makes sense only for such a server, nil for any.
	join   bool
	while  func(database.Status) bool
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	after  func(error)
}

// moves tells whether the member is on its way into a group or out of one.
func (a *act) moves() bool { return a != nil && a.membership }

// ends returns a channel that is closed when the act has ended; one that never is when there is none.
func (a *act) ends() <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.done
}

// begin begins something that takes time; after is called by the watcher when it has ended.
func (p *part) begin(ctx context.Context, a act, patience time.Duration, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	a.cancel, a.done = cancel, make(chan struct{})
	if a.membership {
		p.id, p.position, p.proposal = "", "", nil
		p.log.Info("database member acts", "act", a.name)
	}
	p.doing = &a
	go func() {
		defer close(a.done)
		defer cancel()
		a.err = do(ctx)
	}()
}

// settle takes note of what has ended.
func (p *part) settle() {
	a := p.doing
	if a == nil {
		return
	}
	select {
	case <-a.done:
	default:
		return
	}
	p.doing = nil
	p.note(a.name, a.err)
	if a.after != nil {
		a.after(a.err)
	}
}

// note logs how something has ended, and what fails again and again in the same way once.
func (p *part) note(name string, err error) {
	if err == nil {
		delete(p.failed, name)
		return
	}
	text := err.Error()
	if p.failed[name] == text {
		return
	}
	const most = 100
	if len(p.failed) >= most {
		clear(p.failed)
	}
	p.failed[name] = text
	p.log.Warn("database member: "+name, "error", err)
}

// A server that waits for a majority does not answer what is asked of it meanwhile, and there are decisions to take.
func notBlocked(st database.Status) bool { return st.State != spec.MemberBlocked }

func isPrimary(st database.Status) bool {
	return st.State == spec.MemberOnline && st.Primary != "" && st.Writable
}

func isOnline(st database.Status) bool { return st.State == spec.MemberOnline }

// takeAway removes the member.
func (p *part) takeAway(ctx context.Context) {
	if p.doing != nil {
		if p.doing.join {
			p.doing.cancel()
		}
		return
	}
	if time.Now().Before(p.applyAt) && p.applyError != nil {
		return
	}
	p.begin(ctx, act{name: "the member is removed", membership: true, after: func(err error) {
		if err == nil {
			err = p.m.cfg.State.Remove(journalPrefix + p.name)
		}
		p.applyError, p.over = err, err == nil
		p.applyAt = time.Now().Add(pauseMost)
	}}, applyPatience, func(ctx context.Context) error { return remove(ctx, p.driver, p.log) })
}

// decide decides what to do about the member, and begins it.
func (p *part) decide(ctx context.Context, v view) (recovery.Decision, error) {
	if !p.journaled {
		// Whatever is made from here on is found again by it.
		if err := p.save(recovery.Journal{Group: v.d.Group}); err != nil {
			p.applyError = err
			return recovery.Decision{}, nil //nolint:nilerr // it is told as the member's problem
		}
	}
	if p.doing != nil {
		// A join that has begun is not given up while nobody seems to be there: who is online is not so at every look, and the server would
		// go on with it.
		if p.doing.while != nil && !p.doing.while(v.st) {
			p.doing.cancel()
		}
		return recovery.Decision{Reason: recovery.ReasonJoining, Message: p.doing.name}, nil
	}
	member, err := p.m.member(v.d)
	if err != nil {
		p.applyError = err
		return recovery.Decision{}, nil //nolint:nilerr // it is told as the member's problem
	}
	digest := digestOf(member)
	if p.applyDue(digest, v.st) {
		p.apply(ctx, member, digest, v.generations)
		return recovery.Decision{}, nil
	}
	if p.applied == digest {
		// The newest one says the same.
		p.told = v.generations
	}
	d := recovery.Decide(v.evidence)
	if !p.ready {
		// Before the server was applied once, nothing is done; what others are free to do does not wait.
		return recovery.Decision{Reason: d.Reason, Message: d.Message}, nil
	}
	if err := p.save(d.Journal); err != nil {
		p.applyError = err
		return recovery.Decision{}, nil //nolint:nilerr // it is told as the member's problem
	}
	if d.Action != recovery.Wait {
		if err := p.m.cfg.Cut(string(d.Action)); err != nil {
			return d, err
		}
	}
	p.act(ctx, d, v)
	if p.doing == nil {
		p.serve(ctx, v, member, digest)
	}
	return d, nil
}

// act does what was decided.
func (p *part) act(ctx context.Context, d recovery.Decision, v view) {
	switch d.Action {
	case recovery.Wait:
		p.proposal = d.Proposal
	case recovery.Promise:
	case recovery.Propose:
		p.log.Info("full outage: this member proposes to begin", "incarnation", d.Proposal.Incarnation, "heard", len(d.Proposal.Heard))
		p.proposal = d.Proposal
	case recovery.Withdraw:
		p.renew()
	case recovery.Bootstrap:
		p.begin(ctx, act{name: "begins the group", membership: true, after: p.begun}, beginPatience, func(ctx context.Context) error {
			if err := p.check(ctx); err != nil {
				return err
			}
			return p.driver.Bootstrap(ctx)
		})
	case recovery.Begin:
		p.begin(ctx, act{name: fmt.Sprintf("begins life %d of the group", d.Journal.Incarnation), membership: true, after: p.begun}, beginPatience, p.driver.Bootstrap)
	case recovery.Join:
		if time.Now().Before(p.joinAt) {
			return
		}
		fresh := v.st.Fresh
		there := map[string]uint64{}
		for node, r := range v.evidence.Heard {
			if r.State == spec.MemberOnline {
				there[node] = r.Sequence
			}
		}
		p.begin(ctx, act{name: "joins the group", membership: true, join: true, after: func(err error) { p.joined(err, there) }}, joinPatience, func(ctx context.Context) error {
			if fresh {
				if err := p.check(ctx); err != nil {
					return err
				}
			}
			return p.driver.Join(ctx)
		})
	case recovery.Leave:
		p.begin(ctx, act{name: "leaves the group", membership: true}, leavePatience, p.driver.Leave)
	}
}

func (p *part) begun(err error) { p.joinError = err }

// joined takes note of how a join has gone; there are the members that were said to be online, and the reports that said so.
func (p *part) joined(err error, there map[string]uint64) {
	p.joinError, p.notThere = err, nil
	if err == nil {
		p.joinAt, p.joinPause = time.Time{}, 0
		return
	}
	var unfit *unfitError
	if _, diverged := asDiverged(err); !diverged && !errors.As(err, &unfit) {
		p.notThere, p.disbelieved = there, time.Now().Add(disbelief)
	}
	p.joinPause = min(max(2*p.joinPause, pauseFirst), pauseMost)
	if _, diverged := asDiverged(err); diverged {
		p.joinPause = divergedPause
	}
	p.joinAt = time.Now().Add(p.joinPause)
}

func asDiverged(err error) (*database.DivergedError, bool) {
	var diverged *database.DivergedError
	return diverged, errors.As(err, &diverged)
}

// unfitError says what keeps a member from joining.
type unfitError struct{ finding spec.Finding }

func (e *unfitError) Error() string { return e.finding.Check + ": " + e.finding.Message }

// check looks whether the member is fit to be in the group.
func (p *part) check(ctx context.Context) error {
	found, err := p.driver.Preflight(ctx)
	if err != nil {
		return fmt.Errorf("look whether the member can join: %w", err)
	}
	for _, f := range findings(found) {
		if f.Blocks {
			return &unfitError{f}
		}
	}
	return nil
}

func findings(found []database.Finding) []spec.Finding {
	var out []spec.Finding
	for _, f := range found {
		out = append(out, spec.Finding{Check: f.Check, Blocks: f.Severity == database.Blocks, Message: f.Message})
	}
	return out
}

// applyDue tells whether the server is to be applied now: for another description, for a server that is down, and from time
// to time.
func (p *part) applyDue(digest string, st database.Status) bool {
	now := time.Now()
	switch {
	case p.tried != digest:
		// What was wrong with another description says nothing of this one.
		p.applyError, p.applyPause = nil, 0
		return true
	case p.applied != digest && p.applyError == nil:
		return true
	case st.State == spec.MemberDown && p.applyError == nil:
		return now.After(p.applyAt.Add(pauseFirst - applyInterval))
	}
	return !now.Before(p.applyAt)
}

func (p *part) apply(ctx context.Context, member *database.Member, digest string, told Generations) {
	if p.tried != digest {
		// That another description is refused is news, also in the words of the one before.
		delete(p.failed, applies)
	}
	p.tried = digest
	p.begin(ctx, act{name: applies, while: notBlocked, after: func(err error) {
		p.applyError = err
		var refused *database.SettingsError
		p.ready = p.ready || err == nil || errors.As(err, &refused)
		if err != nil {
			p.applyPause = min(max(2*p.applyPause, pauseFirst), pauseMost)
			p.applyAt = time.Now().Add(p.applyPause)
			return
		}
		p.applied, p.told, p.applyPause, p.applyAt = digest, told, 0, time.Now().Add(applyInterval)
	}}, applyPatience, func(ctx context.Context) error { return p.driver.Apply(ctx, member) })
}

// digestOf returns what two equal members or configurations have in common, and no others. It keeps no secret.
func digestOf(m any) string {
	text, err := json.Marshal(m)
	if err != nil {
		// It has nothing that has no JSON.
		return ""
	}
	sum := sha256.Sum256(text)
	return string(sum[:])
}

// serve is for a member in a group: what the primary keeps, and who restarts next.
func (p *part) serve(ctx context.Context, v view, member *database.Member, digest string) {
	s := p.takeSwitchover()
	if v.st.State != spec.MemberOnline {
		p.turn = recovery.RolloutStep{}
		s.end("not-online", "the member that was asked is "+string(v.st.State)+" itself: ask another one")
		return
	}
	now := time.Now()
	if s != nil {
		p.switchOver(ctx, s, v.st)
		return
	}
	if p.roll(ctx, v) {
		return
	}
	// A router finds the next primary among the members that it was told of in time.
	kept := digest + strings.Join(slices.Sorted(maps.Keys(v.st.View)), ",")
	switch {
	case v.st.Writable && (p.maintained != kept && p.maintainError == nil || now.After(p.maintainAt)):
		p.begin(ctx, act{name: "accounts and schemas are kept", while: isPrimary, after: func(err error) {
			p.maintainError, p.maintained, p.maintainAt = err, kept, time.Now().Add(maintainInterval)
			if err != nil {
				p.maintainAt = time.Now().Add(pauseMost / 3)
			}
		}}, maintainPatience, func(ctx context.Context) error { return p.driver.Maintain(ctx, member) })
	case now.After(p.checkAt):
		var found []database.Finding
		p.begin(ctx, act{name: "the member is checked", while: isOnline, after: func(err error) {
			p.checkAt = time.Now().Add(checkInterval)
			if err == nil {
				p.findings = findings(found)
			}
		}}, maintainPatience, func(ctx context.Context) (err error) {
			found, err = p.driver.Preflight(ctx)
			return err
		})
	}
	if !v.st.Writable {
		p.maintainError = nil
	}
}

func sameView(a, b map[string]spec.MemberState) bool { return maps.Equal(a, b) }

func sameOutage(a, b *spec.OutageStatus) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
