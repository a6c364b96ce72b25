package unison

import (
	"context"
	"errors"
	"net/http"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

var _ replication.Snapshotter = (*Driver)(nil)

// Snapshot implements replication.Snapshotter.
func (d *Driver) Snapshot(ctx context.Context, pair string, r snapshot.Request) (snapshot.Result, error) {
	result, err := d.worker(pair).Snapshot(ctx, r)
	var refused *worker.RefusedError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusConflict {
		return result, &snapshot.RefusedError{Pair: pair, Reason: refused.Message}
	}
	return result, d.unavailable(ctx, pair, err)
}
