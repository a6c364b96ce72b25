//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// edgeSessions lets visitors stay for a while, and then takes the power of a node.
func edgeSessions(c *Cluster, name string, stay time.Duration) Drill {
	v := &visitors{}
	const node = "sg1"
	return Drill{
		Name: name, Proves: fmt.Sprintf("visitors who are logged in stay on their nodes for %s under load, and move without being logged out when one dies", stay),
		Cluster: c, Traffic: v.begin, Before: stay,
		Inject: func(ctx context.Context, f *Field) error { return f.Kill(ctx, node) },
		Settle: func(ctx context.Context, f *Field) error { return removed(ctx, f, node) },
		Heal:   func(ctx context.Context, f *Field) error { return powerOn(ctx, f, node) },
		Verdict: func(_ context.Context, f *Field, o Outcome) error {
			early := v.report.MovedBefore(f.Injected.Sub(v.began))
			var errs []error
			if early > 0 {
				errs = append(errs, fmt.Errorf("%d sessions moved before anything happened", early))
			}
			if failed := v.report.Failed - v.event().Failed; failed > 0 {
				errs = append(errs, fmt.Errorf("%d requests failed before anything happened", failed))
			}
			if v.report.Moved == 0 {
				errs = append(errs, fmt.Errorf("none of %d sessions moved: the node had none", v.report.Sessions))
			}
			return errors.Join(append(errs, v.servedAfter(o.Found[outFigure]+time.Second), v.notSlowerThan(connectPatience))...)
		},
	}
}
