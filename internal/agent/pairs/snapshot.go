package pairs

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

// Snapshot implements api.Snapshotter.
func (m *Manager) Snapshot(ctx context.Context, pair string, r snapshot.Request) (snapshot.Result, error) {
	p, driver, err := m.of(pair)
	if err != nil {
		return snapshot.Result{}, err
	}
	keeper, ok := driver.(replication.Snapshotter)
	if !ok {
		return snapshot.Result{}, &api.Error{StatusCode: http.StatusConflict, Reason: api.ReasonSnapshotRefused, Message: fmt.Sprintf("driver %q of pair %q keeps no snapshots", p.Driver, pair)}
	}
	result, err := keeper.Snapshot(ctx, pair, r)
	var refused *snapshot.RefusedError
	if errors.As(err, &refused) {
		err = &api.Error{StatusCode: http.StatusConflict, Reason: api.ReasonSnapshotRefused, Message: refused.Error()}
	}
	return result, refusal(err)
}
