package worker

import (
	"errors"
	"fmt"
	"os"
)

// errNoDirectory is what OpenTree fails with where something else is.
var errNoDirectory = errors.New("it is no directory, or was just replaced")

// OpenTree opens a tree's root, which nothing is reached outside of. A link in its place, which its owner may put there, is not followed.
func OpenTree(path string) (*os.Root, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open tree %s: %w", path, errNoDirectory)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	if opened, err := root.Stat("."); err != nil || !os.SameFile(info, opened) {
		return nil, errors.Join(fmt.Errorf("open tree %s: %w", path, errNoDirectory), err, root.Close())
	}
	return root, nil
}
