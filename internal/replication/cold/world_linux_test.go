package cold_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/replicationtest"
)

// TestMain is what rsync starts, too: the program's name decides.
func TestMain(m *testing.M) {
	if run := cold.Programs()[filepath.Base(os.Args[0])]; run != nil {
		err := replicationtest.EndsAtOnce(filepath.Base(os.Args[0]) == cold.ProgramName)
		if err == nil {
			err = run(context.Background())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// today is when tests are, and old a directory that is due then.
var today = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	old   = "2026/03/01"
	newer = "2026/11/20"
)

// node is one node of a test.
type node struct {
	*cold.Mover
	name string
	cfg  cold.Config
}

func (n *node) hot(path string) string { return filepath.Join(n.cfg.Tree, path) }

func (n *node) root(path string) string { return filepath.Join(n.cfg.Root, path) }

// world is two nodes whose programs can be killed.
type world struct {
	t        *testing.T
	hk1, sg1 *node

	mu     sync.Mutex
	steps  []string
	killAt int
	onKill func()
	dead   map[string]bool
	holds  int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Skip("NOT RUN: rsync is not installed: apt-get install rsync")
	}
	w := &world{t: t, killAt: -1, dead: map[string]bool{}}
	w.hk1, w.sg1 = w.node("hk1"), w.node("sg1")
	w.start()
	return w
}

func (w *world) node(name string) *node {
	base := filepath.Join(w.t.TempDir(), name)
	n := &node{name: name, cfg: cold.Config{
		Pair: "uploads", Node: name, Tree: base + "/hot", Root: base + "/cold " + name, Marker: ".atoll", Pattern: "YYYY/MM/DD", OlderThan: 30,
		Exclude: []string{"*.tmp"}, RunDir: w.runDir(),
	}}
	for _, dir := range []string{n.cfg.Tree + "/.atoll", n.cfg.Root} {
		must(w.t, os.MkdirAll(dir, 0o755))
	}
	return n
}

// runDir is a directory whose path leaves room for the name of a socket.
func (w *world) runDir() string {
	dir, err := os.MkdirTemp("", "cold")
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, os.RemoveAll(dir)) })
	return dir
}

func (w *world) nodes() []*node { return []*node{w.hk1, w.sg1} }

// start starts both nodes' programs, as they are after a kill: with nothing but the file system to go by.
func (w *world) start() {
	for _, n := range w.nodes() {
		m, err := cold.NewMover(n.cfg, slog.New(slog.NewTextHandler(w.t.Output(), nil)))
		must(w.t, err)
		m.SetNow(func() time.Time { return today })
		m.SetStep(func(step string) error { return w.step(n.name, step) })
		n.Mover = m
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = map[string]bool{}
}

// step counts what is done, and kills a node's program when its time has come.
func (w *world) step(node, step string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.steps) == w.killAt && !w.dead[node] {
		w.dead[node] = true
		w.steps = append(w.steps, node+": "+step)
		w.killAt = -1
		if w.onKill != nil {
			w.onKill()
		}
	} else {
		w.steps = append(w.steps, node+": "+step)
	}
	if w.dead[node] {
		return cold.ErrKilled
	}
	return nil
}

func (w *world) hold(context.Context) (func(), error) {
	w.holds++
	return func() { w.holds-- }, nil
}

func (w *world) round(ctx context.Context) cold.Result {
	return cold.Round(ctx, w.hk1, w.sg1, w.hold, slog.New(slog.DiscardHandler))
}

// writeBoth writes a file that is equal on both nodes.
func (w *world) writeBoth(path, content string) {
	w.t.Helper()
	for _, n := range w.nodes() {
		n.write(w.t, path, content)
	}
}

func (n *node) write(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(n.hot(path)), 0o755))
	must(t, os.WriteFile(n.hot(path), []byte(content), 0o644))
}

func (n *node) read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(n.hot(path))
	if err != nil {
		t.Errorf("%s: %v", n.name, err)
	}
	return string(data)
}

// hotSync is what the pair's program does: it makes directories that are not moved equal. It must never meet one that is moved on one node alone.
func (w *world) hotSync() {
	w.t.Helper()
	for _, dir := range []string{old, newer} {
		if _, err := os.Lstat(w.hk1.hot(dir)); err != nil {
			continue
		}
		if one, other := w.hk1.linked(dir), w.sg1.linked(dir); one != other {
			w.t.Fatalf("the hot part's program meets a link and a directory: %t, %t", one, other)
		} else if one {
			continue
		}
		for _, way := range [][2]*node{{w.hk1, w.sg1}, {w.sg1, w.hk1}} {
			out, err := exec.CommandContext(w.t.Context(), "rsync", "-aAX", "--update", way[0].hot(dir)+"/", way[1].hot(dir)+"/").CombinedOutput()
			if err != nil {
				w.t.Fatalf("%v: %s", err, out)
			}
		}
	}
}

func (n *node) linked(dir string) bool {
	text, err := os.Readlink(n.hot(dir))
	return err == nil && text == strings.Repeat("../", strings.Count(dir, "/"))+".atoll-cold/root/"+dir
}

// contents are all versions of files that a node has, wherever it has them.
func (n *node) contents(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, top := range []string{n.cfg.Tree, n.cfg.Root} {
		must(t, filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			out[string(data)] = true
			return err
		}))
	}
	return out
}

// checkMoved fails unless a directory is moved on both nodes, with nothing left over.
func (w *world) checkMoved(dir string) {
	w.t.Helper()
	for _, n := range w.nodes() {
		if !n.linked(dir) {
			w.t.Errorf("%s: %s is not moved", n.name, dir)
		}
		for _, left := range []string{n.hot(".atoll-cold/aside"), n.root(".atoll-cold/staging")} {
			entries, err := os.ReadDir(left)
			if err != nil || len(entries) > 0 {
				w.t.Errorf("%s: %s has %v (%v)", n.name, left, entries, err)
			}
		}
	}
}

// checkHas fails unless both nodes have all these versions.
func (w *world) checkHas(want map[string]bool) {
	w.t.Helper()
	for _, n := range w.nodes() {
		have := n.contents(w.t)
		for _, content := range slices.Sorted(maps.Keys(want)) {
			if !have[content] {
				w.t.Errorf("%s has lost %q", n.name, content)
			}
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) mustRound() cold.Result {
	w.t.Helper()
	r := w.round(w.t.Context())
	if len(r.Problems) > 0 {
		w.t.Fatalf("a round has problems: %q", r.Problems)
	}
	if w.holds != 0 {
		w.t.Fatalf("the hot part is held %d times", w.holds)
	}
	return r
}

// mustAgree moves on both nodes what one has moved alone.
func (w *world) mustAgree() {
	w.t.Helper()
	if r := cold.Follow(w.t.Context(), w.hk1, w.sg1, w.hold, slog.New(slog.DiscardHandler)); len(r.Problems)+len(r.Busy) > 0 {
		w.t.Fatalf("one node does not follow the other: %+v", r)
	}
	if dirs, err := cold.Apart(w.t.Context(), w.hk1, w.sg1); err != nil || len(dirs) > 0 {
		w.t.Fatalf("moved on one node alone: %q, %v", dirs, err)
	}
}
