//go:build !linux

package guard

import (
	"context"
	"fmt"
	"os/exec"
)

// Guard is what a program is guarded by: nothing, here.
type Guard struct{}

// Shim is of no use here.
func Shim(context.Context) error { return ErrUnguarded }

// Wrap leaves a command as it is.
func Wrap(*exec.Cmd, string) (*Guard, error) { return &Guard{}, nil }

// Started does nothing.
func (*Guard) Started() error { return nil }

// Close does nothing.
func (*Guard) Close() error { return nil }

// Serve tells that there is no guard.
func (*Guard) Serve(Tree) error { return fmt.Errorf("%w: this system has none", ErrUnguarded) }
