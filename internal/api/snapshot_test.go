package api_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Snapshot has taken one when it is asked for the third time.
func (b backend) Snapshot(_ context.Context, pair string, r snapshot.Request) (snapshot.Result, error) {
	if pair != "uploads" {
		return snapshot.Result{}, &api.Error{StatusCode: http.StatusConflict, Reason: api.ReasonSnapshotRefused, Message: "there is no room"}
	}
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	id := string(r.Action) + r.ID
	b.f.digests[id]++
	if n := b.f.digests[id]; n < 3 {
		return snapshot.Result{Progress: snapshot.Progress{Doing: "copying", Now: digest.Totals{Files: int64(n)}}}, nil
	}
	return snapshot.Result{Done: true, Snapshots: []snapshot.Snapshot{{ID: r.ID, Pair: pair, Taken: time.Unix(1e9, 0).UTC(), Digest: digest.Sum{7}}}}, nil
}

func TestSnapshotOfAPair(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	c := f.operator(endpoint)
	var seen []int64
	got, err := c.Snapshot(t.Context(), "uploads", snapshot.Request{Action: snapshot.Take, ID: "before"}, func(p snapshot.Progress) { seen = append(seen, p.Now.Files) })
	if err != nil || len(got.Snapshots) != 1 || !got.Snapshots[0].Whole() || got.Snapshots[0].Digest != (digest.Sum{7}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if diff := cmp.Diff([]int64{1, 2}, seen); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	sg1, proof := f.machine("sg1", time.Now())
	f.store.Merge([]store.Record{store.ProofRecord(proof)})
	for name, tt := range map[string]struct {
		client *api.Client
		pair   string
		reason trust.Reason
	}{
		"without room": {c, "photos", api.ReasonSnapshotRefused},
		"by a node":    {f.asNode(sg1, proof, endpoint), "uploads", trust.ReasonNotAllowed},
	} {
		var refused *api.Error
		if _, err := tt.client.Snapshot(t.Context(), tt.pair, snapshot.Request{Action: snapshot.Restore, ID: "before"}, nil); !errors.As(err, &refused) || refused.Reason != tt.reason {
			t.Errorf("%s: got %v, want reason %s", name, err, tt.reason)
		}
	}
}
