package worker

import (
	"context"
	"log/slog"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

// Snapshots keeps snapshots of a tree without a worker.
type Snapshots struct{ s *snapshots }

// NewSnapshots returns what keeps snapshots of the tree that d makes digests of.
func NewSnapshots(cfg Config, d Digests) Snapshots {
	return Snapshots{&snapshots{cfg: cfg, digests: d.d, log: slog.New(slog.DiscardHandler)}}
}

// Ask begins what a request asks for, or returns how it goes.
func (s Snapshots) Ask(ctx context.Context, r snapshot.Request) (snapshot.Result, error) {
	return s.s.ask(ctx, r)
}
