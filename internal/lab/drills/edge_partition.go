//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// partitionLasts is how long the parts of a cluster do not hear each other: several times what a removal takes.
const partitionLasts = 15 * time.Second

// edgePartitionOneTwo cuts one node of three off from the others. The edge reaches them all.
func edgePartitionOneTwo(c *Cluster) Drill {
	v := &visitors{}
	const node = "sg1"
	return Drill{
		Name: "edge/partition-one-two", Proves: "of two parts that think each other dead only the majority takes the other out of service",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error {
			return cutBetween(ctx, f, []string{node}, []string{"hk1", "hk2"})
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := removed(ctx, f, node); err != nil {
				return err
			}
			return stays(ctx, f, node)
		},
		Heal:    func(ctx context.Context, f *Field) error { return f.HealAll(ctx) },
		Verdict: func(_ context.Context, _ *Field, o Outcome) error { return errors.Join(inTime(o), v.nobody()) },
	}
}

// edgePartitionTwoTwo cuts four nodes into halves. The edge reaches them all.
func edgePartitionTwoTwo(c *Cluster) Drill {
	v := &visitors{}
	left, right := []string{"hk1", "hk2"}, []string{"hk3", "sg1"}
	return Drill{
		Name: "edge/partition-two-two", Proves: "of two halves that think each other dead neither takes anybody out of service, and visitors are served",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return cutBetween(ctx, f, left, right) },
		Settle: func(ctx context.Context, f *Field) error {
			err := f.Measure(ctx, "each half finds the other dead", 30*time.Second, func(ctx context.Context) error {
				return errors.Join(deadTo(ctx, f, "hk1", right...), deadTo(ctx, f, "sg1", left...))
			})
			if err != nil {
				return err
			}
			return stays(ctx, f)
		},
		Heal: func(ctx context.Context, f *Field) error { return f.HealAll(ctx) },
		Verdict: func(context.Context, *Field, Outcome) error {
			return errors.Join(v.nobody(), v.answeredBySome(left...), v.answeredBySome(right...))
		},
	}
}

// stays demands that exactly these nodes are out of service for a while.
func stays(ctx context.Context, f *Field, nodes ...string) error {
	ctx, cancel := context.WithTimeout(ctx, partitionLasts)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := isOut(f, nodes...); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// deadTo demands that a node finds others dead on both ways: over the mesh and at their public addresses.
func deadTo(ctx context.Context, f *Field, observer string, others ...string) error {
	report, err := f.Report(ctx, edgeClusterName, observer)
	if err != nil {
		return err
	}
	for _, n := range others {
		if p := report.Peers[n]; p.Public == nil || !p.Public.Dead {
			return fmt.Errorf("%s does not find %s dead", observer, n)
		}
	}
	return nil
}
