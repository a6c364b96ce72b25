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
	err := os.MkdirAll(dir, mode)
	for began := time.Now(); errors.Is(err, fs.ErrNotExist) && time.Since(began) < within; {
		err = os.MkdirAll(dir, mode)
	}
	return err
}
