package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// How an actor works. The vendor allows a token 1,200 requests in five minutes, for all nodes together; looking costs one request,
// two while something is removed.
const (
	// Takeover is how long each next actor leaves to the one before it.
	Takeover = 3 * time.Second
	// busy is how often the first actor looks while something is or should be removed, for busyFor since that is as wished; idle is
	// how often otherwise.
	busy    = 5 * time.Second
	busyFor = 5 * time.Minute
	idle    = 30 * time.Second
	// each next actor looks so many times less often than the one before it, and at least every seldom.
	rarer  = 3
	seldom = 10 * time.Minute
	// How long nothing is tried after a failure: what ends by itself is tried again soon and then less and less often.
	retryFirst   = time.Second
	retryMost    = 30 * time.Second
	retryRefused = time.Minute
	// blocked is the vendor's block of a token that made too many requests, when it does not say for how long.
	blocked = 5 * time.Minute
	// patience bounds one look and what follows from it.
	patience = 10 * time.Second
	// hiddenFor is how long a node may not answer in public although the mesh reaches it until that is told.
	hiddenFor = time.Minute
)

// Config is what an Actor works with.
type Config struct {
	// Self is the node's name.
	Self string
	// Open opens the vendor.
	Open Open
	// Unseal opens the token that is sealed to this node.
	Unseal func(sealed string) (string, error)
	// Now is a clock that only grows; nil is time.Now, whose times of one process do.
	Now func() time.Time
	// Log may be nil.
	Log *slog.Logger
}

// State is how an actor is, as a condition.
type State struct {
	Status          spec.ConditionStatus
	Reason, Message string
	// Out are the nodes that get no traffic as far as this node knows, sorted: their endpoints were out of service when it looked
	// last, or most nodes have found them dead and not well again for long enough since.
	Out []string
}

// Actor keeps the endpoints of dead nodes of one load balancer out of service. It keeps nothing that matters: what is removed is
// recorded at the vendor. Not safe for concurrent use.
type Actor struct {
	cfg    Config
	memory Memory

	// removal is what vendor was opened for.
	removal *spec.QuickRemoval
	vendor  Vendor
	// pools are as they were at the last look, nil before the first.
	pools  map[string]Pool
	looked time.Time
	// since is when what is wished was first not so, as far as is known; zero when all is as wished.
	since time.Time
	// settled is when all was as wished last after it had not been.
	settled time.Time
	// drain tells that the drain of sessions was put back as the operator wants it, as far as is known.
	drain bool
	// drainFailure is why that could not be changed, and drainUntil when to try again: endpoints are looked after nevertheless.
	drainFailure *Failure
	drainUntil   time.Time
	// failure is why the last look failed, nil when it did not; until is when to try again, tries how often it failed.
	failure *Failure
	until   time.Time
	tries   int
	// again is how often the vendor was not as wished although it was looked at.
	again int
	// hidden is since when nodes that the mesh reaches have never answered in public.
	hidden map[string]time.Time
}

// NewActor returns an actor that has done nothing yet.
func NewActor(cfg Config) *Actor {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Actor{cfg: cfg}
}

// Step does what is to be done now, which may take as long as a few requests to the vendor, and returns how things are. Call it
// whenever the sight changes, and once a second.
func (a *Actor) Step(ctx context.Context, s Sight) State {
	now := a.cfg.Now()
	agreement := Agree(s)
	wishes := a.memory.Judge(agreement, now)
	a.noticeHidden(s, now)
	st := a.step(ctx, s, agreement, wishes, now)
	st.Out = a.memory.Out()
	if a.pools != nil {
		st.Out = append(st.Out, Plan(a.removal.Endpoints, a.pools, nil).Removed...)
	}
	slices.Sort(st.Out)
	st.Out = slices.Compact(st.Out)
	return st
}

func (a *Actor) step(ctx context.Context, s Sight, agreement Agreement, wishes map[string]Wish, now time.Time) State {
	if err := a.open(s.Balancer.Removal); err != nil {
		return State{Status: spec.ConditionFalse, Reason: err.Reason, Message: err.Error()}
	}
	if a.vendor == nil {
		return State{Status: spec.ConditionTrue, Reason: "Watching", Message: "this node has no token: it tells what it sees, and others act"}
	}
	rank := slices.Index(agreement.Actors, s.Self)
	if rank < 0 {
		// Nobody agrees with this node on anything, or it does not find itself in the load balancer.
		return a.state(s, agreement, wishes)
	}
	if !now.Before(a.due(rank, s.Balancers, wishes, now)) {
		a.look(ctx, s, agreement, wishes)
	}
	return a.state(s, agreement, wishes)
}

// open opens the vendor anew when the load balancer's object has changed.
func (a *Actor) open(removal *spec.QuickRemoval) *Failure {
	if a.removal != nil && reflect.DeepEqual(*a.removal, *removal) {
		return nil
	}
	*a = Actor{cfg: a.cfg, memory: a.memory, hidden: a.hidden}
	sealed := removal.Tokens[a.cfg.Self]
	if sealed != "" {
		token, err := a.cfg.Unseal(sealed)
		if err != nil {
			return &Failure{Reason: ReasonToken, Err: fmt.Errorf("the API token for this node cannot be opened, apply again to have it sealed anew: %w", err)}
		}
		if a.vendor, err = a.cfg.Open(*removal, token); err != nil {
			return &Failure{Reason: ReasonRefused, Err: fmt.Errorf("the vendor's API cannot be used: %w", err)}
		}
	}
	kept := *removal
	a.removal = &kept
	return nil
}

// due is when this actor, the rank-th that can act, is to look at the vendor.
func (a *Actor) due(rank, balancers int, wishes map[string]Wish, now time.Time) time.Time {
	if a.done(wishes, now) {
		if !a.since.IsZero() {
			a.settled = now
		}
		a.since, a.again = time.Time{}, 0
	} else if a.since.IsZero() {
		a.since = now
	}
	turn := a.since.Add(time.Duration(rank) * Takeover)
	switch {
	case a.failure != nil:
		return a.until
	case !a.since.IsZero() && a.looked.Before(turn):
		return turn
	case !a.since.IsZero():
		// It looked and acted, and it is still not as wished: somebody changes it back.
		return a.looked.Add(min(retryFirst<<min(a.again, 10), busy))
	}
	pause := idle
	if a.busy(wishes) && now.Sub(a.settled) < busyFor {
		// A node that dies is missed by all of its load balancers at once.
		pause = busy * time.Duration(max(1, (balancers+1)/2))
	}
	for range rank {
		pause = min(rarer*pause, seldom)
	}
	return a.looked.Add(pause)
}

// done tells whether the vendor has everything as wished, as far as this actor knows.
func (a *Actor) done(wishes map[string]Wish, now time.Time) bool {
	if a.pools == nil {
		return false
	}
	c := Plan(a.removal.Endpoints, a.pools, wishes)
	return len(c.Pools) == 0 && (a.drain || len(c.Removed) > 0 || now.Before(a.drainUntil))
}

// noticeHidden notes which nodes the mesh reaches that have never answered in public.
func (a *Actor) noticeHidden(s Sight, now time.Time) {
	if a.hidden == nil {
		a.hidden = map[string]time.Time{}
	}
	for name := range s.Balancer.Nodes {
		p := s.Reports[s.Self].Peers[name]
		if _, noted := a.hidden[name]; name == s.Self || p.Public != nil || !p.Reachable {
			delete(a.hidden, name)
		} else if !noted {
			a.hidden[name] = now
		}
	}
}

// hiddenNow returns those for which that is not just the beginning, sorted.
func (a *Actor) hiddenNow() []string {
	var out []string
	for name, since := range a.hidden {
		if a.cfg.Now().Sub(since) >= hiddenFor {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (a *Actor) busy(wishes map[string]Wish) bool {
	for _, w := range wishes {
		if w == Remove {
			return true
		}
	}
	return len(Plan(a.removal.Endpoints, a.pools, nil).Removed) > 0
}

// look asks the vendor how things are and makes them as wished.
func (a *Actor) look(ctx context.Context, s Sight, agreement Agreement, wishes map[string]Wish) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := a.act(ctx, s, agreement, wishes)
	now := a.cfg.Now()
	a.looked = now
	a.again++
	if err == nil {
		a.failure, a.until, a.tries = nil, time.Time{}, 0
		return
	}
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return // the agent ends
	}
	failure := failureOf(err)
	if a.failure == nil || a.failure.Reason != failure.Reason {
		a.cfg.Log.Error("the load balancer's pools cannot be looked after", "hostname", s.Hostname, "reason", failure.Reason, "error", err)
	}
	a.failure, a.until = failure, now.Add(failure.pause(a.tries))
	a.tries++
}

func (a *Actor) act(ctx context.Context, s Sight, agreement Agreement, wishes map[string]Wish) error {
	ids := map[string]bool{}
	for _, e := range a.removal.Endpoints {
		ids[e.Pool] = true
	}
	pools, err := a.vendor.Pools(ctx, slices.Sorted(maps.Keys(ids)))
	if err != nil {
		return err
	}
	a.pools = pools
	changes := Plan(a.removal.Endpoints, pools, wishes)
	var failed error
	for _, id := range slices.Sorted(maps.Keys(changes.Pools)) {
		pool, err := a.vendor.SetRemoved(ctx, id, changes.Pools[id])
		if err != nil {
			// The next pool may do, when it is not the token's fault.
			failed = errors.Join(failed, err)
			continue
		}
		a.pools[id] = pool
		for _, name := range slices.Sorted(maps.Keys(changes.Pools[id])) {
			a.cfg.Log.Info("endpoint changed at the vendor", "hostname", s.Hostname, "endpoint", name, "removed", changes.Pools[id][name],
				"seen_dead_by", strings.Join(agreement.Dead[name], " "))
		}
	}
	if failed != nil {
		return failed
	}
	return a.setDrain(ctx, s.Hostname, len(changes.Removed) > 0)
}

// setDrain suspends the drain of sessions while something is removed. Then it is looked at each time, since an apply may have put
// it back. That it cannot be changed is no reason not to look after the endpoints.
func (a *Actor) setDrain(ctx context.Context, hostname string, suspend bool) error {
	if !suspend && a.drain || a.cfg.Now().Before(a.drainUntil) {
		return nil
	}
	err := a.vendor.SuspendDrain(ctx, suspend)
	if err == nil {
		a.drain, a.drainFailure, a.drainUntil = !suspend, nil, time.Time{}
		return nil
	}
	failure := failureOf(err)
	if failure.Reason == ReasonRateLimited || failure.Reason == ReasonTokenRefused || ctx.Err() != nil {
		return err
	}
	if a.drainFailure == nil || a.drainFailure.Reason != failure.Reason {
		a.cfg.Log.Error("sessions cannot be made to leave removed endpoints", "hostname", hostname, "reason", failure.Reason, "error", err)
	}
	a.drain, a.drainFailure, a.drainUntil = false, failure, a.cfg.Now().Add(failure.pause(0))
	return nil
}

// state describes how things are.
func (a *Actor) state(s Sight, agreement Agreement, wishes map[string]Wish) State {
	st := State{Status: spec.ConditionTrue, Reason: "Ready"}
	plan := Plan(a.removal.Endpoints, a.pools, wishes)
	var texts []string
	for _, name := range plan.Removed {
		text := name + " is out of service at the vendor"
		if by := agreement.Dead[name]; len(by) > 0 {
			text += fmt.Sprintf(": %s see it dead, %d of %d nodes", strings.Join(by, ", "), len(by), len(s.Balancer.Nodes))
		} else if wishes[name] == Leave {
			text += " until most nodes have seen it well for a while"
		}
		texts = append(texts, text)
		st.Reason = spec.ReasonRemoved
	}
	bad := func(reason, text string) {
		st.Status, st.Reason = spec.ConditionFalse, reason
		texts = append([]string{text}, texts...)
	}
	switch {
	case a.failure != nil:
		bad(a.failure.Reason, a.failure.remedied())
	case a.drainFailure != nil:
		bad(a.drainFailure.Reason, "sessions of removed endpoints cannot be moved at once: "+a.drainFailure.remedied())
	case a.pools == nil:
		if len(agreement.Actors) == 0 {
			st.Status, st.Reason = spec.ConditionUnknown, "NotHeard"
			texts = append(texts, "not enough nodes have been heard yet")
		} else {
			st.Status, st.Reason = spec.ConditionUnknown, "NotLooked"
			texts = append(texts, "the pools have not been looked at yet")
		}
	case len(plan.Missing) > 0:
		bad(ReasonMissing, "the vendor does not have "+strings.Join(plan.Missing, ", ")+"; apply again")
	case len(a.hiddenNow()) > 0:
		bad(ReasonHidden, fmt.Sprintf("the health endpoint of %s has never answered this node at a public address, so it is not known whether it is "+
			"dead: let the nodes reach each other there", strings.Join(a.hiddenNow(), ", ")))
	case len(plan.Last) > 0:
		bad(ReasonLast, strings.Join(plan.Last, ", ")+" is dead but stays in service: its endpoint is the last one")
	}
	st.Message = strings.Join(texts, "; ")
	return st
}
