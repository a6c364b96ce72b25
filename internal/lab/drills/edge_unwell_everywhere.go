//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/demo"
)

// edgeUnwellEverywhere makes every node's application find itself unwell at once, although each serves.
func edgeUnwellEverywhere(c *Cluster) Drill {
	v := &visitors{}
	nodes := []string{"hk1", "hk2", "sg1"}
	return Drill{
		Name: "edge/unwell-everywhere", Proves: "when the application's check fails on every node at once, visitors are served all the same", Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error {
			for _, n := range nodes {
				if _, err := f.Exec(ctx, n, "touch", demo.UnreadyFile); err != nil {
					return err
				}
			}
			return nil
		},
		Settle: func(ctx context.Context, f *Field) error {
			return f.Measure(ctx, "one node is kept in service and the others are not", 20*time.Second, func(ctx context.Context) error {
				fit := 0
				for _, n := range nodes {
					h, err := f.HealthFor(ctx, n, edgeHost)
					if err != nil {
						return err
					}
					if h.Healthy {
						fit++
					}
				}
				if fit != 1 {
					return fmt.Errorf("%d nodes are fit", fit)
				}
				return nil
			})
		},
		Heal: func(ctx context.Context, f *Field) error {
			var errs []error
			for _, n := range nodes {
				_, err := f.Exec(ctx, n, "rm", "-f", demo.UnreadyFile)
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		},
		Verdict: func(context.Context, *Field, Outcome) error { return v.nobody() },
	}
}
