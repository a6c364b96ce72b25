package digest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is a directory tree that is digested again and again: it remembers the contents of files that did not change since.
// It is safe for concurrent use; one Digest runs at a time.
//
// No path is ever resolved by name from the root: each directory is opened in its parent, without following symbolic
// links, so that nobody who can write to the tree can lead a privileged reader out of it.
type Tree struct {
	root     string
	options  Options
	settings Sum
	cache    *cache

	digesting sync.Mutex
	round     atomic.Uint32
	// last is what directories were at the last Digest or Update.
	last atomic.Pointer[map[string]folder]

	marking sync.Mutex
	marks   marks
}

// New returns the tree at root. Nothing is read yet.
func New(root string, options Options) *Tree {
	if options.Workers <= 0 {
		options.Workers = min(4, runtime.GOMAXPROCS(0))
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Tree{root: root, options: options, settings: options.settings(), cache: newCache(options.MaxCached)}
}

// Cached is how many files' contents are remembered.
func (t *Tree) Cached() int { return t.cache.len() }

// progressEvery is how often progress is reported.
const progressEvery = 200 * time.Millisecond

// Digest walks the tree and returns its digest. progress, when not nil, is called every 200 ms and at the end, by one
// goroutine at a time. A root that is not there or cannot be read, an end of ctx, and a lack of file descriptors or memory
// are errors; whatever else cannot be read is a Problem of the snapshot.
func (t *Tree) Digest(ctx context.Context, progress func(Progress)) (*Snapshot, error) {
	t.digesting.Lock()
	defer t.digesting.Unlock()
	t.take()
	w := t.walker(ctx, t.round.Add(1))
	w.keep = map[string]folder{}
	s, err := w.snapshot(progress)
	if err != nil {
		t.ChangedAll()
		return nil, err
	}
	t.cache.sweep(w.round)
	t.last.Store(&w.keep)
	return s, nil
}

// snapshot walks the tree.
func (w *walker) snapshot(progress func(Progress)) (*Snapshot, error) {
	s := &Snapshot{Settings: w.settings, Began: time.Now()}
	stop := w.report(progress)
	top, err := w.whole()
	stop()
	if err != nil {
		return nil, fmt.Errorf("digest %s: %w", w.root, err)
	}
	s.Sum, s.Totals = top.sum, top.totals
	s.Read = w.progress().Read
	s.Problems, s.ProblemCount, s.Skipped, s.SkippedCount = w.notes.take()
	s.Took = time.Since(s.Began)
	return s, nil
}

// folder is what is kept of a directory.
type folder struct {
	sum    Sum
	totals Totals
	// noted tells that something was noted in it or below, which must be noted by each walk.
	noted bool
}

// Directory returns what one directory has now: files as they are at this moment, directories below as the last Digest or
// Update found them. So two trees whose digests differ may be found equal by walking them a little later: only equal sums of
// Digest mean equal trees. An error wraps fs.ErrNotExist when there is no such directory (any more), or when path leads
// through a symbolic link or into what is excluded.
func (t *Tree) Directory(ctx context.Context, path string) (Directory, error) {
	fail := func(err error) (Directory, error) {
		return Directory{}, fmt.Errorf("digest %s: directory %q: %w", t.root, path, err)
	}
	if t.options.Exclude.Covers(path) {
		return fail(fs.ErrNotExist)
	}
	fd, err := t.open(path)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	w := t.walker(ctx, t.round.Load())
	if last := t.last.Load(); last != nil {
		w.known = *last
	}
	w.tokens <- struct{}{}
	top, entries, err := w.directory(fd, path)
	if err != nil {
		return fail(err)
	}
	return Directory{Sum: top.sum, Settings: t.settings, Totals: top.totals, Entries: entries}, nil
}

// open opens a directory below the root, one part at a time.
func (t *Tree) open(path string) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(t.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil || path == "" {
		return fd, err
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			unix.Close(fd) //nolint:errcheck // nothing was written
			return -1, fs.ErrNotExist
		}
		next, err := openDirectory(fd, name)
		unix.Close(fd) //nolint:errcheck // nothing was written
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}

// walker is one walk.
type walker struct {
	*Tree
	ctx    context.Context
	round  uint32
	tokens chan struct{}
	notes  notes
	names  owners
	// buffers are for reading files.
	buffers pool

	mu sync.Mutex
	// keep takes what directories are, known is what a walk before this one said of those that need not be entered, except
	// for those that dirty names; all may be nil.
	keep, known map[string]folder
	dirty       *marks

	seen, read counters
}

// counters are Totals that several goroutines count.
type counters struct{ files, directories, bytes atomic.Int64 }

func (c *counters) totals() Totals {
	return Totals{Files: c.files.Load(), Directories: c.directories.Load(), Bytes: c.bytes.Load()}
}

func (t *Tree) walker(ctx context.Context, round uint32) *walker {
	return &walker{Tree: t, ctx: ctx, round: round, tokens: make(chan struct{}, t.options.Workers)}
}

func (w *walker) progress() Progress { return Progress{Seen: w.seen.totals(), Read: w.read.totals()} }

// report calls progress until the function that it returns is called.
func (w *walker) report(progress func(Progress)) (stop func()) {
	if progress == nil {
		return func() {}
	}
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				progress(w.progress())
			case <-done:
				progress(w.progress())
				return
			}
		}
	}()
	return func() {
		close(done)
		<-over
	}
}

// whole walks the tree from its root.
func (w *walker) whole() (folder, error) {
	fd, err := w.open("")
	if err != nil {
		return folder{}, err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	w.tokens <- struct{}{}
	defer func() { <-w.tokens }()
	top, _, err := w.directory(fd, "")
	return top, err
}

// fork runs functions, as many at once as there are tokens, and waits for them. Whoever calls it holds a token and gives
// it away while it waits, so that nobody waits for a token who holds one.
func (w *walker) fork(n int, run func(i int) error) error {
	var (
		wait  sync.WaitGroup
		once  sync.Once
		first error
	)
	one := func(i int) {
		if err := run(i); err != nil {
			once.Do(func() { first = err })
		}
	}
	for i := range n {
		select {
		case w.tokens <- struct{}{}:
			wait.Go(func() {
				defer func() { <-w.tokens }()
				one(i)
			})
		default:
			one(i)
		}
	}
	<-w.tokens
	wait.Wait()
	w.tokens <- struct{}{}
	return first
}

// attempts is how often what changes while it is read is read again.
const attempts = 3

// chunk is how many entries of a directory one goroutine looks at.
const chunk = 32

// directory returns the digest of a directory, open as fd, and its entries.
func (w *walker) directory(fd int, path string) (folder, []Entry, error) {
	var entries []Entry
	for attempt := 1; ; attempt++ {
		before, err := fstat(fd)
		if err != nil {
			return folder{}, nil, err
		}
		if entries, err = w.entries(fd, path); err != nil {
			return folder{}, nil, err
		}
		after, err := fstat(fd)
		if err != nil {
			return folder{}, nil, err
		}
		if after.Nlink == 0 {
			return folder{}, nil, fs.ErrNotExist
		}
		if before.Mtim == after.Mtim {
			break
		}
		if attempt == attempts {
			entries = slices.Insert(entries, 0, Entry{Kind: Unknown, Content: never(), Problem: &Problem{
				Path: []byte(path), Kind: Unstable, Message: "names came or went each time that the directory was listed",
			}})
			break
		}
	}
	if err := w.below(fd, path, entries); err != nil {
		return folder{}, nil, err
	}
	var f folder
	for i := range entries {
		switch e := &entries[i]; {
		case e.Problem != nil:
			w.notes.add(*e.Problem)
			f.noted = true
		case e.Kind == nodesOwn:
			w.notes.skip(join(path, string(e.Name)))
			f.noted = true
			*e = Entry{}
		default:
			f.noted = f.noted || e.noted
		}
	}
	entries = present(entries)
	f.sum, f.totals = sumOf(w.settings, entries)
	if w.keep != nil {
		w.mu.Lock()
		w.keep[path] = f
		w.mu.Unlock()
	}
	return f, entries, nil
}

// entries returns a directory's entries; directories are not entered yet. Names that are gone have no Kind.
func (w *walker) entries(fd int, path string) ([]Entry, error) {
	names, err := w.list(fd)
	if err != nil {
		return nil, err
	}
	kept := names[:0]
	for _, name := range names {
		if !w.options.Exclude.Match(join(path, name)) {
			kept = append(kept, name)
		}
	}
	entries := make([]Entry, len(kept))
	err = w.fork((len(kept)+chunk-1)/chunk, func(part int) error {
		for i := part * chunk; i < min(len(kept), (part+1)*chunk); i++ {
			if err := w.ctx.Err(); err != nil {
				return err
			}
			if err := w.entry(fd, path, kept[i], &entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return present(entries), err
}

// below enters the directories among the entries.
func (w *walker) below(fd int, path string, entries []Entry) error {
	var folders []int
	for i := range entries {
		if entries[i].Kind == Folder && entries[i].Problem == nil {
			folders = append(folders, i)
		}
	}
	return w.fork(len(folders), func(i int) error {
		e := &entries[folders[i]]
		full := join(path, string(e.Name))
		if f, ok := w.known[full]; ok && !w.dirty.names(full) && (w.dirty == nil || !f.noted) {
			e.Content, e.Totals, e.noted = f.sum, f.totals, f.noted
			return nil
		}
		sub, err := openDirectory(fd, string(e.Name))
		if err == nil {
			defer unix.Close(sub) //nolint:errcheck // nothing was written
			w.seen.directories.Add(1)
			var f folder
			if f, _, err = w.directory(sub, full); err == nil {
				e.Content, e.Totals, e.noted = f.sum, f.totals, f.noted
				return nil
			}
		}
		return w.failed(e, full, err)
	})
}

// failed says in an entry that it could not be read. What is gone loses its Kind; what is wrong with this process or its
// caller is returned.
func (w *walker) failed(e *Entry, path string, err error) error {
	var code unix.Errno
	switch {
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%q: %w", path, err)
	case errors.Is(err, fs.ErrNotExist):
		*e = Entry{}
		return nil
	case errors.Is(err, errChanged), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		*e = Entry{Name: e.Name, Kind: Unknown, Problem: problem(path, Unstable, "changed each time that it was read")}
	case errors.As(err, &code):
		*e = Entry{Name: e.Name, Kind: e.Kind, Problem: problem(path, Unreadable, code.Error())}
	default:
		*e = Entry{Name: e.Name, Kind: e.Kind, Problem: problem(path, Unreadable, err.Error())}
	}
	e.Content = never()
	return nil
}

func problem(path string, kind ProblemKind, message string) *Problem {
	return &Problem{Path: []byte(path), Kind: kind, Message: message}
}

// present returns the entries that are there.
func present(entries []Entry) []Entry {
	kept := entries[:0]
	for i := range entries {
		if entries[i].Kind != "" {
			kept = append(kept, entries[i])
		}
	}
	return kept
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}
