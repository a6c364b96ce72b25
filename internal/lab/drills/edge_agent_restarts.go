//go:build linux

package drills

import (
	"context"
	"errors"
	"time"
)

// edgeAgentRestarts restarts the agents of those who hold a dead node out of service.
func edgeAgentRestarts(c *Cluster) Drill {
	v := &visitors{}
	const node = "hk2"
	return Drill{
		Name: "edge/agent-restarts", Proves: "agents that restart while they hold a dead node out of service neither give it back nor forget it",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return f.Kill(ctx, node) },
		Settle: func(ctx context.Context, f *Field) error {
			if err := removed(ctx, f, node); err != nil {
				return err
			}
			for _, n := range []string{"hk1", "sg1"} {
				if _, err := f.Exec(ctx, n, "systemctl", "restart", "atolld"); err != nil {
					return err
				}
			}
			return stays(ctx, f, node)
		},
		Heal: func(ctx context.Context, f *Field) error { return powerOn(ctx, f, node) },
		Verdict: func(_ context.Context, _ *Field, o Outcome) error {
			return errors.Join(inTime(o), v.servedAfter(o.Found[outFigure]+time.Second))
		},
	}
}
