//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// edgeLostMajority takes the power of two of three nodes.
func edgeLostMajority(c *Cluster) Drill {
	v := &visitors{}
	const survivor = "hk1"
	return Drill{
		Name: "edge/lost-majority", Proves: "the last of three nodes goes on to serve when the two others are dead", Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return errors.Join(f.Kill(ctx, "hk2"), f.Kill(ctx, "sg1")) },
		Settle: func(ctx context.Context, f *Field) error {
			// The edge learns by its monitor alone that they are dead: one node is no majority.
			//nolint:contextcheck // the monitors outlive the question
			return f.Await(ctx, "the edge has noticed", 90*time.Second, func(context.Context) error {
				for _, dead := range []string{"hk2", "sg1"} {
					if edgeFindsHealthy(f, dead) == nil {
						return fmt.Errorf("it finds %s healthy", dead)
					}
				}
				return edgeFindsHealthy(f, survivor)
			})
		},
		Heal: func(ctx context.Context, f *Field) error { return powerOn(ctx, f, "hk2", "sg1") },
		Verdict: func(context.Context, *Field, Outcome) error {
			return errors.Join(v.servedAfter(75*time.Second), v.lastAnsweredBy(survivor))
		},
	}
}
