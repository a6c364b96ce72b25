//go:build !linux

package place

import (
	"context"
	"errors"
)

// Look fails: nodes run Linux.
func Look(context.Context, string) (Facts, error) { return Facts{}, errors.ErrUnsupported }
