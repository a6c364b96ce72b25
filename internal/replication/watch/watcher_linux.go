package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrClosed is returned by Next after Close.
var ErrClosed = errors.New("the watcher is closed")

const (
	// rootEvery is how often the root is looked at: has it gone, or been replaced?
	rootEvery = time.Second
	// strangersPause is how long, in milliseconds, nothing is read after events of which none was of the tree.
	strangersPause = 5
	// linkedEvery is how often changes of files with several names may cause a rescan.
	linkedEvery = time.Minute
	// Batches follow each other in no less than gapLeast; in twice the time of before, up to gapMost, as long as each
	// has more than few changes.
	gapLeast = 10 * time.Millisecond
	gapMost  = 500 * time.Millisecond
	few      = 4
)

// event is what the kernel tells.
type event struct {
	path string
	what kind
	own  bool
}

type kind int

const (
	created kind = iota // a file, which may be written to next
	written             // a file, which may be written to again
	closed              // a file, after it was written to
	changed             // anything else: removed, moved, other attributes, …
	tree                // a directory that has come, with all that is in it
)

// source is one way of being told. It is used by one goroutine.
type source interface {
	// descriptor is readable when there is something to read.
	descriptor() int
	// read hands over what there is. lost, when not empty, is why events have been lost.
	read(each func(event)) (lost string, err error)
	watches() int
	// intact reports whether the kernel still has every mark that was set; it may lose them when a file system is unmounted.
	intact() bool
	close()
}

// Watcher watches a tree. It is safe for concurrent use.
type Watcher struct {
	root    string
	options Options
	stop    *os.File // closed by Close, or written to by Flush: its other end wakes the loop
	stopped *os.File
	done    chan struct{}

	mu       sync.Mutex
	set      Set
	err      error         // the watcher is of no use any more
	wake     chan struct{} // closed when there is something in set, or err
	status   Status
	gap      time.Duration
	lastTake time.Time
	flushes  []chan struct{} // each closed when the loop has read what there was

	// Only the loop touches these.
	source   source
	identity identity
	mounts   *mountTable
	settling settling
	// strangers says that nothing of what was read last was of this tree.
	strangers bool
	// linked is when everything has to be looked at for a file with several names, linkedLast when that was last done.
	linked, linkedLast time.Time
	stalls             chan func() // tests hold the loop up
}

// identity tells a directory from another one.
type identity struct {
	device, inode uint64
}

// Open begins to watch the tree at root, a directory or a symbolic link to one. Everything that changes from then on is
// reported; what was before is the caller's to look at. It fails when there is no such directory, with a *LimitError
// when inotify is all there is and the kernel allows too few watches, and with an *UnsupportedError when
// Options.Method does not work here. Close ends it; ctx is for Open alone.
func Open(ctx context.Context, root string, options Options) (*Watcher, error) {
	if options.Settle == 0 {
		options.Settle = DefaultSettle
	}
	if options.SettleMost == 0 {
		options.SettleMost = DefaultSettleMost
	}
	if options.Skip == nil {
		options.Skip = func(string) bool { return false }
	}
	if options.Own == nil {
		options.Own = func(int) bool { return false }
	}
	if options.Foreign == nil {
		options.Foreign = func(string) bool { return false }
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", root, err)
	}
	w := &Watcher{
		root: root, options: options, done: make(chan struct{}), wake: make(chan struct{}), stalls: make(chan func()),
		settling: settling{settle: options.Settle, most: options.SettleMost},
	}
	if w.mounts, err = openMounts(); err != nil {
		return nil, err
	}
	if err := w.begin(ctx); err != nil {
		return nil, errors.Join(err, w.mounts.close())
	}
	if w.stopped, w.stop, err = os.Pipe(); err != nil {
		w.source.close()
		return nil, errors.Join(fmt.Errorf("watch %s: %w", root, err), w.mounts.close())
	}
	go w.loop() //nolint:contextcheck // it ends with Close, not with the context of Open
	return w, nil
}

// begin finds a source for the tree as it is now.
func (w *Watcher) begin(ctx context.Context) error {
	var stat unix.Stat_t
	if err := unix.Stat(w.root, &stat); err != nil {
		return fmt.Errorf("watch %s: %w", w.root, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("watch %s: %w", w.root, unix.ENOTDIR)
	}
	canonical, err := filepath.EvalSymlinks(w.root)
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.root, err)
	}
	// What is mounted from here on is a change.
	if err := w.mounts.note(canonical); err != nil {
		return fmt.Errorf("watch %s: %w", w.root, err)
	}
	method, reason := Fanotify, ""
	var s source
	if w.options.Method == Inotify {
		method = Inotify
	} else if s, err = openFanotify(canonical, w.mounts.below(), w.options); err != nil {
		if w.options.Method == Fanotify {
			return &UnsupportedError{Method: Fanotify, Root: w.root, Err: err}
		}
		method, reason = Inotify, "no fanotify: "+err.Error()
	}
	if method == Inotify {
		if s, err = openInotify(ctx, canonical, w.options); err != nil {
			return err
		}
	}
	w.source, w.identity = s, identity{stat.Dev, stat.Ino}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.Method, w.status.Reason, w.status.Watches, w.status.Missing = method, reason, s.watches(), ""
	return nil
}

// Next waits until something has changed and returns it; what it returns is not returned again. A single change is
// returned at once; in a burst of them, batches follow each other more and more slowly, down to two a second. The
// errors are those of ctx, ErrClosed, and a *LimitError when directories have come that cannot be watched: such a
// watcher is of no use and is to be closed.
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
	for {
		w.mu.Lock()
		wake, wait := w.wake, time.Duration(0)
		if w.err != nil && w.set.Len() == 0 {
			defer w.mu.Unlock()
			return Batch{}, w.err
		}
		if w.set.Len() > 0 {
			since := time.Since(w.lastTake)
			if since >= w.gap || w.set.all || w.err != nil {
				defer w.mu.Unlock()
				return w.take(), nil
			}
			wait = w.gap - since
		}
		w.mu.Unlock()
		if wait > 0 {
			wake = nil // more changes are no reason to be earlier
		}
		if err := sleep(ctx, wake, w.done, wait); err != nil {
			return Batch{}, err
		}
	}
}

// sleep waits for the first of: wake, done, the end of ctx, and wait when it is not 0.
func sleep(ctx context.Context, wake, done <-chan struct{}, wait time.Duration) error {
	var timer <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wake:
	case <-done:
	case <-timer:
	}
	return nil
}

// take empties the set, with mu held.
func (w *Watcher) take() Batch {
	b := w.set.Take()
	if len(b.Changes) > few {
		w.gap = min(2*max(w.gap, gapLeast), gapMost)
	} else {
		w.gap = gapLeast
	}
	w.lastTake = time.Now()
	if w.err == nil {
		w.wake = make(chan struct{})
	}
	return b
}

// Status returns what the watcher is doing.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Flush returns when Options.Own and the others have been asked of everything that had happened to the tree before it was called, as far as the kernel
// tells of it: what was lost is in the next batch. The errors are those of ctx, and ErrClosed.
func (w *Watcher) Flush(ctx context.Context) error {
	flushed := make(chan struct{})
	w.mu.Lock()
	w.flushes = append(w.flushes, flushed)
	w.mu.Unlock()
	if _, err := w.stop.Write([]byte{0}); err != nil {
		return ErrClosed
	}
	select {
	case <-flushed:
		return nil
	case <-w.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeFlushes returns who waits for what there is now.
func (w *Watcher) takeFlushes() []chan struct{} {
	var woken [64]byte
	_, _ = w.stopped.Read(woken[:]) // poll has said that there is something
	w.mu.Lock()
	defer w.mu.Unlock()
	flushes := w.flushes
	w.flushes = nil
	return flushes
}

// Close ends the watcher and returns when it has let go of everything. It may be called more than once.
func (w *Watcher) Close() error {
	err := w.stop.Close()
	<-w.done
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// add puts changes into the set and wakes Next.
func (w *Watcher) add(c Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set.Add(c)
	w.notify()
}

// rescan demands that everything is looked at.
func (w *Watcher) rescan(reason string) {
	w.options.Log.Info("everything in a tree has to be looked at again", "root", w.root, "reason", reason)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.Rescans++
	w.status.LastRescan = reason
	w.set.AddAll(reason)
	w.notify()
}

// notify wakes Next, with mu held.
func (w *Watcher) notify() {
	select {
	case <-w.wake:
	default:
		close(w.wake)
	}
}

// fail ends Next with an error.
func (w *Watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		w.notify()
	}
}
