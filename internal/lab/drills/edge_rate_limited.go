//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// edgeRateLimited lets a node die while the vendor refuses every request.
func edgeRateLimited(c *Cluster) Drill {
	const node, other, block = "hk1", "hk2", 20 * time.Second
	return Drill{
		Name: "edge/rate-limited", Proves: "nodes whom the vendor blocks say so, and take a dead one out as soon as the block is over", Cluster: c,
		Inject: func(ctx context.Context, f *Field) error {
			lift := f.Cloudflare().Inject(cloudflare.Fault{Status: http.StatusTooManyRequests, RetryAfter: block, Times: -1})
			time.AfterFunc(block, lift)
			return f.Kill(ctx, node)
		},
		Settle: func(ctx context.Context, f *Field) error {
			err := f.Measure(ctx, "the nodes say why", block, func(ctx context.Context) error {
				report, err := f.Report(ctx, edgeClusterName, other)
				if err != nil {
					return err
				}
				if c, _ := report.Condition(spec.ConditionEdgeReady); c.Reason != "RateLimited" {
					return fmt.Errorf("condition EdgeReady of %s is %s %s", other, c.Reason, c.Message)
				}
				return nil
			})
			if err != nil {
				return err
			}
			return f.Measure(ctx, outFigure, 2*time.Minute, func(context.Context) error { return isOut(f, node) })
		},
		Heal: func(ctx context.Context, f *Field) error { return powerOn(ctx, f, node) },
		Verdict: func(_ context.Context, _ *Field, o Outcome) error {
			if took := o.Found[outFigure]; took < block || took > block+10*time.Second {
				return errors.New("it was out of service after " + seconds(took) + ", the block took " + seconds(block))
			}
			return nil
		},
	}
}
