package pairs_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Snapshot takes what it is asked for, but not without a name.
func (f *fakeDriver) Snapshot(_ context.Context, pair string, r snapshot.Request) (snapshot.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.status.Started.IsZero():
		return snapshot.Result{}, &replication.UnavailableError{Pair: pair, Reason: "it is not mounted"}
	case r.ID == "":
		return snapshot.Result{}, &snapshot.RefusedError{Pair: pair, Reason: "it has no name"}
	}
	return snapshot.Result{Done: true, Snapshots: []snapshot.Snapshot{{ID: r.ID}}}, nil
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		ask := func(pair, id string) (snapshot.Result, error) {
			return n.manager.Snapshot(t.Context(), pair, snapshot.Request{Action: snapshot.Take, ID: id})
		}
		refused := func(pair, id string, want trust.Reason) {
			t.Helper()
			var refused *api.Error
			if _, err := ask(pair, id); !errors.As(err, &refused) || refused.Reason != want {
				t.Errorf("got %v, want reason %s", err, want)
			}
		}
		refused("photos", "x", api.ReasonNoSuchPair)
		refused("uploads", "x", api.ReasonPairUnavailable)
		n.says(replication.Status{Started: n.manager.All()["uploads"].Since.Add(1)})
		refused("uploads", "", api.ReasonSnapshotRefused)
		if r, err := ask("uploads", "x"); err != nil || !r.Done || r.Snapshots[0].ID != "x" {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}
