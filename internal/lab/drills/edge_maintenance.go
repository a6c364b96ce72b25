//go:build linux

package drills

import (
	"context"
	"errors"
	"time"
)

// edgeMaintenance takes a node out of service by the operator's command.
func edgeMaintenance(c *Cluster) Drill {
	v := &visitors{}
	const node = "hk2"
	return Drill{
		Name: "edge/maintenance", Proves: "a node that the operator takes out of service fails nobody, and serves nobody any more", Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error {
			_, err := f.Atoll(ctx, "maintenance", "enter", node, "--reason", "a drill")
			return err
		},
		Heal: func(ctx context.Context, f *Field) error {
			_, err := f.Atoll(ctx, "maintenance", "leave", node)
			return err
		},
		Verdict: func(context.Context, *Field, Outcome) error {
			return errors.Join(v.nobody(), v.leaves(node), v.notSlowerThan(5*time.Second))
		},
	}
}
