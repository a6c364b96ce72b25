//go:build !linux

package watch

import "errors"

// Raise fails: nodes run Linux.
func Raise(string) error { return errors.ErrUnsupported }
