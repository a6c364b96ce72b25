package worker

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// leftFor is how long a file that a program has not completed is kept for it to go on with, at most.
const leftFor = 24 * time.Hour

// coarse is by how much the kernel's dates of files may be behind its clock.
const coarse = 20 * time.Millisecond

// sweeping is what is known of a program's leftovers.
type sweeping struct {
	tree string
	// temporary tells which paths they have, resumes which of them by their length the program goes on with in its next run.
	temporary func(path string) bool
	resumes   func(size int64) bool
	log       *slog.Logger
}

// sweep removes what a program has left that was killed in the middle: whoever lists a directory sees it. What the program goes on with stays,
// and is returned. None runs when it is called.
func (s sweeping) sweep(now time.Time) (kept []string, err error) {
	root, err := OpenTree(s.tree)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	var problems []error
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if path == Marker {
			return fs.SkipDir // the worker's own
		}
		if err != nil || !s.temporary(path) {
			return nil //nolint:nilerr // what cannot be read is reported by the program that has to
		}
		if s.goesOn(root, path, now) {
			kept = append(kept, path)
		} else {
			problems = append(problems, s.remove(root, path))
		}
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return kept, errors.Join(append(problems, err)...)
}

func (s sweeping) remove(root *os.Root, path string) error {
	s.log.Info("what an interrupted transfer has left is removed", "path", filepath.Join(s.tree, path))
	return root.RemoveAll(path)
}

// goesOn tells whether a program will go on with what is at a path, or with anything below.
func (s sweeping) goesOn(root *os.Root, path string, now time.Time) bool {
	found := false
	// What cannot be looked at is nothing to go on with.
	_ = fs.WalkDir(root.FS(), path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && entry.Type().IsRegular() && s.resumes(info.Size()) && now.Sub(changed(info)) < leftFor {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// finish removes what was kept and has not been touched since the program began, although that has come through.
func (s sweeping) finish(kept []string, began time.Time) error {
	root, err := OpenTree(s.tree)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	var problems []error
	for _, path := range kept {
		if !touched(root, path, began.Add(-coarse)) {
			problems = append(problems, s.remove(root, path))
		}
	}
	return errors.Join(problems...)
}

// touched tells whether anything at a path, or below it, has changed since a moment, or may have.
func touched(root *os.Root, path string, since time.Time) bool {
	found := false
	err := fs.WalkDir(root.FS(), path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && !changed(info).Before(since) {
			found = true
			return fs.SkipAll
		}
		return err
	})
	return found || err != nil
}

const (
	// tidyAfter is how old a copy has to be that a program has made to no end, tidyPause how often such are looked for at most. A transfer that has
	// waited for its turn for longer, held back by a pair's bandwidth, loses what it has and is tried again.
	tidyAfter = time.Minute
	tidyPause = 10 * time.Second
)

// tidy removes from directories what a program that goes on leaves there again and again: none of its transfers into them has been under
// way for that long. Paths are from the tree's root.
func tidy(tree string, directories []string, temporary func(path string) bool, now time.Time) error {
	root, err := OpenTree(tree)
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
			if temporary(path) && !touched(root, path, now.Add(-tidyAfter)) {
				problems = append(problems, root.RemoveAll(path))
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
