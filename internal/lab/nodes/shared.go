//go:build linux

package nodes

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// MakeShared makes a folder, or a control group, in one that all labs share. Whichever of them ends at this moment removes that one if it finds it empty.
func MakeShared(dir string, mode fs.FileMode) error {
	const within = 5 * time.Second
	for began := time.Now(); ; time.Sleep(100 * time.Microsecond) {
		err := os.MkdirAll(dir, mode)
		// It was not there any more, or it was there when it was made, and then it was not.
		gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist)
		if !gone || time.Since(began) > within {
			return err
		}
	}
}
