package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// ReasonSnapshotRefused is for what is not done with a snapshot as long as nothing changes; the message says why.
const ReasonSnapshotRefused trust.Reason = "SnapshotRefused"

// Snapshotter is implemented by a Backend whose node keeps snapshots of the trees of its pairs.
type Snapshotter interface {
	// Snapshot begins what a request asks for, or returns how that goes. It waits for the end of it, but no longer than some seconds. It fails with *Error:
	// ReasonNoSuchPair, ReasonPairUnavailable or ReasonSnapshotRefused.
	Snapshot(ctx context.Context, pair string, r snapshot.Request) (snapshot.Result, error)
}

// Snapshot has the agent do something with the snapshots of its tree of a pair, and returns when that is done. Progress, which may be nil, is called with
// how far it is. What was begun goes on when ctx ends; to ask again is to wait for it. It fails like Digest, and with *Error and ReasonSnapshotRefused. Only
// the operator may.
func (c *Client) Snapshot(ctx context.Context, pair string, r snapshot.Request, progress func(snapshot.Progress)) (snapshot.Result, error) {
	for {
		var out snapshot.Result
		if err := c.call(ctx, http.MethodPost, "/v1/pairs/"+url.PathEscape(pair)+"/snapshot", r, &out); err != nil {
			return out, err
		}
		if out.Done {
			return out, nil
		}
		if progress != nil {
			progress(out.Progress)
		}
	}
}

func (h *handler) snapshot(s Snapshotter) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
		var request snapshot.Request
		if !read(w, r, &request) {
			return
		}
		result, err := s.Snapshot(r.Context(), r.PathValue("name"), request)
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, result)
	}
}
