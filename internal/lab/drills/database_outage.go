//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
)

// writableObjective is how soon after the last machine has power writes must go on after an outage of all. On a quiet machine it
// is 10 s, which the benchmark measures.
const writableObjective = 20 * time.Second

// powerGap is how long after one machine the next one gets power: each has booted before the next one does.
const powerGap = 4 * time.Second

// databaseOutages takes the power of all members at once and gives it back in every order.
func databaseOutages(c *Cluster) []Drill {
	var list []Drill
	for _, order := range permutations(databaseNodes) {
		list = append(list, databaseOutage(c, order))
	}
	return list
}

// permutations returns every order of some names.
func permutations(names []string) [][]string {
	if len(names) < 2 {
		return [][]string{names}
	}
	var out [][]string
	for i, first := range names {
		var rest []string
		rest = append(append(rest, names[:i]...), names[i+1:]...)
		for _, order := range permutations(rest) {
			out = append(out, append([]string{first}, order...))
		}
	}
	return out
}

// databaseOutage takes the power of all members at once and gives it back in an order.
func databaseOutage(c *Cluster, order []string) Drill {
	const figure = "writes go on after the last one has power"
	w := &writers{}
	var last time.Time
	return Drill{
		Name: "database/outage-" + strings.Join(order, "-"), Cluster: c, Traffic: w.begin,
		Proves: "all members lose power at once and get it in the order " + strings.Join(order, ", ") + ": they come back by themselves, with everything",
		Inject: func(ctx context.Context, f *Field) error {
			done := make(chan error, len(order))
			for _, n := range order {
				go func() { done <- f.Kill(ctx, n) }()
			}
			var errs []error
			for range order {
				errs = append(errs, <-done)
			}
			return errors.Join(errs...)
		},
		Settle: func(ctx context.Context, f *Field) error {
			for i, n := range order {
				if i > 0 {
					pause(ctx, powerGap)
				}
				if err := f.PowerOn(ctx, n); err != nil {
					return err
				}
				last = time.Now()
			}
			before := w.crowd.Acknowledged()
			if err := f.Await(ctx, "a write is acknowledged", ReadyWithin, func(context.Context) error {
				if w.crowd.Acknowledged() == before {
					return errors.New("none is")
				}
				return nil
			}); err != nil {
				return err
			}
			f.Found(figure, time.Since(last))
			return w.whole(ctx, f)
		},
		Heal: healDatabase,
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			var late error
			if took := o.Found[figure]; took > writableObjective {
				late = fmt.Errorf("%s %s, promised are %s", figure, seconds(took), seconds(writableObjective))
			}
			return errors.Join(late, w.invariants(ctx, f, o))
		},
	}
}

// twoDeadLasts is how long two of three members are away. The first seconds of it the survivor does not know yet.
const (
	twoDeadLasts = 25 * time.Second
	twoDeadKnown = 2 * time.Second
)

// databaseTwoDead takes the power of the primary and of another member.
func databaseTwoDead(c *Cluster) Drill {
	w := &writers{}
	var healed time.Time
	return Drill{
		Name: "database/two-dead", Proves: "of three members one alone takes no writes, is still read from, and goes on when the others are back",
		Cluster: c, Traffic: w.begin,
		Inject: func(ctx context.Context, f *Field) error {
			others := w.database.Others(w.primary)
			w.survivors = others[1:]
			return errors.Join(f.Kill(ctx, w.primary), f.Kill(ctx, others[0]))
		},
		Settle: func(ctx context.Context, f *Field) error {
			pause(ctx, time.Until(f.Injected.Add(twoDeadLasts)))
			if err := readable(ctx, w.database.Reader(w.survivors[0])); err != nil {
				return fmt.Errorf("the survivor cannot be read from: %w", err)
			}
			healed = time.Now()
			if err := powerOn(ctx, f, databaseNodes...); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: healDatabase,
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			return errors.Join(w.silent(f.Injected.Add(twoDeadKnown), healed), w.invariants(ctx, f, o))
		},
	}
}

// silent demands that no write was acknowledged between two moments, by any way.
func (w *writers) silent(from, to time.Time) error {
	for _, one := range w.record.Acknowledged() {
		if one.Began.After(from) && one.Ended.Before(to) {
			return fmt.Errorf("a write by way of %s was acknowledged %s after the fault", one.By, seconds(one.Ended.Sub(w.fault)))
		}
	}
	for _, p := range w.probes {
		if p.Accepted && p.Began.After(from) && p.Ended.Before(to) {
			return fmt.Errorf("%s itself took a write %s after the fault", p.Member, seconds(p.Ended.Sub(w.fault)))
		}
	}
	return nil
}

// readable demands that a server answers an application's question.
func readable(ctx context.Context, s writer.Server) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := s.Value(ctx, `SELECT COUNT(*) FROM atoll_writes`)
	return err
}
