//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func healMesh(ctx context.Context, f *Field) error { return f.HealAll(ctx) }

// cut takes the way between two of three nodes.
func (m *meshOf) cut(l line) Drill {
	e := &echoes{line: l}
	return Drill{
		Name: m.prefix + "cut", Cluster: m.Cluster, Traffic: e.begin, Heal: healMesh,
		Proves: fmt.Sprintf("when the way between two nodes is cut, their packets go by the third within %s, and the link is called cut", seconds(m.reroute)),
		Inject: func(ctx context.Context, f *Field) error { return f.Cut(ctx, l.from, l.to, false) },
		Settle: func(ctx context.Context, f *Field) error {
			defer aMinute(ctx, f)
			return l.reported(ctx, f, spec.LinkCut, "")
		},
		Verdict: func(_ context.Context, f *Field, o Outcome) error {
			return errors.Join(outageWithin(o, m.reroute), e.promise(f.Injected, 0.96, 3))
		},
	}
}

// oneWay takes one direction of it.
func (m *meshOf) oneWay(l line) Drill {
	e := &echoes{line: l}
	return Drill{
		Name: m.prefix + "one-way", Cluster: m.Cluster, Traffic: e.begin, Heal: healMesh,
		Proves: fmt.Sprintf("when one direction between two nodes is cut, their packets go by the third within %s, and the direction is named", seconds(m.reroute)),
		Inject: func(ctx context.Context, f *Field) error { return f.Cut(ctx, l.from, l.to, true) },
		Settle: func(ctx context.Context, f *Field) error {
			defer aMinute(ctx, f)
			return l.reported(ctx, f, spec.LinkOneWay, spec.CauseFilteredPort, fmt.Sprintf("packets of %s do not arrive at UDP port 655 of %s", l.from, l.to))
		},
		Verdict: func(_ context.Context, f *Field, o Outcome) error {
			return errors.Join(outageWithin(o, m.reroute), e.promise(f.Injected, 0.96, 3))
		},
	}
}

func outageWithin(o Outcome, limit time.Duration) error {
	if o.Outage > limit {
		return fmt.Errorf("an echo was lost %s after the fault, promised are %s", seconds(o.Outage), seconds(limit))
	}
	return nil
}

// lossy makes the way lose packets in both directions.
func (m *meshOf) lossy(l line, percent int) Drill {
	e := &echoes{line: l}
	return Drill{
		Name: fmt.Sprintf("%sloss-%d", m.prefix, percent), Cluster: m.Cluster, Traffic: e.begin, Heal: healMesh,
		Proves: fmt.Sprintf("when the way between two nodes loses %d %% of the packets each way, theirs go by the third within 5 s: 98 %% of the echoes of the next minute are answered", percent),
		Inject: func(ctx context.Context, f *Field) error { return f.Loss(ctx, l.from, l.to, percent, false) },
		Settle: func(ctx context.Context, f *Field) error {
			defer aMinute(ctx, f)
			return l.reported(ctx, f, spec.LinkLossy, "")
		},
		Verdict: func(_ context.Context, f *Field, _ Outcome) error { return e.promise(f.Injected, 0.98, 6) },
	}
}

const (
	// usedAgain bounds how long a link that was left for the first time, at least half a minute ago, may take to be in use again when nothing is
	// lost any more.
	usedAgain = time.Minute
	// waysInAFlap is how often the way of packets may change while loss comes and goes five times.
	waysInAFlap = 7
)

// comesAndGoes makes the way lose packets for ten seconds of every twenty.
func (m *meshOf) comesAndGoes(l line) Drill {
	e := &echoes{line: l}
	// What the agents steer is left once. WireGuard's own routing believes in a link again sooner, and less each time.
	most, promised := 1, 0.97
	proves := "loss that comes and goes every ten seconds is left once, and the link is used again within a minute of the last"
	if m.driver == spec.MeshWireGuard {
		most, promised = waysInAFlap, 0.90
		proves = "loss that comes and goes every ten seconds is believed to be over later each time, and the link is used again within a minute of the last"
	}
	return Drill{
		Name: m.prefix + "loss-comes-and-goes", Cluster: m.Cluster, Traffic: e.begin, Heal: healMesh, Proves: proves,
		Inject: func(ctx context.Context, f *Field) error { return f.Loss(ctx, l.from, l.to, 40, false) },
		Settle: func(ctx context.Context, f *Field) error {
			way := &wayWatch{line: l}
			for range 5 {
				if err := way.during(ctx, f, 10*time.Second); err != nil {
					return err
				}
				if err := f.HealAll(ctx); err != nil {
					return err
				}
				if err := way.during(ctx, f, 10*time.Second); err != nil {
					return err
				}
				if err := f.Loss(ctx, l.from, l.to, 40, false); err != nil {
					return err
				}
			}
			if err := f.HealAll(ctx); err != nil {
				return err
			}
			healed := time.Now()
			f.Note("the way from %s to %s changed %d times", l.from, l.to, way.changes)
			if way.changes < 1 || way.changes > most {
				return fmt.Errorf("the way from %s to %s changed %d times, promised are 1 to %d", l.from, l.to, way.changes, most)
			}
			if err := f.Await(ctx, "the link is in use again", usedAgain, func(ctx context.Context) error { return l.direct(ctx, f) }); err != nil {
				return err
			}
			f.Found("the link is in use again, since the last loss ended", time.Since(healed))
			return nil
		},
		Verdict: func(_ context.Context, f *Field, _ Outcome) error {
			if share, _ := e.minute(f.Injected); share < promised {
				return fmt.Errorf("%.2f %% of the echoes of the first minute were answered, promised are %.2f %%", 100*share, 100*promised)
			}
			return nil
		},
	}
}

// direct demands that both ends use the direct link.
func (l line) direct(ctx context.Context, f *Field) error {
	return errors.Join(l.goes(ctx, f, l.from, l.to, true), l.goes(ctx, f, l.to, l.from, true))
}

// goes demands that a node reaches another directly, or not.
func (l line) goes(ctx context.Context, f *Field, from, to string, directly bool) error {
	report, err := f.Report(ctx, edgeClusterName, from)
	if err != nil {
		return err
	}
	if p := report.Peers[to]; !p.Reachable || p.Direct != directly {
		return fmt.Errorf("%s reaches %s: %+v", from, to, p)
	}
	return nil
}

// detourDies loses the node that packets go by since the direct link loses some.
func (m *meshOf) detourDies(l line) Drill {
	e := &echoes{line: l}
	var healed time.Time
	return Drill{
		Name: m.prefix + "detour-dies", Cluster: m.Cluster, Traffic: e.begin,
		Proves: "a link that is left since it loses packets is used again when the node of the detour dies: a bad way is better than none",
		Setup: func(ctx context.Context, f *Field) error {
			if err := f.Loss(ctx, l.from, l.to, 20, false); err != nil {
				return err
			}
			return f.Await(ctx, "the link is left", time.Minute, func(ctx context.Context) error { return l.goes(ctx, f, l.from, l.to, false) })
		},
		Inject: func(ctx context.Context, f *Field) error { return f.Kill(ctx, l.third) },
		Settle: func(ctx context.Context, f *Field) error {
			if err := f.Measure(ctx, "the link is in use again", 30*time.Second, func(ctx context.Context) error { return l.goes(ctx, f, l.from, l.to, true) }); err != nil {
				return err
			}
			pause(ctx, 20*time.Second)
			// On a link that loses packets the echoes would never be calm.
			healed = time.Now()
			return f.HealAll(ctx)
		},
		Heal: func(ctx context.Context, f *Field) error { return errors.Join(f.HealAll(ctx), f.PowerOn(ctx, l.third)) },
		Verdict: func(_ context.Context, f *Field, _ Outcome) error {
			gap := e.longestGap(f.Injected)
			if late := e.longestGap(healed.Add(-15 * time.Second)); late > 2*time.Second {
				return fmt.Errorf("packets were held up for %s again afterwards", seconds(late))
			}
			if gap > 10*time.Second {
				return fmt.Errorf("nothing arrived for %s, promised are 10 s", seconds(gap))
			}
			return nil
		},
	}
}
