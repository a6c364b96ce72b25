//go:build !linux

package tunnel

import (
	"context"
	"errors"
)

// Run fails: nodes run Linux.
func Run(context.Context, Options) error { return errors.ErrUnsupported }
