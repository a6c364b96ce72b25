package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	// coldFirst is how long after the worker's start directories are moved for the first time.
	coldFirst = 20 * time.Second
	// coldRetry is how soon after a run in which not everything was moved that is tried again.
	coldRetry = 10 * time.Minute
	// coldLook is how often it is looked what is moved.
	coldLook = time.Minute
	// coldSettled is how long nothing may have changed in a directory before it is moved.
	coldSettled = 10 * time.Minute
	// permitFor is how long a node that is told that the other is gone believes it.
	permitFor = time.Minute
	// metFor is how long a node that has asked is believed to be there, whatever anybody says: longer than the stream over which it began
	// may be without a sign of this node, so that by then either that is at work here or its engine has ended.
	metFor = 30 * time.Second
	// restFor is how long after a word of the other node's about moves a link that is missing is no news.
	restFor = 15 * time.Second
	// holdAgain is how often whoever wants the engine to rest ends it, should it have begun once more.
	holdAgain = 100 * time.Millisecond
	// bringAgain is how long after what was written through links was brought over, because somebody waits for it, that is done again, and sparing how
	// many times longer than it took.
	bringAgain = 5 * time.Second
	sparing    = 5
	// agreeWithin bounds how long a leader waits for a way to the other node's directories before it begins anew.
	agreeWithin = dialWithin
)

// Cold is how a worker moves old directories.
type Cold struct {
	// Root is where to.
	Root string `json:"root"`
	// Pattern is where directories hold a date (spec.DatePattern), OlderThan how many days ago it has to have ended.
	Pattern   string `json:"pattern"`
	OlderThan int    `json:"older_than_days"`
	// Interval is how often, Settled how long nothing may have changed in a directory; 0 means ten minutes.
	Interval time.Duration `json:"interval"`
	Settled  time.Duration `json:"settled,omitempty"`
}

// mover moves old directories: it keeps the program that does so as the tree's account, and drives it on the node that leads.
type mover struct {
	cfg Config
	log *slog.Logger
	// here is this node's side, there the other node's, for the node that leads.
	here, there cold.Side
	offers      chan *offer
	// linked tells whether the other side is reached, synced when the engine has found both sides equal last.
	linked func() bool
	synced func() time.Time

	// running is full while the engine runs or may not start.
	running chan struct{}
	// swapping is full while a directory is replaced on this node alone.
	swapping chan struct{}

	mu sync.Mutex
	// rest ends the engine's run, nil while there is none. host is the engine's, nil before there is one.
	rest context.CancelFunc
	host *Host
	// resting counts those who want it to rest; heard is when the other node had last to do with moves.
	resting int
	heard   time.Time
	// met is when it last asked for this node's directories.
	met time.Time
	// alone is until when the other node counts as gone.
	alone  time.Time
	status spec.ColdStatus
	// wanted tells that somebody has found the cold roots to differ since they were last made equal. brought is when that last ended because of this, and
	// bringing how long it took, and unbrought why it has failed.
	wanted    bool
	brought   time.Time
	bringing  time.Duration
	unbrought string
	// unreached is since when runs have not reached a side, zero while they do.
	unreached time.Time
	// rested is when the engine has rested last.
	rested time.Time
	// apart are the directories that one node alone has moved, followed is when they were last to be moved on the other one, following how long that
	// took, and unfollowed why it has failed.
	apart      []string
	followed   time.Time
	following  time.Duration
	unfollowed string
	// root is what is wrong with the roots whether there are runs or not.
	root string
	// since is when that began. aside is how many replaced directories are left.
	since time.Time
	aside int
}

// reached tells whether the other side is.
func (w *worker) reached() (linked bool) {
	w.board.set(func() { linked = w.board.linked })
	return linked
}

// equalAt returns when the engine has found both sides equal last.
func (w *worker) equalAt() (at time.Time) {
	w.board.set(func() { at = w.board.synced })
	return at
}

// newMover returns nil for a pair that moves nothing.
func newMover(cfg Config, linked func() bool, synced func() time.Time, log *slog.Logger) *mover {
	if cfg.Cold == nil {
		return nil
	}
	m := &mover{cfg: cfg, log: log, linked: linked, synced: synced, offers: make(chan *offer), running: make(chan struct{}, 1), swapping: make(chan struct{}, 1)}
	m.here = cold.NewClient(m.dialHere)
	m.there = cold.NewClient(func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, agreeWithin)
		defer cancel()
		stream, err := takeOffer(ctx, m.offers)
		if err != nil {
			return nil, fmt.Errorf("reach the cold root of %s: %w", cfg.Peer, err)
		}
		return stream, nil
	})
	return m
}

func (m *mover) socket() string { return filepath.Join(m.cfg.RunDir, "cold.sock") }

func (m *mover) dialHere(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", m.socket())
}

// keep has the program that moves run until ctx ends.
func (m *mover) keep(ctx context.Context, account Account) error {
	dir := filepath.Join(m.cfg.RunDir, "cold")
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := os.Lchown(dir, account.UID, account.GID); err != nil {
		return err
	}
	listener, err := ListenUnix(ctx, m.socket(), Account{UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	socket, err := listener.File()
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	for pause := pauseLeast; ctx.Err() == nil; pause = min(2*pause, pauseMost) {
		began := time.Now()
		err := m.program(ctx, dir, socket, account)
		if ctx.Err() != nil {
			break
		}
		m.log.Warn("the program that moves old directories has ended", "error", err)
		if time.Since(began) > steady {
			pause = pauseLeast
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return ctx.Err()
}

// program runs the program once.
func (m *mover) program(ctx context.Context, dir string, socket *os.File, account Account) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	link := filepath.Join(m.cfg.RunDir, cold.ProgramName)
	if at, err := os.Readlink(link); err != nil || at != self {
		_ = os.Remove(link) // the next line says what is wrong
		if err := os.Symlink(self, link); err != nil {
			return err
		}
	}
	settled := m.cfg.Cold.Settled
	if settled == 0 {
		settled = coldSettled
	}
	const inherited = 3 // the first of ExtraFiles
	environment, err := cold.Environment(cold.Config{
		Pair: m.cfg.Pair, Node: m.cfg.Node, Tree: m.cfg.Path, Root: m.cfg.Cold.Root, Marker: Marker, Pattern: m.cfg.Cold.Pattern,
		OlderThan: m.cfg.Cold.OlderThan, Exclude: m.cfg.Exclude, Settled: settled, RunDir: dir,
	}, inherited)
	if err != nil {
		return err
	}
	cmd := exec.Command(link) //nolint:noctx // it is ended below
	cmd.Env, cmd.Dir, cmd.Stderr, cmd.ExtraFiles = environment, "/", os.Stderr, []*os.File{socket}
	wait, err := startAs(cmd, account)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = killGroup(cmd.Process.Pid, true) }) // every step of it may be interrupted
	defer stop()
	err = wait()
	_ = killGroup(cmd.Process.Pid, true) // what it has left, if anything
	return err
}

// drive moves what is due until ctx ends.
func (m *mover) drive(ctx context.Context) error {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	first := min(coldFirst, m.cfg.Cold.Interval)
	next, looked := time.Now().Add(first), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		run := time.Now().After(next)
		var result cold.Result
		began := time.Now()
		switch {
		case run && m.linked() && m.cfg.Leads:
			result = cold.Round(ctx, m.here, m.there, m.hold, m.log)
		case run && !m.linked() && m.permitted():
			result = cold.Alone(ctx, m.here, m.holdAlone, m.log)
		case m.behind() && m.linked() && m.cfg.Leads:
			m.follow(ctx)
			continue
		case m.asked() && m.linked() && m.cfg.Leads:
			m.bring(ctx)
			continue
		default:
			if time.Since(looked) > coldLook || m.heardSince(looked) {
				looked = time.Now()
				m.look(ctx)
				if m.unfit() {
					return errColdRoot
				}
			}
			continue
		}
		took := time.Since(began)
		// One that takes longer than its interval would never end.
		pause := m.cfg.Cold.Interval
		if len(result.Busy)+len(result.Problems) > 0 {
			pause = min(pause, coldRetry)
		}
		next = time.Now().Add(max(pause, took))
		if m.interrupted(result.Unreached) {
			next = time.Now().Add(max(first, took))
			continue
		}
		m.ended(result, took)
		m.look(ctx)
		looked = time.Now()
		if m.left() {
			next = time.Now().Add(max(min(pause, coldRetry), took))
		}
	}
}

// ended notes how a run has ended.
func (m *mover) ended(r cold.Result, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted, m.unbrought = false, ""
	m.status.Last, m.status.Took = time.Now().UTC(), took.Seconds()
	m.status.Waiting, m.status.Problem = first(r.Busy), first(r.Problems)
	if took > m.cfg.Cold.Interval && m.status.Problem == "" {
		m.status.Problem = fmt.Sprintf("a run takes %s, longer than its interval of %s: choose a longer one", took.Round(time.Second), m.cfg.Cold.Interval)
	}
}

// errColdRoot ends a worker whose cold root has not been there for long: a file system that was mounted since may not be to be seen from where
// it runs, as for a tree.
var errColdRoot = errors.New("the cold root is not there: whether it is mounted since is seen from a new start")

// unfit tells that something has been wrong with the root for long.
func (m *mover) unfit() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.root == "" {
		m.since = time.Time{}
	} else if m.since.IsZero() {
		m.since = time.Now()
	}
	return m.root != "" && time.Since(m.since) > coldRetry
}

// left tells that what was replaced is not removed yet.
func (m *mover) left() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.aside > 0
}

// first returns the first of some texts, and how many more there are. Names of files may hold anything.
func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	text := shortened(printable(texts[0]))
	if len(texts) > 1 {
		text += fmt.Sprintf(", and %d more", len(texts)-1)
	}
	return text
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// look looks what is moved.
func (m *mover) look(ctx context.Context) {
	s, err := m.here.State(ctx)
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.root = shortened(printable(err.Error()))
		return
	}
	m.root = shortened(printable(string(s.Problem)))
	m.aside = s.Aside
	m.status.Directories, m.status.Due, m.status.Bytes, m.status.Kept = len(s.Linked), len(s.Due), s.Bytes, s.Kept
	m.status.Orphaned = s.Orphaned
}

// said returns what is moved.
func (m *mover) said() *spec.ColdStatus {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status
	s.Problem = cmp.Or(m.root, m.unfollowed, s.Problem, m.unbrought)
	if len(m.apart) > 0 {
		s.Waiting = fmt.Sprintf("%d directories that one node has moved are to be moved on the other", len(m.apart))
	}
	return &s
}

// rests tells that the engine does not run since directories are being replaced, or just were.
func (m *mover) rests() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.resting > 0 || time.Since(m.heard) < restFor
}

// heardSince tells whether the other node has had to do with moves since a time.
func (m *mover) heardSince(at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard.After(at)
}

// permitted tells that the other node is gone.
func (m *mover) permitted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.alone) && time.Since(m.met) > metFor
}

func (w *worker) servePermit(rw http.ResponseWriter, _ *http.Request) {
	if w.mover == nil {
		http.Error(rw, "the pair moves no directories", http.StatusConflict)
		return
	}
	w.mover.mu.Lock()
	defer w.mover.mu.Unlock()
	w.mover.alone = time.Now().Add(permitFor)
	answer(rw, struct{}{})
}

// serveCold hands a stream of the other node to the program that moves.
func (w *worker) serveCold(rw http.ResponseWriter, r *http.Request) {
	if w.mover == nil || w.cfg.Leads {
		http.Error(rw, "this node answers to nobody about old directories", http.StatusConflict)
		return
	}
	inner, err := w.mover.dialHere(r.Context())
	if err != nil {
		http.Error(rw, "the program that moves old directories is starting", http.StatusServiceUnavailable)
		return
	}
	stream, err := takeOver(rw)
	if err != nil {
		_ = inner.Close()
		return
	}
	w.mover.meet()
	defer w.mover.heed()
	if err := Join(stream, inner); err != nil {
		w.log.Debug("a stream about old directories has ended", "error", err)
	}
}

// meet notes that the other node is there: this one moves nothing alone any more, and has finished what it was about.
func (m *mover) meet() {
	m.mu.Lock()
	m.met, m.heard = time.Now(), time.Now()
	m.mu.Unlock()
	m.swapping <- struct{}{}
	<-m.swapping
}

// heed notes that the other node has to do with moves.
func (m *mover) heed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = time.Now()
}

func (w *worker) serveOfferCold(rw http.ResponseWriter, r *http.Request) {
	if w.mover == nil {
		http.Error(rw, "the pair moves no directories", http.StatusConflict)
		return
	}
	w.offered(rw, r, w.mover.offers)
}
