package cold_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
)

// A file that is open for writing keeps its directory where it is.
func TestOpenForWriting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	f, err := os.OpenFile(w.sg1.hot(old+"/a"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	if r := w.mustRound(); r.Directories != 0 || len(r.Busy) != 1 || !strings.Contains(r.Busy[0], "open for writing") {
		t.Errorf("a round: %+v", r)
	}
	if w.hk1.linked(old) || w.sg1.linked(old) {
		t.Error("it is moved")
	}
	must(t, f.Close())
	w.mustRound()
	w.checkMoved(old)
}

// A directory in which something has changed lately stays, too.
func TestNotSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hk1.cfg.Settled = 10 * time.Minute
	w.start()
	w.writeBoth(old+"/a", "one")
	for after, moved := range map[time.Duration]bool{time.Minute: false, 11 * time.Minute: true} {
		w.hk1.SetNow(func() time.Time { return time.Now().Add(after) })
		if _, err := w.hk1.Copy(t.Context(), old); (err == nil) != moved {
			t.Errorf("after %s: %v", after, err)
		}
	}
}

// Whoever has a file open, or is in the directory, when that is exchanged, writes on, and nothing of it is lost.
func TestWritersOfWhatIsAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	w.writeBoth(old+"/deep/b", "two")
	inside, err := os.OpenRoot(w.hk1.hot(old))
	must(t, err)
	defer func() { _ = inside.Close() }()
	var open *os.File
	w.hk1.SetStep(func(step string) error {
		if step == "exchange" {
			open, err = os.OpenFile(w.hk1.hot(old+"/a"), os.O_RDWR, 0)
			must(t, err)
		}
		return nil
	})
	w.mustRound()
	if !w.hk1.linked(old) || !w.sg1.linked(old) {
		t.Fatal("it is not moved")
	}
	if s, err := w.hk1.State(t.Context()); err != nil || s.Aside != 1 {
		t.Fatalf("what is open is removed: %+v, %v", s, err)
	}
	_, err = open.WriteString("one, and more by who had it open")
	must(t, err)
	must(t, inside.WriteFile("late", []byte("made by who was inside"), 0o644))
	w.mustRound()
	if s, err := w.hk1.State(t.Context()); err != nil || s.Aside != 1 {
		t.Fatalf("what is open is removed: %+v, %v", s, err)
	}
	_, err = open.WriteString(", and still more")
	must(t, errors.Join(err, open.Close()))
	w.mustRound()
	w.checkMoved(old)
	for _, n := range w.nodes() {
		if got := n.read(t, old+"/a") + n.read(t, old+"/late"); got != "one, and more by who had it open, and still moremade by who was inside" {
			t.Errorf("%s: %q", n.name, got)
		}
	}
	w.checkHas(map[string]bool{"one": true, "two": true})
}

// What was replaced goes to the root also when its place in the tree, and that in the root, were removed meanwhile.
func TestRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	var open *os.File
	w.hk1.SetStep(func(step string) (err error) {
		if step == "exchange" {
			open, err = os.OpenFile(w.hk1.hot(old+"/a"), os.O_RDWR, 0)
			must(t, err)
		}
		return nil
	})
	w.mustRound()
	for _, n := range w.nodes() {
		must(t, errors.Join(os.RemoveAll(n.hot("2026")), os.RemoveAll(n.root("2026"))))
	}
	_, err := open.WriteString("one, and more")
	must(t, errors.Join(err, open.Close()))
	w.mustRound()
	w.checkHas(map[string]bool{"one, and more": true})
	if s, err := w.hk1.State(t.Context()); err != nil || s.Aside > 0 {
		t.Errorf("something is left: %+v, %v", s, err)
	}
}

// Nodes that do not have the same yet move nothing.
func TestNotEqual(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	w.hk1.write(t, old+"/b", "on its way")
	if r := w.mustRound(); len(r.Busy) != 1 || !strings.Contains(r.Busy[0], "do not have the same") || w.hk1.linked(old) || w.sg1.linked(old) {
		t.Errorf("a round: %+v", r)
	}
	must(t, os.Remove(w.hk1.hot(old+"/b")))
	// What the hot part leaves on its node does not count, and is moved with the rest.
	w.hk1.write(t, old+"/c.tmp", "of hk1 alone")
	w.mustRound()
	w.checkMoved(old)
	if got := w.hk1.read(t, old+"/c.tmp"); got != "of hk1 alone" {
		t.Errorf("what is excluded: %q", got)
	}
	if _, err := os.Stat(w.hk1.hot(old + "/b")); err == nil {
		t.Error("what was deleted before is there again")
	}
}

func TestNamesAndKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names := []string{"new\nline", "\xff\xfe not utf-8", strings.Repeat("n", 255), " blanks ", "back\\slash", "-rf", "$HOME `id`", ".hidden", "[x]*?", "%s%n", "a:b", "@(x)"}
	for i, name := range names {
		w.writeBoth(old+"/"+name, fmt.Sprint(i))
	}
	for _, n := range w.nodes() {
		must(t, os.Symlink("a", n.hot(old+"/link")))
		must(t, os.Symlink("/etc/hostname", n.hot(old+"/absolute")))
		must(t, os.Symlink("loop", n.hot(old+"/loop")))
		must(t, os.WriteFile(n.hot(old+"/a"), []byte("linked"), 0o600))
		must(t, os.Link(n.hot(old+"/a"), n.hot(old+"/hard")))
		must(t, os.WriteFile(n.hot(old+"/sparse"), nil, 0o644))
		must(t, os.Truncate(n.hot(old+"/sparse"), 64<<20))
		must(t, os.MkdirAll(n.hot(old+"/empty/dir"), 0o750))
		must(t, os.Chmod(n.hot(old+"/empty"), os.ModeSetgid|0o770))
	}
	w.mustRound()
	w.checkMoved(old)
	for _, n := range w.nodes() {
		for i, name := range names {
			if got := n.read(t, old+"/"+name); got != fmt.Sprint(i) {
				t.Errorf("%s: %q has %q", n.name, name, got)
			}
		}
		one, oneErr := os.Stat(n.hot(old + "/a"))
		other, otherErr := os.Stat(n.hot(old + "/hard"))
		if must(t, errors.Join(oneErr, otherErr)); !os.SameFile(one, other) || one.Mode().Perm() != 0o600 {
			t.Errorf("%s: hard links are %v and %v", n.name, one.Mode(), other.Mode())
		}
		var stat unix.Stat_t
		if must(t, unix.Stat(n.hot(old+"/sparse"), &stat)); stat.Size != 64<<20 || stat.Blocks*512 > 1<<20 {
			t.Errorf("%s: the sparse file has %d bytes in %d blocks", n.name, stat.Size, stat.Blocks)
		}
		if info, err := os.Stat(n.hot(old + "/empty")); err != nil || info.Mode() != os.ModeDir|os.ModeSetgid|0o770 {
			t.Errorf("%s: an empty directory: %v, %v", n.name, info, err)
		}
	}
}

func TestUnfit(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"leads out of it":  func(dir string) error { return os.Symlink("../02/a", dir+"/link") },
		"a socket, a FIFO": func(dir string) error { return unix.Mkfifo(dir+"/fifo", 0o600) },
		"in its place in the cold ": func(dir string) error {
			root, err := os.Readlink(dir + "/../../../.atoll-cold/root")
			if err != nil {
				return err
			}
			return errors.Join(os.MkdirAll(root+"/2026/03", 0o755), os.WriteFile(root+"/"+old, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.mustRound() // makes the links to the roots
			w.writeBoth(old+"/a", "one")
			w.writeBoth("2026/03/02/b", "two")
			must(t, spoil(w.hk1.hot(old)))
			r := w.round(t.Context())
			if r.Directories != 1 || len(r.Problems) == 0 || !strings.Contains(r.Problems[0], name) {
				t.Errorf("a round: %+v", r)
			}
			if w.hk1.linked(old) || w.sg1.linked(old) || !w.hk1.linked("2026/03/02") {
				t.Error("what cannot be moved is, or keeps others from it")
			}
			if got := w.hk1.read(t, old+"/a"); got != "one" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestWire moves by way of clients, as workers do.
func TestWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	side := func(n *node) cold.Side {
		var config net.ListenConfig
		listener, err := config.Listen(t.Context(), "unix", filepath.Join(n.cfg.RunDir, "sock"))
		must(t, err)
		server := &http.Server{Handler: cold.NewHandler(n.Mover, slog.New(slog.DiscardHandler)), ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
		return cold.NewClient(func(ctx context.Context) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", listener.Addr().String())
		})
	}
	here, there := side(w.hk1), side(w.sg1)
	w.writeBoth(old+"/a", "one")
	r := cold.Round(t.Context(), here, there, w.hold, slog.New(slog.DiscardHandler))
	if r.Directories != 1 || len(r.Problems) > 0 || len(r.Busy) > 0 {
		t.Fatalf("a round: %+v", r)
	}
	w.checkMoved(old)
	must(t, os.WriteFile(w.sg1.hot(old+"/b"), []byte("through"), 0o644))
	if r := cold.Round(t.Context(), here, there, w.hold, slog.New(slog.DiscardHandler)); len(r.Problems) > 0 {
		t.Errorf("a round: %+v", r)
	}
	if got := w.hk1.read(t, old+"/b"); got != "through" {
		t.Errorf("got %q", got)
	}
	if dirs, err := cold.Apart(t.Context(), here, there); err != nil || len(dirs) > 0 {
		t.Errorf("apart: %q, %v", dirs, err)
	}
	// Errors keep their kinds.
	gone := cold.NewClient(func(context.Context) (net.Conn, error) { return nil, errors.New("the way is cut") })
	var unreached *cold.UnreachedError
	if _, err := gone.State(t.Context()); !errors.As(err, &unreached) || err.Error() != "the way is cut" {
		t.Errorf("a side that is not reached: %v", err)
	}
	if r := cold.Round(t.Context(), here, gone, w.hold, slog.New(slog.DiscardHandler)); r.Unreached == "" || len(r.Problems) > 0 {
		t.Errorf("a round with a side that is not reached: %+v", r)
	}
	var busy *cold.BusyError
	if _, err := here.Copy(t.Context(), "2026/03/09"); !errors.As(err, &busy) || busy.Dir != "2026/03/09" {
		t.Errorf("got %v", err)
	}
	var problem cold.Problem
	if err := here.Swap(t.Context(), "other"); !errors.As(err, &problem) {
		t.Errorf("got %v", err)
	}
	must(t, os.Rename(w.hk1.cfg.Root, w.hk1.cfg.Root+".away"))
	if s, err := here.State(t.Context()); err != nil || s.Problem == "" {
		t.Errorf("got %+v, %v", s, err)
	}
	if err := here.Sync(t.Context(), cold.Push, nil, closed{}); !errors.As(err, &problem) {
		t.Errorf("got %v", err)
	}
	if ps := w.round(t.Context()).Problems; !slices.ContainsFunc(ps, func(p string) bool { return strings.Contains(p, w.hk1.cfg.Root) }) {
		t.Errorf("problems: %q", ps)
	}
}

// closed is a stream that has ended.
type closed struct{}

func (closed) Read([]byte) (int, error)  { return 0, net.ErrClosed }
func (closed) Write([]byte) (int, error) { return 0, net.ErrClosed }
func (closed) Close() error              { return nil }

// Whoever waits to write into a file while it is compared keeps it from being removed.
func TestLeaseIsBroken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	f, err := os.Open(path)
	must(t, err)
	defer func() { _ = f.Close() }()
	must(t, cold.Lease(f))
	must(t, cold.KeepsLease(f))
	// One that does not wait is told so, and the lease counts as broken all the same.
	if _, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0); !errors.Is(err, unix.EAGAIN) {
		t.Fatalf("opened for writing under a lease: %v", err)
	}
	if cold.KeepsLease(f) == nil {
		t.Error("the lease is said to be there after somebody has tried to write")
	}
}
