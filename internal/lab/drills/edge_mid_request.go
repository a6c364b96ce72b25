//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/demo"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/load"
)

// edgeMidRequest takes a node's power while long requests are at it.
func edgeMidRequest(c *Cluster) Drill {
	v := &visitors{}
	const node, each, rate, within = "hk1", 4 * time.Second, 5, 12 * time.Second
	var slow *load.Report
	ended := make(chan error, 1)
	return Drill{
		Name: "edge/mid-request", Proves: "of long requests those that the dead node was at fail, and no others", Cluster: c, Traffic: v.begin,
		Setup: func(ctx context.Context, f *Field) error {
			go func() {
				var err error
				slow, err = load.Run(ctx, load.Plan{
					URL: lab.EdgeURL + demo.SlowPath + "?for=" + each.String(), Host: edgeHost, Rate: rate, Duration: within, Timeout: visitPatience,
					Dial: f.Network().OperatorNamespace().Connect,
				})
				ended <- err
			}()
			return nil
		},
		Before: each + time.Second,
		Inject: func(ctx context.Context, f *Field) error { return f.Kill(ctx, node) },
		Settle: func(ctx context.Context, f *Field) error {
			err := removed(ctx, f, node)
			select {
			case slowErr := <-ended:
				return errors.Join(err, slowErr)
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		Heal: func(ctx context.Context, f *Field) error { return powerOn(ctx, f, node) },
		Verdict: func(_ context.Context, f *Field, o Outcome) error {
			f.Note("of %d requests of %s each, %d failed; answered by %s", slow.Requests, each, slow.Failed, nodesOf(slow.Nodes))
			// At most all that were under way when it died, and those that went there before it was out of service.
			most := int((each+o.Found[outFigure]).Seconds()+1) * rate
			var err error
			if slow.Failed > most {
				err = fmt.Errorf("%d of the long requests failed, no more than %d were at the dead node", slow.Failed, most)
			}
			return errors.Join(err, inTime(o), v.servedAfter(o.Found[outFigure]+time.Second))
		},
	}
}
