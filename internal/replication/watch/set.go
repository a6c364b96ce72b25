package watch

import (
	"slices"
	"strings"
)

// Change is a path to look at again.
type Change struct {
	// Path is relative to the root; "" is the root.
	Path string
	// Recursive says that everything below has to be looked at, too: the directory is new, has moved or has more
	// changes in it than are worth to be listed.
	Recursive bool
	// Own says that nobody but processes for which Options.Own is true had a part in it.
	Own bool
}

// SeveralNames is the reason of a batch of all of a tree of which no change was missed: of a file's names the kernel tells but one.
const SeveralNames = "a file that has several names was changed by one of them"

// Batch is what has changed since the last one.
type Batch struct {
	// All says that changes may have been missed: everything has to be looked at, and Changes is empty.
	All bool
	// Reason says why, when All is set.
	Reason string
	// Changes is sorted by path and has each path once.
	Changes []Change
}

// Empty reports whether there is nothing to look at.
func (b Batch) Empty() bool { return !b.All && len(b.Changes) == 0 }

const (
	mostPaths  = 16384 // paths in a set, about 2 MB
	mostInside = 1024  // paths in one directory
)

// Set gathers changes in bounded memory: many changes in one directory become one of the directory, and when there are
// still too many, directories become the ones they are in. It is not safe for concurrent use. The zero value is empty.
type Set struct {
	all     bool
	reason  string
	changes map[string]Change
	inside  map[string]int // directory -> how many of changes are directly in it
}

// Len is the number of paths in the set; everything counts as one.
func (s *Set) Len() int {
	if s.all {
		return 1
	}
	return len(s.changes)
}

// AddAll puts everything into the set. The first reason is kept.
func (s *Set) AddAll(reason string) {
	if !s.all {
		*s = Set{all: true, reason: reason}
	}
}

// AddBatch puts a batch into the set.
func (s *Set) AddBatch(b Batch) {
	if b.All {
		s.AddAll(b.Reason)
	}
	for _, c := range b.Changes {
		s.Add(c)
	}
}

// Add puts a change into the set. A path that others than own processes had a part in stays so.
func (s *Set) Add(c Change) {
	if s.all {
		return
	}
	if s.changes == nil {
		s.changes, s.inside = map[string]Change{}, map[string]int{}
	}
	if above, ok := s.covering(c.Path); ok {
		if above.Own && !c.Own {
			above.Own = false
			s.changes[above.Path] = above
		}
		return
	}
	s.put(c)
	if c.Path == "" {
		return
	}
	if parent := Parent(c.Path); s.inside[parent] > mostInside {
		s.raise(func(path string) bool { return Parent(path) == parent })
	}
	for len(s.changes) > mostPaths {
		s.raise(func(path string) bool { return path != "" })
	}
}

// covering returns the change of a directory above path that has everything below it looked at.
func (s *Set) covering(path string) (Change, bool) {
	for path != "" {
		path = Parent(path)
		if c, ok := s.changes[path]; ok && c.Recursive {
			return c, true
		}
	}
	return Change{}, false
}

// put merges a change with the one of the same path.
func (s *Set) put(c Change) {
	if old, ok := s.changes[c.Path]; ok {
		c.Own = c.Own && old.Own
		c.Recursive = c.Recursive || old.Recursive
	} else if c.Path != "" {
		s.inside[Parent(c.Path)]++
	}
	s.changes[c.Path] = c
}

// raise replaces changes by one of the directory that they are in.
func (s *Set) raise(which func(path string) bool) {
	old := s.changes
	s.changes, s.inside = make(map[string]Change, len(old)/2), map[string]int{}
	for _, c := range old {
		if which(c.Path) {
			c.Path, c.Recursive = Parent(c.Path), true
		}
		s.put(c)
	}
	for path, c := range s.changes {
		above, covered := s.covering(path)
		if !covered {
			continue
		}
		if above.Own && !c.Own {
			above.Own = false
			s.changes[above.Path] = above
		}
		delete(s.changes, path)
		s.inside[Parent(path)]--
	}
}

// Take returns what is in the set and empties it.
func (s *Set) Take() Batch {
	b := Batch{All: s.all, Reason: s.reason}
	for _, c := range s.changes {
		b.Changes = append(b.Changes, c)
	}
	slices.SortFunc(b.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	*s = Set{}
	return b
}

// Parent is the directory that a path is in; "" is the root, and has itself.
func Parent(path string) string {
	return path[:max(strings.LastIndexByte(path, '/'), 0)]
}

// Join is the path of a name in a directory.
func Join(dir, name string) string {
	if dir == "" {
		return name
	}
	if name == "" {
		return dir
	}
	return dir + "/" + name
}
