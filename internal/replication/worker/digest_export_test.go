package worker

import (
	"context"
	"log/slog"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// Digests makes digests of a tree without a worker.
type Digests struct{ d *digests }

// NewDigests returns what makes digests of a tree that check finds to be there.
func NewDigests(ctx context.Context, cfg Config, check func() error) Digests {
	return Digests{newDigests(ctx, cfg, check, slog.New(slog.DiscardHandler))}
}

// Begin lets digests be made.
func (d Digests) Begin(cfg Config, engine Engine) error { return d.d.begin(cfg, engine) }

// Ask begins a digest, or returns how it goes.
func (d Digests) Ask(ctx context.Context, r digest.Request) (digest.Result, error) {
	return d.d.ask(ctx, r)
}

// Changed takes in what has changed.
func (d Digests) Changed(batch watch.Batch) { d.d.changed(batch) }

// NewColdDigests returns what makes digests of a cold root, as a worker does.
func NewColdDigests(ctx context.Context, cfg Config) Digests {
	w := &worker{cfg: cfg}
	return Digests{newColdDigests(ctx, cfg, w.wholeCold, slog.New(slog.DiscardHandler))}
}
