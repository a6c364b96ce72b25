//go:build linux

package drills

import (
	"context"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// WithoutLab returns options whose clusters are nothing but names, and tells up and down of them.
func WithoutLab(up, down func(cluster string) error) Options {
	return Options{field: func(_ context.Context, c *Cluster) (*Field, func() error, error) {
		if err := up(c.Name); err != nil {
			return nil, nil, err
		}
		return &Field{Site: &rig.Site{}}, func() error { return down(c.Name) }, nil
	}}
}
