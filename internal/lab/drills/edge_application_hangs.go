//go:build linux

package drills

import (
	"context"
	"errors"
	"time"
)

// hungObjective is how long a visitor may wait who was at an application when it began to hang: until a check of it has failed, ten
// seconds in which it might have been busy, and the answer of another node. Over a connection that the edge has kept there is no answer.
const hungObjective = 20 * time.Second

// edgeApplicationHangs stops a node's application without ending it: it takes connections and never answers.
func edgeApplicationHangs(c *Cluster) Drill {
	v := &visitors{}
	const node = "hk2"
	return Drill{
		Name: "edge/application-hangs", Proves: "when a node's application hangs, those whose requests it had wait for 20 s at most, and nobody who comes later fails",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return unit(ctx, f, node, "kill", "--signal=STOP") },
		Settle: func(ctx context.Context, f *Field) error {
			err := f.Measure(ctx, "the node is unfit", 20*time.Second, func(ctx context.Context) error {
				h, err := f.HealthFor(ctx, node, edgeHost)
				if err == nil && h.Healthy {
					err = errors.New("it is fit")
				}
				return err
			})
			// What waits has an end by then.
			pause(ctx, hungObjective)
			return err
		},
		Heal: func(ctx context.Context, f *Field) error { return unit(ctx, f, node, "kill", "--signal=CONT") },
		Verdict: func(context.Context, *Field, Outcome) error {
			return errors.Join(v.servedAfter(3*time.Second), v.notSlowerThan(hungObjective), v.leaves(node))
		},
	}
}
