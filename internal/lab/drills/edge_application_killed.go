//go:build linux

package drills

import (
	"context"
	"errors"
	"time"
)

// edgeApplicationKilled kills the application of one node, which its service starts again after five seconds.
func edgeApplicationKilled(c *Cluster) Drill {
	v := &visitors{}
	const node = "hk1"
	return Drill{
		Name: "edge/application-killed", Proves: "when a node's application is killed, at most the requests that it was at fail",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return unit(ctx, f, node, "kill", "--signal=KILL") },
		Heal:   func(ctx context.Context, f *Field) error { return unit(ctx, f, node, "start") },
		Verdict: func(context.Context, *Field, Outcome) error {
			return errors.Join(v.servedAfter(time.Second), v.atMost(3))
		},
	}
}
