package appcheck

import (
	"fmt"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// An application that has fallen more than FlapFalls times within FlapWindow is only believed to be well again once every
// check has succeeded for FlapRise. Each fall may break the sessions of those who are on the node, so one that keeps
// falling serves them worse than one that stays away.
const (
	FlapFalls  = 3
	FlapWindow = 10 * time.Minute
	FlapRise   = time.Minute
)

// Result is what one look at an application gave.
type Result struct {
	Well bool
	// Reason says in a few words what is wrong, without anything that the application itself said: strangers may read it.
	Reason string
	// Detail is Reason with what the application said, for the operator.
	Detail string
}

// State is the judgement of an application.
type State struct {
	// Known tells that there was a look at all. The other fields mean nothing before.
	Known bool
	Well  bool
	// Since is when Well last changed.
	Since time.Time
	// Reason and Detail say what is wrong, as in Result; empty while the application is well.
	Reason, Detail string
}

// Damper makes one judgement of many results. It is not safe for concurrent use.
type Damper struct {
	fall, rise int
	state      State
	// run is how many results in a row contradict the judgement, and began when the first of them came.
	run   int
	began time.Time
	falls []time.Time
}

// NewDamper returns a damper with the check's fall and rise that has seen nothing. The first result decides at once: an
// agent that is started again must not take a working application out of service.
func NewDamper(check spec.ApplicationCheck) *Damper {
	check = check.WithDefaults()
	return &Damper{fall: check.Fall, rise: check.Rise}
}

// Resume makes the damper begin with an earlier judgement in place of the first result.
func (d *Damper) Resume(s State) { d.state = s }

// State returns the judgement.
func (d *Damper) State() State { return d.state }

// Observe takes the next result, which came at now, and returns the judgement.
func (d *Damper) Observe(r Result, now time.Time) State {
	switch {
	case !d.state.Known:
		d.state = State{Known: true, Well: r.Well, Since: now, Reason: r.Reason, Detail: r.Detail}
		return d.state
	case r.Well == d.state.Well:
		d.run = 0
		if !r.Well && r.Reason != d.state.Reason {
			// The detail of one reason may differ at each look, which is no news worth spreading.
			d.state.Reason, d.state.Detail = r.Reason, r.Detail
		}
		return d.state
	}
	if d.run == 0 {
		d.began = now
	}
	d.run++
	if r.Well {
		d.improve(now)
	} else if d.run >= d.fall {
		d.state = State{Known: true, Since: now, Reason: r.Reason, Detail: r.Detail}
		d.run = 0
		d.falls = append(d.falls, now)
	}
	return d.state
}

// improve counts a success of an application that is unwell.
func (d *Damper) improve(now time.Time) {
	if d.run < d.rise {
		return
	}
	d.falls = slices.DeleteFunc(d.falls, func(at time.Time) bool { return now.Sub(at) > FlapWindow })
	if len(d.falls) > FlapFalls && now.Sub(d.began) < FlapRise {
		reason := fmt.Sprintf("answers again, but failed %d times in %s: has to be well for %s", len(d.falls), FlapWindow, FlapRise)
		d.state.Reason, d.state.Detail = reason, reason
		return
	}
	d.state = State{Known: true, Well: true, Since: now}
	d.run = 0
}
