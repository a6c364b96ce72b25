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

const (
	// tidyAfter is how old a copy has to be that a program has made to no end, tidyPause how often such are looked for at most.
	tidyAfter = time.Minute
	tidyPause = 10 * time.Second
)

// tidy removes from directories what a program that goes on leaves there again and again: none of its transfers into them has been under
// way for that long. Paths are from the tree's root.
func tidy(tree string, directories []string, temporary func(path string) bool, now time.Time) error {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	var problems []error
	for _, directory := range directories {
		names, err := namesIn(root, directory)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, name := range names {
			path := filepath.Join(directory, name)
			info, err := root.Lstat(path)
			if err == nil && temporary(path) && info.Mode().IsRegular() && now.Sub(changed(info)) > tidyAfter {
				problems = append(problems, root.Remove(path))
			}
		}
	}
	return errors.Join(problems...)
}

func namesIn(root *os.Root, directory string) (names []string, err error) {
	dir, err := root.Open(directory)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	return dir.Readdirnames(-1)
}
