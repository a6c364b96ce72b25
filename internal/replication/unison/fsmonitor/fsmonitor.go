// Package fsmonitor speaks the protocol in which unison is told of changes by its helper unison-fsmonitor, which
// Debian's unison comes without: version 1, as unison 2.52 and 2.53 have it.
//
// The protocol is described at the head of unison's src/fswatch.ml, its own side of it is that file, and the helper's
// is src/fsmonitor/watchercommon.ml (https://github.com/bcpierce00/unison). Commands and answers are lines: a word, a
// space, and arguments that are percent-encoded and separated by spaces. Unison says where it scans (START, DIR, LINK,
// DONE), asks for what has changed since (CHANGES, answered by RECURSIVE lines and DONE) and in its own watch mode waits
// for changes (WAIT, answered by one CHANGES line as soon as there are any). The one departure from the original helper
// is deliberate: it waits until half a second has passed after a change, while here the watcher has done whatever
// waiting is good.
//
// # The pace
//
// In its watch mode, unison sleeps for a second after each synchronization before it waits for the next change
// (watchinterval in src/uitext.ml), and there is no setting for that. Options.Hold is for a unison that asks again and
// again without a pause: with "repeat = 0" and "retry = -1" it does, as long as there is a path whose transfer fails
// (synchronizeUntilNoFailures in src/uitext.ml). It is this package then that decides when the next round begins, by
// holding back an answer until there is something to do.
package fsmonitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// Kind is what unison is doing.
type Kind int

const (
	// Scanning means that unison reads the tree below Path.
	Scanning Kind = iota + 1
	// Waiting means that unison has nothing to do on this side until something changes.
	Waiting
	// Told means that unison has been told of Count paths, and synchronizes.
	Told
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Scanning:
		return "scanning"
	case Waiting:
		return "waiting"
	case Told:
		return "told"
	default:
		return fmt.Sprintf("kind %d", int(k))
	}
}

// Event is something that unison does.
type Event struct {
	Kind Kind
	// Path is what is scanned, relative to the tree; "" is all of it.
	Path string
	// Count is the number of paths.
	Count int
}

// Options say how changes are told. None of the functions may call the Monitor's methods, and all may be nil.
type Options struct {
	// Root is the tree. A unison that asks for another one is refused.
	Root string
	// Hold has the answer to CHANGES wait until something has changed, here or (Release) on the other side.
	Hold bool
	// Gate is asked right before unison is told anything that it may act upon. An error ends the connection, and with it
	// unison: what is not to be taken for deletions is never seen by it.
	Gate func() error
	// Event is called with what unison does.
	Event func(Event)
	// Woken is called when an answer that is one half of a round is given because of changes here: unison waits for the
	// other side's half, too, and that side's monitor has to be told by Release. Only with Hold.
	Woken func(round int)
	Log   *slog.Logger
}

// Monitor gathers the changes of one tree for the unison that synchronizes it. It is safe for concurrent use.
type Monitor struct {
	options Options

	mu      sync.Mutex
	pending watch.Set
	session *session
}

// New returns a monitor. Until unison has scanned the tree for the first time, there is nothing that it has to be told.
func New(options Options) *Monitor {
	if options.Gate == nil {
		options.Gate = func() error { return nil }
	}
	if options.Event == nil {
		options.Event = func(Event) {}
	}
	if options.Woken == nil {
		options.Woken = func(int) {}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Monitor{options: options}
}

// conflict is how unison names the version that it puts aside (prepareCopy and finishCopy in src/files.ml).
var conflict = regexp.MustCompile(` \(conflict(?: #[0-9]+)?_on_[0-9]{4}-[0-9]{2}-[0-9]{2}(?:_was_deleted)?\)`)

// Changed takes in what a watcher has reported. Unison is not told of what it did itself, but for one thing: of a
// version that it has put aside after a conflict it knows nothing, and neither of what became of the name that the
// version had. It returns the number of the round in which unison will be told, as its rounds are counted since it has begun to ask over its
// present connection.
func (m *Monitor) Changed(b watch.Batch) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.All {
		m.pending.AddAll(b.Reason)
	}
	for _, c := range b.Changes {
		if temporary(c.Path) {
			continue
		}
		name := c.Path[strings.LastIndexByte(c.Path, '/')+1:]
		if at := conflict.FindStringIndex(name); at != nil {
			m.pending.Add(watch.Change{Path: watch.Join(watch.Parent(c.Path), name[:at[0]]+name[at[1]:])})
		} else if c.Own {
			continue
		}
		m.pending.Add(watch.Change{Path: c.Path, Recursive: c.Recursive})
	}
	if m.session == nil {
		return 1
	}
	if m.pending.Len() > 0 {
		m.session.poke()
	}
	return m.session.next()
}

// temporary reports whether a path is, or is in, what unison is writing at the moment (isTempFile in src/os.ml).
func temporary(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(part, ".unison.") && strings.HasSuffix(part, ".unison.tmp") {
			return true
		}
	}
	return false
}

// Pending is how many paths unison has not been told of yet.
func (m *Monitor) Pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pending.Len()
}

// Release has the answer to the given round given, changes or not: the other side has changes in that round. It may come
// before unison asks; one for the round that was answered last does nothing.
func (m *Monitor) Release(round int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session != nil {
		m.session.release(round)
	}
}

// Again begins a round although nothing has changed: unison tries again what has failed. It does nothing while unison
// is busy, and without Hold.
func (m *Monitor) Again() {
	m.mu.Lock()
	round := 0
	if s := m.session; s != nil && (s.asked == changes || s.asked == scan) {
		round = s.round
		s.release(round)
	}
	m.mu.Unlock()
	if round > 0 {
		m.options.Woken(round)
	}
}

// ErrReplaced ends a connection when unison has begun another one.
var ErrReplaced = errors.New("unison has started another monitor of changes")

// Serve answers one unison until it closes the connection, which is no error. A connection before it is closed. When
// ctx ends, conn is closed if it can be.
func (m *Monitor) Serve(ctx context.Context, conn io.ReadWriter) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c, ok := conn.(io.Closer); ok {
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	}
	s := &session{monitor: m, conn: conn, wake: make(chan struct{}, 1), end: cancel}
	m.mu.Lock()
	if m.session != nil {
		m.session.end(ErrReplaced)
	}
	m.session = s
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.session == s {
			m.session = nil
		}
	}()
	return s.serve(ctx)
}

// sameDirectory reports whether unison's name of the tree, which has no symbolic links, is that of the tree.
func (m *Monitor) sameDirectory(fspath string) bool {
	if filepath.Clean(fspath) == filepath.Clean(m.options.Root) {
		return true
	}
	canonical, err := filepath.EvalSymlinks(m.options.Root)
	return err == nil && canonical == filepath.Clean(fspath)
}
