//go:build !linux

package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// Store has no meaning on a system that nodes do not run: its methods fail with errors.ErrUnsupported.
type Store struct {
	Pair, Node, Tree, Dir, Aside string
	Options                      digest.Options
	Now                          func() time.Time
}

// Check fails.
func (*Store) Check(context.Context, *digest.Tree, func(Progress)) (Room, error) {
	return Room{}, errors.ErrUnsupported
}

// Take fails.
func (*Store) Take(context.Context, string, *digest.Tree, func(Progress)) (Snapshot, error) {
	return Snapshot{}, errors.ErrUnsupported
}

// Restore fails.
func (*Store) Restore(context.Context, string, *digest.Tree, func(Progress)) (Restored, error) {
	return Restored{}, errors.ErrUnsupported
}

// List fails.
func (*Store) List() ([]Snapshot, error) { return nil, errors.ErrUnsupported }

// Remove fails.
func (*Store) Remove(string) error { return errors.ErrUnsupported }
