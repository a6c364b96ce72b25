package digest

import (
	"context"
	"maps"
	"strings"
)

// marks say which directories an Update enters. The nil marks name none.
type marks struct {
	// all is everything.
	all bool
	// listed are directories to list again: those where something changed, and those above them.
	listed map[string]struct{}
	// whole are directories of which everything below is entered, too.
	whole map[string]struct{}
	// paths are what Changed was told.
	paths []string
}

// mostMarks is how many directories are marked until a walk of everything is the cheaper way to remember.
const mostMarks = 1 << 16

// names tells whether a directory has to be entered.
func (m *marks) names(path string) bool {
	if m == nil {
		return false
	}
	if _, ok := m.listed[path]; ok || m.all {
		return true
	}
	for len(m.whole) > 0 {
		if _, ok := m.whole[path]; ok {
			return true
		}
		slash := strings.LastIndexByte(path, '/')
		if slash < 0 {
			break
		}
		path = path[:slash]
	}
	return false
}

// Changed tells the next Update that a path may have changed: a file or directory was made, removed, written to, moved here
// or away, or has another mode. below says that everything below may have, too: the directory is new, or was moved here.
func (t *Tree) Changed(path string, below bool) {
	t.marking.Lock()
	defer t.marking.Unlock()
	m := &t.marks
	if m.all || path == "" && below {
		*m = marks{all: true}
		return
	}
	if m.listed == nil {
		m.listed, m.whole = map[string]struct{}{}, map[string]struct{}{}
	}
	m.paths = append(m.paths, path)
	if below {
		m.whole[path] = struct{}{}
	}
	for {
		m.listed[path] = struct{}{}
		slash := strings.LastIndexByte(path, '/')
		if slash < 0 {
			break
		}
		path = path[:slash]
	}
	if len(m.paths) > mostMarks {
		*m = marks{all: true}
	}
}

// ChangedAll tells the next Update that anything may have changed.
func (t *Tree) ChangedAll() { t.Changed("", true) }

// take returns the marks and begins new ones.
func (t *Tree) take() *marks {
	t.marking.Lock()
	defer t.marking.Unlock()
	m := t.marks
	t.marks = marks{}
	return &m
}

// Update is a Digest that enters only directories that Changed was told of since the last Digest or Update, those with
// problems and those that it does not know; the first one enters all. It is as good as whoever tells: one who watches the tree
// sees each change a little later than it is made. So Update says what to expect, often and cheaply, and Digest has the
// last word. Files that are gone stay in the cache until the next Digest.
func (t *Tree) Update(ctx context.Context, progress func(Progress)) (*Snapshot, error) {
	last := t.last.Load()
	if last == nil {
		return t.Digest(ctx, progress)
	}
	t.digesting.Lock()
	defer t.digesting.Unlock()
	dirty := t.take()
	w := t.walker(ctx, t.round.Load())
	w.keep, w.dirty = map[string]folder{}, dirty
	if last = t.last.Load(); !dirty.all {
		w.known = *last
	}
	s, err := w.snapshot(progress)
	if err != nil {
		t.ChangedAll()
		return nil, err
	}
	if dirty.all {
		t.last.Store(&w.keep)
		return s, nil
	}
	// Whoever reads the old map may go on with it.
	next := maps.Clone(*last)
	// A directory that was marked and not entered is gone, with everything below: should the name come again, nothing of this
	// must be taken for it.
	gone := &marks{whole: map[string]struct{}{}}
	for _, path := range dirty.paths {
		if _, was := next[path]; was {
			if _, is := w.keep[path]; !is {
				gone.whole[path] = struct{}{}
			}
		}
	}
	if len(gone.whole) > 0 {
		maps.DeleteFunc(next, func(path string, _ folder) bool { return gone.names(path) })
	}
	maps.Copy(next, w.keep)
	t.last.Store(&next)
	return s, nil
}
