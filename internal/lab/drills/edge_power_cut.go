//go:build linux

package drills

import (
	"context"
	"errors"
	"time"
)

// connectPatience is how long the edge waits for a connection to a node before it tries another one, as the vendor documents it, with
// some room: a visitor who is sent to a dead node before the nodes have taken it out waits so long, and is served then.
const connectPatience = 22 * time.Second

// edgePowerCut takes a node's power.
func edgePowerCut(c *Cluster) Drill {
	v := &visitors{}
	const node = "sg1"
	return Drill{
		Name: "edge/power-cut", Proves: "a node without power is out of service within 3 s, and visitors' sessions go on elsewhere",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return f.Kill(ctx, node) },
		Settle: func(ctx context.Context, f *Field) error { return removed(ctx, f, node) },
		Heal:   func(ctx context.Context, f *Field) error { return powerOn(ctx, f, node) },
		Verdict: func(_ context.Context, _ *Field, o Outcome) error {
			return errors.Join(inTime(o), v.servedAfter(o.Found[outFigure]+time.Second), v.notSlowerThan(connectPatience))
		},
	}
}
