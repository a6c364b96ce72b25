package cold_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
)

// What is moved on one node alone is moved on the other before anything else, whatever that has in its place.
func TestAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	w.sg1.write(t, old+"/here", "only on sg1")
	r := cold.Alone(t.Context(), w.hk1, w.hold, slog.New(slog.DiscardHandler))
	if r.Directories != 1 || len(r.Problems) > 0 || !w.hk1.linked(old) || w.sg1.linked(old) {
		t.Fatalf("alone: %+v", r)
	}
	w.hk1.write(t, old+"/a", "one, changed through the link")
	must(t, os.Chtimes(w.hk1.hot(old+"/a"), today, today.AddDate(1, 0, 0)))
	w.mustAgree()
	w.hotSync()
	w.mustRound()
	w.checkMoved(old)
	for _, n := range w.nodes() {
		if got := n.read(t, old+"/a") + n.read(t, old+"/here"); got != "one, changed through the linkonly on sg1" {
			t.Errorf("%s: %q", n.name, got)
		}
	}
	w.checkHas(map[string]bool{"one": true})
}

// Of two versions the newer gets the name, however little newer by whole seconds it is, on whichever side.
func TestNewerByLittle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := today.Truncate(time.Second)
	versions := []struct {
		hk1, sg1 time.Duration
		want     string
	}{
		{0, 1500 * time.Millisecond, "sg1"}, {1500 * time.Millisecond, 0, "hk1"}, {0, time.Second, "sg1"}, {0, 900 * time.Millisecond, ""}, {900 * time.Millisecond, 0, ""}, {0, time.Hour, "sg1"},
	}
	for i := range versions {
		w.writeBoth(fmt.Sprintf("%s/%d", old, i), "before")
	}
	w.mustRound()
	want := map[string]bool{}
	for i, v := range versions {
		path := fmt.Sprintf("%s/%d", old, i)
		for n, date := range map[*node]time.Duration{w.hk1: v.hk1, w.sg1: v.sg1} {
			content := fmt.Sprintf("%d of %s", i, n.name)
			want[content] = true
			n.write(t, path, content)
			must(t, os.Chtimes(n.hot(path), base, base.Add(date)))
		}
	}
	w.mustRound()
	for i, v := range versions {
		path := fmt.Sprintf("%s/%d", old, i)
		one, other := w.hk1.read(t, path), w.sg1.read(t, path)
		if one != other || !strings.HasSuffix(one, v.want) {
			t.Errorf("%d: hk1 has %q, sg1 %q; want that of %q", i, one, other, v.want)
		}
	}
	w.checkHas(want)
}

// A disk that was replaced is filled from the other node once an operator says so.
func TestNewDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	w.mustRound()
	must(t, os.RemoveAll(w.sg1.cfg.Root))
	must(t, os.MkdirAll(w.sg1.root(".atoll-cold"), 0o755))
	must(t, os.WriteFile(w.sg1.root(".atoll-cold/pair"), []byte("uploads\n"), 0o644))
	w.writeBoth("2026/03/02/b", "two")
	w.mustRound()
	w.checkMoved(old)
	w.checkMoved("2026/03/02")
	for _, n := range w.nodes() {
		if got := n.read(t, old+"/a") + n.read(t, "2026/03/02/b"); got != "onetwo" {
			t.Errorf("%s: %q", n.name, got)
		}
	}
}

// What is in staging may have every length and date, and not the contents: it was being written when the power failed.
func TestDamagedCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "contents")
	for _, n := range w.nodes() {
		n.SetStep(func(step string) error {
			if step == "sync copy" {
				return cold.ErrKilled
			}
			return nil
		})
	}
	w.round(t.Context())
	staged, err := filepath.Glob(w.hk1.root(".atoll-cold/staging/*/a"))
	if err != nil || len(staged) != 1 {
		t.Fatalf("staging: %q, %v", staged, err)
	}
	info, err := os.Stat(staged[0])
	must(t, err)
	must(t, os.WriteFile(staged[0], make([]byte, info.Size()), 0o644))
	must(t, os.Chtimes(staged[0], info.ModTime(), info.ModTime()))
	w.start()
	w.mustRound()
	w.checkMoved(old)
	if got := w.hk1.read(t, old+"/a"); got != "contents" {
		t.Errorf("got %q", got)
	}
}

// Should both believe that they are alone, nothing is lost either.
func TestBothAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, n := range w.nodes() {
		n.write(t, old+"/of-"+n.name, "of "+n.name)
		n.write(t, old+"/both", "both, by "+n.name)
		if r := cold.Alone(t.Context(), n, w.hold, slog.New(slog.DiscardHandler)); r.Directories != 1 || len(r.Problems) > 0 {
			t.Fatalf("%s: %+v", n.name, r)
		}
	}
	w.mustAgree()
	w.hotSync()
	w.mustRound()
	w.checkMoved(old)
	w.checkHas(map[string]bool{"of hk1": true, "of sg1": true, "both, by hk1": true, "both, by sg1": true})
}

// A root that is not mounted is no empty root.
func TestRootGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	w.mustRound()
	w.writeBoth("2026/03/02/b", "two")
	away := w.sg1.cfg.Root + ".away"
	must(t, os.Rename(w.sg1.cfg.Root, away))
	for _, empty := range []bool{false, true} {
		if empty {
			must(t, os.Mkdir(w.sg1.cfg.Root, 0o755))
		}
		r := w.round(t.Context())
		if len(r.Problems) == 0 || !strings.Contains(strings.Join(r.Problems, "\n"), w.sg1.cfg.Root) || r.Directories > 0 {
			t.Errorf("a round: %+v", r)
		}
		if entries, err := os.ReadDir(w.sg1.cfg.Root); empty && (err != nil || len(entries) > 0) {
			t.Errorf("something was put where the root is not mounted: %v, %v", entries, err)
		}
		// The hot part can go on.
		w.mustAgree()
		if w.hk1.linked("2026/03/02") || w.sg1.linked("2026/03/02") {
			t.Error("something is moved while a root is gone")
		}
	}
	must(t, os.Remove(w.sg1.cfg.Root))
	must(t, os.Rename(away, w.sg1.cfg.Root))
	w.mustRound()
	w.checkMoved("2026/03/02")
	// Another pair's root is not taken, until that has gone.
	w.hk1.cfg.Pair = "photos"
	w.start()
	if s, err := w.hk1.State(t.Context()); err != nil || !strings.Contains(string(s.Problem), "uploads") || len(s.Linked) != 2 {
		t.Errorf("another pair's root: %+v, %v", s, err)
	}
	must(t, cold.Release(w.hk1.cfg.Root))
	if s, err := w.hk1.State(t.Context()); err != nil || s.Problem != "" {
		t.Errorf("a root that was given up: %+v, %v", s, err)
	}
}

// A tree that is not there is no tree without directories.
func TestTreeGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	w.mustRound()
	must(t, os.Rename(w.hk1.cfg.Tree, w.hk1.cfg.Tree+".away"))
	must(t, os.Mkdir(w.hk1.cfg.Tree, 0o755))
	if _, err := cold.Apart(t.Context(), w.hk1, w.sg1); err == nil {
		t.Error("the nodes agree without a tree")
	}
	if entries, err := os.ReadDir(w.hk1.cfg.Tree); err != nil || len(entries) > 0 {
		t.Errorf("something was put where the tree is not: %v, %v", entries, err)
	}
}

// TestFull runs itself again where it may mount small file systems, and moves a directory into roots without room or inodes for it.
func TestFull(t *testing.T) {
	t.Parallel()
	const variable = "ATOLL_TEST_COLD_FULL"
	if options := os.Getenv(variable); options != "" {
		full(t, options)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: a namespace in which it may mount is made by root here")
	}
	self, err := os.Executable()
	must(t, err)
	for _, options := range []string{"size=1m", "nr_inodes=16"} {
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFull$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"="+options)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestFull")) {
			t.Errorf("%s: %v\n%s", options, err, out)
		}
	}
}

func full(t *testing.T, options string) {
	w := newWorld(t)
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("tmpfs", w.sg1.cfg.Root, "tmpfs", 0, options))
	t.Cleanup(func() { must(t, unix.Unmount(w.sg1.cfg.Root, 0)) })
	for i := range 32 {
		w.writeBoth(fmt.Sprintf("%s/%d", old, i), strings.Repeat("x", 64<<10)+fmt.Sprint(i))
	}
	w.writeBoth("2026/03/02/b", "small")
	for range 2 {
		r := w.round(t.Context())
		if len(r.Problems) == 0 || w.hk1.linked(old) || w.sg1.linked(old) {
			t.Errorf("a round: %+v", r)
		}
		for i := range 32 {
			if got := w.sg1.read(t, fmt.Sprintf("%s/%d", old, i)); len(got) < 64<<10 {
				t.Errorf("file %d has %d bytes", i, len(got))
			}
		}
	}
	must(t, unix.Mount("", w.sg1.cfg.Root, "", unix.MS_REMOUNT, "size=64m,nr_inodes=1000"))
	w.mustRound()
	w.checkMoved(old)
	w.checkMoved("2026/03/02")
}
