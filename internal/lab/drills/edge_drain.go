//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// edgeDrain takes a node out of service by Terraform.
func edgeDrain(c *Cluster) Drill {
	v := &visitors{}
	const node = "sg1"
	return Drill{
		Name: "edge/drain", Proves: "a node that Terraform takes out of service fails nobody, and keeps those who are on it", Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error {
			f.Work.Env = append(f.Work.Env, websiteWithout(node))
			return f.Apply(ctx)
		},
		Settle: func(ctx context.Context, f *Field) error {
			return f.Await(ctx, "the node is out of service", visitPatience, func(context.Context) error { return isOut(f, node) })
		},
		Heal: func(ctx context.Context, f *Field) error {
			f.Work.Env = append(f.Work.Env, website)
			return f.Apply(ctx)
		},
		Verdict: func(context.Context, *Field, Outcome) error {
			err := v.nobody()
			if v.report.Moved > 0 {
				err = errors.Join(err, fmt.Errorf("%d sessions moved", v.report.Moved))
			}
			return err
		},
	}
}

// websiteWithout is website with a node that is to get no new visitors.
func websiteWithout(node string) string {
	return strings.TrimSuffix(website, "}") + `, disabled = ["` + node + `"] }`
}
