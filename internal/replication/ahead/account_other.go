//go:build !linux

package ahead

import "errors"

// do does nothing here.
func (Account) do(func(thread int)) error { return errors.ErrUnsupported }
