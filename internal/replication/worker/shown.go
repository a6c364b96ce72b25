package worker

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// shown is what a worker can tell of its parts once they are there, and the kept copies of conflicting versions. It is safe for
// concurrent use; scan is called by one goroutine.
type shown struct {
	mu      sync.Mutex
	engine  Engine
	watcher *watch.Watcher
	copies  map[string]struct{}
}

func (s *shown) set(engine Engine, watcher *watch.Watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine, s.watcher, s.copies = engine, watcher, map[string]struct{}{}
}

func (s *shown) get() (Engine, *watch.Watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine, s.watcher
}

func (s *shown) conflicts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.copies))
}

// scan looks for copies where something has changed.
func (s *shown) scan(root string, batch watch.Batch) {
	if batch.All {
		s.replace("", withoutCanaries(root, s.below(root, "")))
		return
	}
	for _, c := range batch.Changes {
		if c.Recursive {
			s.replace(c.Path, withoutCanaries(root, s.below(root, c.Path)))
			continue
		}
		if !s.engine.Conflict(path.Base(c.Path)) {
			continue
		}
		var found []string
		if _, err := os.Lstat(filepath.Join(root, c.Path)); err == nil {
			found = []string{c.Path}
		}
		s.replace(c.Path, withoutCanaries(root, found))
	}
}

// withoutCanaries removes copies of canaries from a tree, and returns the others: an old version of a canary, which a loss of power may leave, is
// nobody's.
func withoutCanaries(root string, found []string) []string {
	ours := func(p string) bool { return strings.HasPrefix(p, CanaryDir+"/") }
	if !slices.ContainsFunc(found, ours) {
		return found
	}
	if tree, err := OpenTree(root); err == nil {
		for _, p := range found {
			if ours(p) {
				_ = tree.Remove(p) // the next look finds it again
			}
		}
		_ = tree.Close()
	}
	return slices.DeleteFunc(found, ours)
}

// replace makes found what is known of a path and everything below it.
func (s *shown) replace(at string, found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.copies, func(known string, _ struct{}) bool {
		return at == "" || known == at || strings.HasPrefix(known, at+"/")
	})
	for _, f := range found {
		s.copies[f] = struct{}{}
	}
}

// below returns the copies at a path and below it. A copy of a directory is one.
func (s *shown) below(root, at string) []string {
	var found []string
	top := filepath.Join(root, at)
	// What cannot be read is reported by the program that has to.
	_ = filepath.WalkDir(top, func(full string, entry fs.DirEntry, err error) error {
		if err != nil || full == root {
			return nil //nolint:nilerr // as above
		}
		if !s.engine.Conflict(entry.Name()) {
			return nil
		}
		relative, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		found = append(found, relative)
		if entry.IsDir() {
			return filepath.SkipDir
		}
		return nil
	})
	return found
}
