//go:build linux

package drills

import (
	"context"
	"errors"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// edgeCutOff takes a node's network.
func edgeCutOff(c *Cluster) Drill {
	v := &visitors{}
	const node = "hk2"
	return Drill{
		Name: "edge/cut-off", Proves: "a node that nobody reaches is out of service within 3 s, and comes back by itself",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return f.Cut(ctx, node, network.Everything, false) },
		Settle: func(ctx context.Context, f *Field) error { return removed(ctx, f, node) },
		Heal:   func(ctx context.Context, f *Field) error { return f.HealAll(ctx) },
		Verdict: func(_ context.Context, _ *Field, o Outcome) error {
			return errors.Join(inTime(o), v.servedAfter(o.Found[outFigure]+time.Second), v.notSlowerThan(connectPatience))
		},
	}
}
