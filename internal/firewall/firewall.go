package firewall

import (
	"context"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// maxAttempts is how many trials of a filter a reboot may interrupt before it counts as taken back.
	maxAttempts = 3
	// retryAfter is when a filter is tried again that no other node has confirmed, which may be the others' fault. One that the operator
	// did not come through is not tried again by itself.
	retryAfter = 10 * time.Minute
	// handshake is how old a trial has to be for a connection to count: one that the kernel made just before may be accepted later.
	handshake = 500 * time.Millisecond
)

// Phase is how a filter is.
type Phase string

// The phases.
const (
	// Off is no filter.
	Off Phase = "off"
	// Enforced is a filter that holds.
	Enforced Phase = "enforced"
	// OnTrial is a filter that holds until its time is over, unless somebody comes through.
	OnTrial Phase = "trial"
	// TakenBack is a filter that nobody came through; the one before holds.
	TakenBack Phase = "taken back"
)

// State is how the filter is.
type State struct {
	Phase Phase
	// Since is when a trial began or was taken back.
	Since time.Time
	// Operator tells that it is the operator who has to come through, or did not.
	Operator bool
	// Interrupted tells that a filter was taken back since the machine went down in each trial.
	Interrupted bool
	// Before tells that another filter holds while this one is taken back, or will when its trial fails.
	Before bool
	// Within is how long the trial lasts.
	Within time.Duration
}

// Firewall is the packet filter of a machine. Its methods may be called from several goroutines; two of one machine must not be used
// at once.
type Firewall struct {
	sys host.System
	dir string
	now func() time.Time

	mu sync.Mutex
	// looked tells that it is known whether an earlier process has left anything.
	looked bool
	// loaded is the table as it was right after this process had loaded it.
	loaded table
	// trying tells that a filter is on trial, since when as far as this process knows: connections that it accepted later have come
	// through. Operator and peer tell who did.
	trying         bool
	since          time.Time
	operator, peer bool
}

// New returns the filter of a machine, which keeps what it must remember in dir. Now is the clock; nil is the machine's.
func New(sys host.System, dir string, now func() time.Time) *Firewall {
	if now == nil {
		now = time.Now
	}
	return &Firewall{sys: sys, dir: dir, now: now, since: time.Now()}
}

// Trying tells whether a filter is on trial, so that somebody has to come through.
func (f *Firewall) Trying() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trying
}

// Passed tells that the operator or another node called over a connection that was accepted at that time. It takes effect with the
// next Apply.
func (f *Firewall) Passed(operator bool, accepted time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.trying || accepted.Sub(f.since) < handshake {
		return
	}
	f.operator, f.peer = f.operator || operator, f.peer || !operator
}

// Apply makes the filter as wanted, and says how it is. Nil removes everything that was made. It may be called many times with the
// same filter and then changes nothing but what others have changed, and is to be called every few seconds while a filter is on trial.
// A filter that keeps nobody out who got in before at the ports by which the node is administered and reached by other nodes holds at
// once; every other one is tried first.
func (f *Firewall) Apply(ctx context.Context, want *topology.HostFirewall) (State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, err := f.load()
	if err != nil {
		return State{}, err
	}
	if want == nil {
		return State{Phase: Off}, f.remove(ctx, r)
	}
	now, err := f.look(ctx)
	if err != nil {
		return State{}, err
	}
	var p previous
	if r.Trial != nil {
		tried := *r.Trial
		end, err := f.judge(ctx, &r, now, want)
		if err != nil {
			return State{}, err
		}
		switch {
		case end == goesOn:
			return f.trialState(r), nil
		case end == interrupted && alike(tried.Filter, want):
			p.attempts = tried.Attempts
		case end == replaced && tried.Operator:
			p.deadline = tried.Began.Add(tried.Within)
		}
		if now, err = f.look(ctx); err != nil {
			return State{}, err
		}
	}
	f.trying = false
	return f.settle(ctx, r, now, want, p)
}

// previous is what a trial that has just ended leaves to the next one.
type previous struct {
	// attempts is how often the same filter was put on trial and the machine went down.
	attempts int
	// deadline is when the trial would have been over that another filter replaces, if it was the operator who had to come through:
	// changes that follow each other must not keep the operator out for longer.
	deadline time.Time
}

// ending is how a trial came to its end, if it did.
type ending int

const (
	goesOn ending = iota
	interrupted
	replaced
	decided
)

// judge looks at the filter on trial: whether it goes on, and otherwise how it came to an end, which is in the record then.
func (f *Firewall) judge(ctx context.Context, r *record, now table, want *topology.HostFirewall) (ending, error) {
	t := r.Trial
	if now.mark != f.onTrialRules(*r).mark() {
		// The machine has started anew, or somebody has removed the table.
		r.Trial = nil
		return interrupted, f.save(*r)
	}
	alive, err := f.onTrial(ctx)
	if err != nil {
		return goesOn, err
	}
	f.trying = true
	switch {
	case !alive:
		// Whoever has called may have come through the rules before it.
		r.Rejected, r.Trial = &rejected{Filter: t.Filter, At: f.now().UTC(), Operator: t.Operator}, nil
		return decided, f.save(*r)
	case f.operator || f.peer && !t.Operator:
		return decided, f.confirm(ctx, r, t.Filter)
	case alike(t.Filter, want):
		return goesOn, nil
	}
	// Something else is wanted meanwhile.
	r.Trial = nil
	return replaced, f.save(*r)
}

// settle brings about what is wanted while nothing is on trial.
func (f *Firewall) settle(ctx context.Context, r record, now table, want *topology.HostFirewall, p previous) (State, error) {
	if r.Rejected != nil && !alike(r.Rejected.Filter, want) {
		r.Rejected = nil
		if err := f.save(r); err != nil {
			return State{}, err
		}
	}
	switch {
	case !risky(r.Confirmed, want):
		return State{Phase: Enforced}, f.enforce(ctx, &r, now, want)
	case r.Rejected != nil && (r.Rejected.Operator || f.now().Sub(r.Rejected.At) < retryAfter):
		return f.rejectedState(r), f.hold(ctx, r, now)
	}
	next := &trial{Filter: want, Began: f.now().UTC(), Within: want.ConfirmWithin, Attempts: p.attempts + 1, Operator: moved(r.Confirmed, want)}
	if !p.deadline.IsZero() && next.Operator {
		next.Within = min(next.Within, p.deadline.Sub(next.Began))
	}
	if p.attempts >= maxAttempts || next.Within < time.Second {
		r.Rejected = &rejected{Filter: want, At: next.Began, Operator: next.Operator, Interrupted: p.attempts >= maxAttempts}
		if err := f.save(r); err != nil {
			return State{}, err
		}
		return f.rejectedState(r), f.hold(ctx, r, now)
	}
	r.Rejected, r.Trial = nil, next
	return f.try(ctx, r)
}

// enforce makes a filter hold that was confirmed or needs not to be.
func (f *Firewall) enforce(ctx context.Context, r *record, now table, want *topology.HostFirewall) error {
	if !alike(r.Confirmed, want) || r.Rejected != nil {
		if err := f.remember(ctx, r, want); err != nil {
			return err
		}
	} else if err := f.atBoot(ctx, want); err != nil {
		return err
	}
	return f.hold(ctx, *r, now)
}

// confirm makes a filter that somebody came through the one that holds.
func (f *Firewall) confirm(ctx context.Context, r *record, filter *topology.HostFirewall) error {
	if err := f.remember(ctx, r, filter); err != nil {
		return err
	}
	return f.put(ctx, ruleset{filter: filter})
}

// remember puts a filter onto the disk as the confirmed one. The kernel follows: whatever comes between, it is the one that holds.
func (f *Firewall) remember(ctx context.Context, r *record, filter *topology.HostFirewall) error {
	if err := f.atBoot(ctx, filter); err != nil {
		return err
	}
	*r = record{Confirmed: filter}
	return f.save(*r)
}

// atBoot makes the machine start with a filter.
func (f *Firewall) atBoot(ctx context.Context, filter *topology.HostFirewall) error {
	if _, err := f.sys.WriteFile(path.Join(f.dir, scriptName), []byte(ruleset{filter: filter}.script(nil)), 0o600); err != nil {
		return fmt.Errorf("keep the firewall for the next boot: %w", err)
	}
	if _, err := f.sys.Units().Ensure(ctx, f.unit()); err != nil {
		return fmt.Errorf("load the firewall at boot: %w", err)
	}
	return nil
}

// try puts the record's filter on trial.
func (f *Firewall) try(ctx context.Context, r record) (State, error) {
	if err := f.save(r); err != nil {
		return State{}, err
	}
	if err := f.put(ctx, f.onTrialRules(r)); err != nil {
		// It was never in force.
		r.Trial = nil
		if saveErr := f.save(r); saveErr != nil {
			return State{}, fmt.Errorf("%w; %w", err, saveErr)
		}
		return State{}, err
	}
	f.trying, f.since, f.operator, f.peer = true, time.Now(), false, false
	return f.trialState(r), nil
}

// onTrialRules is what the kernel has while a filter is on trial.
func (f *Firewall) onTrialRules(r record) ruleset {
	return ruleset{filter: r.Trial.Filter, before: r.Confirmed, trial: r.Trial.Within}
}

// remove takes back everything.
func (f *Firewall) remove(ctx context.Context, r record) error {
	f.trying = false
	if r.empty() && f.looked {
		return nil
	}
	if err := f.drop(ctx); err != nil {
		return err
	}
	status, err := f.sys.Units().Status(ctx, UnitName)
	if err != nil && !r.empty() {
		return fmt.Errorf("look at %s: %w", UnitName, err)
	}
	if err == nil && status.Exists {
		if _, err := f.sys.Units().Remove(ctx, UnitName); err != nil {
			return fmt.Errorf("remove %s: %w", UnitName, err)
		}
	}
	// The record goes last: without it nobody would come back to the rest.
	for _, name := range []string{scriptName, recordName} {
		if _, err := f.sys.Remove(path.Join(f.dir, name)); err != nil {
			return fmt.Errorf("remove what is known of the firewall: %w", err)
		}
	}
	f.looked, f.loaded = true, table{}
	return nil
}

func (f *Firewall) trialState(r record) State {
	return State{Phase: OnTrial, Since: r.Trial.Began, Operator: r.Trial.Operator, Before: r.Confirmed != nil, Within: r.Trial.Within}
}

func (f *Firewall) rejectedState(r record) State {
	return State{
		Phase: TakenBack, Since: r.Rejected.At, Operator: r.Rejected.Operator, Interrupted: r.Rejected.Interrupted, Before: r.Confirmed != nil,
		Within: r.Rejected.Filter.ConfirmWithin,
	}
}
