package agent

import (
	"context"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

// Snapshot implements api.Snapshotter.
func (b backend) Snapshot(ctx context.Context, pair string, r snapshot.Request) (snapshot.Result, error) {
	return b.s.pairs.Snapshot(ctx, pair, r)
}
