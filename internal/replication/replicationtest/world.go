//go:build linux

package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Machine is one of the two machines that a suite runs on. It has a user www-data.
type Machine struct {
	// Name is the node's name.
	Name string
	Sys  host.System
	// Root is where the machine's files are for this process.
	Root string
	// Dial connects to a Unix socket of the machine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Kill ends a unit's main process without giving it a chance to clean up.
	Kill func(unit string) error
}

// Run runs a shell command on the machine and fails the test when it fails.
func (m *Machine) Run(t testing.TB, script string, args ...string) string {
	t.Helper()
	out, err := m.Sys.Run(t.Context(), host.Command{Name: "sh", Args: append([]string{"-ec", script, "sh"}, args...), ReadOnly: true})
	if err != nil {
		t.Fatalf("%s: %v", m.Name, err)
	}
	return string(out.Stdout)
}

// NewDriver makes the driver under test on a machine, as a new start of the agent has it; what it does in the background ends with the test.
type NewDriver func(t testing.TB, m *Machine) replication.Driver

// pairName is what the suite calls its pair.
const pairName = "uploads"

// side is one node's side of the pair.
type side struct {
	*Machine
	driver replication.Driver
	path   string
	leads  bool
}

// file returns where a path of the tree is for this process.
func (s *side) file(path string) string { return filepath.Join(s.Root, s.path, path) }

// world is the two sides and the way between them.
type world struct {
	newDriver  func(m *Machine) replication.Driver
	unit       func(pair string) string
	lead, back *side
	exclude    []string

	// way is how much the way between the nodes carries, in either direction.
	way *rate.Limiter

	mu    sync.Mutex
	cut   bool
	open  map[io.Closer]struct{}
	limit spec.PairLimits
	after *spec.PairAfter
}

func newWorld(t testing.TB, newDriver NewDriver, unit func(pair string) string, lead, back *Machine) *world {
	// Every driver lasts as long as the suite.
	whole := func(m *Machine) replication.Driver { return newDriver(t, m) }
	w := &world{newDriver: whole, unit: unit, exclude: []string{"*.tmp", "cache/**"}, open: map[io.Closer]struct{}{}, way: rate.NewLimiter(rate.Inf, wayBurst)}
	w.lead = &side{Machine: lead, path: "/srv/uploads", leads: true}
	w.back = &side{Machine: back, path: "/srv/other place"}
	for _, s := range []*side{w.lead, w.back} {
		s.driver = w.newDriver(s.Machine)
	}
	return w
}

func (w *world) sides() []*side { return []*side{w.lead, w.back} }

func (w *world) other(s *side) *side {
	if s == w.lead {
		return w.back
	}
	return w.lead
}

// pair is a side as it should be.
func (w *world) pair(s *side) replication.Pair {
	o := w.other(s)
	p := replication.Pair{
		Name: pairName, Node: s.Name, Peer: o.Name, Leads: s.leads, Path: s.path, PeerPath: o.path, Owner: "www-data", Group: "www-data",
		Exclude: w.exclude, Limits: w.limit, After: w.after,
	}
	if s.leads {
		p.Dial = w.dial
	}
	return p
}

// errCut is what the way between the nodes says while it is cut.
var errCut = errors.New("the way is cut")

// dial opens a stream from the side that leads to the other.
func (w *world) dial(context.Context) (io.ReadWriteCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, errCut
	}
	lead, back := net.Pipe()
	here, there := w.narrowed(lead), w.narrowed(back)
	w.open[here], w.open[there] = struct{}{}, struct{}{}
	go func() { //nolint:contextcheck // the stream outlives the call that opens it
		_ = w.back.driver.Accept(context.Background(), pairName, there) // it has closed the stream, as the other side sees
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, here)
		delete(w.open, there)
	}()
	return here, nil
}

// wayBurst is how many bytes the way between the nodes carries at once.
const wayBurst = 16 << 10

// narrow has the way between the nodes carry so many bytes a second.
func (w *world) narrow(bytes rate.Limit) { w.way.SetLimit(bytes) }

// narrowed is one end of the way. Closing it ends a write that waits.
func (w *world) narrowed(end net.Conn) io.ReadWriteCloser {
	ctx, cancel := context.WithCancel(context.Background())
	return &wayEnd{Conn: end, way: w.way, ctx: ctx, cancel: cancel}
}

type wayEnd struct {
	net.Conn
	way    *rate.Limiter
	ctx    context.Context //nolint:containedctx // it is the stream's life
	cancel context.CancelFunc
}

// Write implements io.Writer.
func (e *wayEnd) Write(p []byte) (done int, err error) {
	for done < len(p) && err == nil {
		n := min(len(p)-done, wayBurst)
		if err := e.way.WaitN(e.ctx, n); err != nil {
			return done, io.ErrClosedPipe
		}
		n, err = e.Conn.Write(p[done : done+n])
		done += n
	}
	return done, err
}

// Close implements io.Closer.
func (e *wayEnd) Close() error {
	e.cancel()
	return e.Conn.Close()
}

// setCut cuts the way between the nodes, or heals it.
func (w *world) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if !cut {
		return
	}
	for c := range w.open {
		_ = c.Close()
	}
}

// apply makes a side as it should be.
func (w *world) apply(t testing.TB, s *side) {
	t.Helper()
	if err := s.driver.Apply(t.Context(), []replication.Pair{w.pair(s)}); err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
}

func (w *world) applyBoth(t testing.TB) {
	t.Helper()
	w.apply(t, w.lead)
	w.apply(t, w.back)
}

// status returns a side as it is, without waiting for anything that may not come.
func (s *side) status(ctx context.Context, t testing.TB) replication.Status {
	t.Helper()
	began := time.Now()
	st, err := s.driver.Status(ctx, pairName)
	if err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
	if took := time.Since(began); took > long/4 { // nothing else on this machine may make a test fail
		t.Errorf("%s: status took %s", s.Name, took)
	}
	return st
}

// workersStatus returns a side as its worker says it is: one that is busy may not answer at once.
func (s *side) workersStatus(t testing.TB) replication.Status {
	t.Helper()
	return s.awaitStatus(t, "the worker answers", func(st replication.Status) bool { return !st.Started.IsZero() })
}

// awaitStatus waits for a status.
func (s *side) awaitStatus(t testing.TB, what string, is func(replication.Status) bool) replication.Status {
	t.Helper()
	var last replication.Status
	await.NoError(t, s.Name+": "+what, long, func(ctx context.Context) error {
		if last = s.status(ctx, t); !is(last) {
			return fmt.Errorf("it is %+v", last)
		}
		return nil
	})
	return last
}

// awaitSynced waits until the leader says that both sides are equal, as they then are.
func (w *world) awaitSynced(t testing.TB, within time.Duration) {
	t.Helper()
	await.NoError(t, "the sides are equal and say so", within, func(ctx context.Context) error {
		if difference := w.difference(); difference != "" {
			return errors.New(difference)
		}
		if st := w.lead.status(ctx, t); st.State != spec.PairSynced {
			return fmt.Errorf("the leader says %+v, the other %+v", st, w.back.status(ctx, t))
		}
		return nil
	})
}

// write puts a file into a side's tree as the application would: whole, by its own account.
func (s *side) write(t testing.TB, path, content string) {
	t.Helper()
	file := s.file(path)
	if err := s.makeDir(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil { //nolint:gosec // as an application's are
		t.Fatal(err)
	}
	if err := os.Chown(file, owner, owner); err != nil {
		t.Fatal(err)
	}
}

// replace puts another file in the place of one, as most applications write. One that is written in its place again within seconds is given another date
// later on, since unison may not see that it was, and that is a change of its own.
func (s *side) replace(t testing.TB, path, content string) {
	t.Helper()
	s.write(t, path+".tmp", content)
	if err := os.Rename(s.file(path+".tmp"), s.file(path)); err != nil {
		t.Fatal(err)
	}
}

// owner is www-data's user and group id on every Debian machine.
const owner = 33

func (s *side) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := s.makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // it may have come from the other side
		return err
	}
	return os.Chown(dir, owner, owner)
}

// read returns a file's content, "" when it is not there.
func (s *side) read(path string) string {
	data, err := os.ReadFile(s.file(path))
	if err != nil {
		return ""
	}
	return string(data)
}
