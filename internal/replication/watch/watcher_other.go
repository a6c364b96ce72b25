//go:build !linux

package watch

import (
	"context"
	"errors"
)

// Watcher has no meaning on a system that nodes do not run.
type Watcher struct{}

// Open fails with errors.ErrUnsupported.
func Open(context.Context, string, Options) (*Watcher, error) { return nil, errors.ErrUnsupported }

// Next fails with errors.ErrUnsupported.
func (*Watcher) Next(context.Context) (Batch, error) { return Batch{}, errors.ErrUnsupported }

// Status returns nothing.
func (*Watcher) Status() Status { return Status{} }

// Close does nothing.
func (*Watcher) Close() error { return nil }

// Flush fails with errors.ErrUnsupported.
func (*Watcher) Flush(context.Context) error { return errors.ErrUnsupported }
