package replication

import (
	"context"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

// Snapshotter is a Driver that keeps snapshots of the trees that it has.
type Snapshotter interface {
	// Snapshot begins what a request asks for, or returns how that goes. It returns within some seconds, done or not; what was begun goes on to its end. It
	// fails with *snapshot.RefusedError, and with *UnavailableError while the tree is not to be had.
	Snapshot(ctx context.Context, pair string, r snapshot.Request) (snapshot.Result, error)
}
