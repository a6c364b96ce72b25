package worker

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// leftFor is how long a file that a program has not completed is kept for it to go on with.
const leftFor = 24 * time.Hour

// sweep removes what programs that were killed long ago have left in the tree. None runs when it is called.
func sweep(tree string, temporary func(path string) bool, now time.Time, log *slog.Logger) error {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	var problems []error
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !temporary(path) {
			return nil //nolint:nilerr // what cannot be read is reported by the program that has to
		}
		info, err := entry.Info()
		if err == nil && now.Sub(info.ModTime()) > leftFor {
			log.Info("what an interrupted transfer has left is removed", "path", filepath.Join(tree, path))
			problems = append(problems, root.RemoveAll(path))
		}
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return errors.Join(append(problems, err)...)
}
