package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// newColdDigests makes digests of the cold root, nil for a pair that has none. Nothing watches it.
func newColdDigests(ctx context.Context, cfg Config, check func() error, log *slog.Logger) *digests {
	if cfg.Cold == nil {
		return nil
	}
	d := newDigests(ctx, cfg, check, log)
	d.root, d.cache, d.untold = cfg.Cold.Root, filepath.Join(cfg.StateDir, "cold-digest.cache"), true
	return d
}

// wholeCold returns a Problem unless the cold root is what is to be compared.
func (w *worker) wholeCold() error {
	var problem cold.Problem
	if err := cold.There(w.cfg.Cold.Root, w.cfg.Pair); errors.As(err, &problem) {
		return Problem(problem)
	} else if err != nil {
		return err
	}
	return nil
}

// digestsOf returns what makes digests of a part.
func (w *worker) digestsOf(part digest.Part) (*digests, error) {
	switch {
	case part == digest.Hot:
		return w.digests, nil
	case part == digest.Cold && w.coldDigests != nil:
		return w.coldDigests, nil
	case part == digest.Cold:
		return nil, Problem("the pair moves no directories to a cold root")
	}
	return nil, fmt.Errorf("a pair has no part %q", part)
}
