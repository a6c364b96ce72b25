//go:build !linux

package digest

import (
	"context"
	"errors"
)

// Tree has no meaning on a system that nodes do not run.
type Tree struct{}

// CacheError is never returned.
type CacheError struct{}

// Error says nothing.
func (*CacheError) Error() string { return "" }

// New returns a tree whose methods fail with errors.ErrUnsupported.
func New(string, Options) *Tree { return &Tree{} }

// Digest fails with errors.ErrUnsupported.
func (*Tree) Digest(context.Context, func(Progress)) (*Snapshot, error) {
	return nil, errors.ErrUnsupported
}

// Update fails with errors.ErrUnsupported.
func (*Tree) Update(context.Context, func(Progress)) (*Snapshot, error) {
	return nil, errors.ErrUnsupported
}

// Directory fails with errors.ErrUnsupported.
func (*Tree) Directory(context.Context, string) (Directory, error) {
	return Directory{}, errors.ErrUnsupported
}

// Changed does nothing.
func (*Tree) Changed(string, bool) {}

// ChangedAll does nothing.
func (*Tree) ChangedAll() {}

// LoadCache fails with errors.ErrUnsupported.
func (*Tree) LoadCache(string) error { return errors.ErrUnsupported }

// SaveCache fails with errors.ErrUnsupported.
func (*Tree) SaveCache(string) error { return errors.ErrUnsupported }
