package guard_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/guard"
)

// TestMain is the shim and the program that is guarded, too: the name that it runs by decides.
func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == guard.Name:
		// It may run on any thread, so it does on another than the first.
		runtime.LockOSThread()
		ended := make(chan error)
		go func() { ended <- guard.Shim(context.Background()) }()
		fmt.Fprintln(os.Stderr, <-ended)
		os.Exit(1)
	case len(os.Args) > 1 && os.Args[1] == "parent":
		if err := parent(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) > 1 && os.Args[1] == "program":
		program(os.Stdin)
	default:
		os.Exit(test(m))
	}
}

// bin is where this program is for other accounts. It is there before anything is started, which could have it open for writing.
var bin string

func test(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("/tmp", "guard"); err == nil {
		defer func() { _ = os.RemoveAll(bin) }()
		err = copyInto(bin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func copyInto(dir string) error {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	prog := filepath.Join(dir, "program")
	return errors.Join(os.WriteFile(prog, self, 0o755), os.Symlink(prog, filepath.Join(dir, guard.Name)), os.Chmod(dir, 0o755))
}

// program does what it is told and says how that ended, as a program does that replaces files.
func program(orders io.Reader) {
	lines := bufio.NewScanner(orders)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		var err error
		switch words[0] {
		case "rename":
			err = unix.Rename(words[1], words[2])
		case "unlink":
			err = unix.Unlink(words[1])
		case "rmdir":
			err = unix.Rmdir(words[1])
		case "chdir":
			err = unix.Chdir(words[1])
		case "complete": // a version that has arrived
			err = os.WriteFile(words[1], []byte(words[2]), 0o600)
		case "read":
			var data []byte
			if data, err = os.ReadFile(words[1]); err == nil {
				fmt.Println(string(data))
				continue
			}
		}
		if err == nil {
			err = unix.Errno(0)
		}
		fmt.Println(unix.ErrnoName(err.(unix.Errno))) //nolint:errorlint,forcetypeassert // of this test
	}
}

// world is a tree with a program that is guarded.
type world struct {
	t       *testing.T
	root    string
	orders  io.Writer
	answers *bufio.Scanner

	mu      sync.Mutex
	looked  time.Time
	refused []string
	placed  []string
}

const temporaryEnd = ".unison.tmp"

func begin(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: it takes root to act for another account")
	}
	w := &world{t: t, root: t.TempDir(), looked: time.Now()}
	const account = 65534
	for dir := w.root; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(w.root, account, account); err != nil {
		t.Fatal(err)
	}
	prog, shim := filepath.Join(bin, "program"), filepath.Join(bin, guard.Name)
	cmd := exec.CommandContext(t.Context(), prog, "program")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: account, Gid: account}}
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.orders, w.answers = orders, bufio.NewScanner(answers)
	g, err := guard.Wrap(cmd, shim)
	if err != nil {
		t.Fatal(err)
	}
	if err := startHere(t, cmd); err != nil {
		t.Fatal(err)
	}
	if err := g.Started(); err != nil {
		t.Error(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- g.Serve(guard.Tree{
			Roots: []string{w.root}, UID: account, GID: account,
			Temporary: func(p string) bool { return strings.HasSuffix(p, temporaryEnd) },
			Becomes:   func(p string) string { return strings.TrimSuffix(p, temporaryEnd) },
			Beside:    func(p string, n int, _ time.Time) string { return fmt.Sprintf("%s (kept %d)", p, n) },
			Aside:     func(p string, number uint64) string { return path.Join(path.Dir(p), fmt.Sprint(number)+temporaryEnd) },
			Looked: func() time.Time {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.looked
			},
			Refused: func(p string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.refused = append(w.refused, p)
			},
			Placed: func(p string, _ bool) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.placed = append(w.placed, p)
			},
			Serving: func(int) {}, Log: slog.New(slog.DiscardHandler),
		})
	}()
	t.Cleanup(func() {
		_ = orders.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) path(p string) string { return filepath.Join(w.root, p) }

// order has the program do something and returns how that ended.
func (w *world) order(words ...string) string {
	w.t.Helper()
	if _, err := fmt.Fprintln(w.orders, strings.Join(words, " ")); err != nil {
		w.t.Fatal(err)
	}
	if !w.answers.Scan() {
		w.t.Fatal("the program has ended")
	}
	return w.answers.Text()
}

// write is an application.
func (w *world) write(p, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(p)), 0o777); err != nil {
		w.t.Fatal(err)
	}
	next := w.path(p) + ".new"
	if err := os.WriteFile(next, []byte(content), 0o666); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range []string{next, filepath.Dir(w.path(p)), filepath.Dir(filepath.Dir(w.path(p)))} {
		if err := os.Chown(name, 65534, 65534); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.Rename(next, w.path(p)); err != nil {
		w.t.Fatal(err)
	}
}

// tick waits until what happens now has another date than what has happened.
func (w *world) tick() {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "tick")
	date := func() unix.Timespec {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Chmod(file, 0o600); err != nil {
			w.t.Fatal(err)
		}
		var stat unix.Stat_t
		if err := unix.Lstat(file, &stat); err != nil {
			w.t.Fatal(err)
		}
		return stat.Ctim
	}
	const enough = 30 * time.Millisecond // what is not exact by that much counts as young
	for from := date(); ; {
		if now := date(); now.Nano()-from.Nano() > int64(enough) {
			return
		}
	}
}

// look has the program begin to look at its tree.
func (w *world) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked, w.refused = time.Now(), nil
}

func (w *world) demand(p, want string) {
	w.t.Helper()
	data, err := os.ReadFile(w.path(p))
	got := string(data)
	if err != nil {
		got = "nothing"
	}
	if got != want {
		w.t.Errorf("%s is %q, want %q", p, got, want)
	}
}

// TestMoment has an application act between a program's look at a file and what the program does with it.
func TestMoment(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// meanwhile is what the application does in that moment.
		meanwhile func(w *world)
		do        []string
		want      string
		is        map[string]string
		refused   bool
	}{
		{name: "replaced", do: []string{"rename", "f" + temporaryEnd, "f"}, want: "", is: map[string]string{"f": "theirs"}},
		{name: "put in place of one that is to be replaced", meanwhile: func(w *world) { w.write("f", "newer") }, do: []string{"rename", "f" + temporaryEnd, "f"}, want: "EBUSY", is: map[string]string{"f": "newer"}, refused: true},
		{name: "put where nothing was", meanwhile: func(w *world) { w.write("none", "newer") }, do: []string{"rename", "f" + temporaryEnd, "none"}, want: "EBUSY", is: map[string]string{"none": "newer"}, refused: true},
		{name: "nothing was", do: []string{"rename", "f" + temporaryEnd, "none"}, want: "", is: map[string]string{"none": "theirs"}},
		{name: "an old file put in its place", meanwhile: func(w *world) {
			if err := os.Rename(w.path("old"), w.path("f")); err != nil {
				w.t.Fatal(err)
			}
		}, do: []string{"rename", "f" + temporaryEnd, "f"}, want: "EBUSY", is: map[string]string{"f": "of before"}, refused: true},
		{name: "written to in its place", meanwhile: func(w *world) {
			if err := os.WriteFile(w.path("f"), []byte("newer"), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}, do: []string{"rename", "f" + temporaryEnd, "f"}, want: "EBUSY", is: map[string]string{"f": "newer"}, refused: true},
		{name: "removed", meanwhile: func(w *world) {
			if err := os.Remove(w.path("f")); err != nil {
				w.t.Fatal(err)
			}
		}, do: []string{"rename", "f" + temporaryEnd, "f"}, want: "", is: map[string]string{"f": "theirs"}},
		{name: "to be removed", do: []string{"unlink", "f"}, want: "", is: map[string]string{"f": "nothing"}},
		{name: "put in place of one that is to be removed", meanwhile: func(w *world) { w.write("f", "newer") }, do: []string{"unlink", "f"}, want: "EBUSY", is: map[string]string{"f": "newer"}, refused: true},
		{name: "to give way to a directory", do: []string{"rename", "f", "g" + temporaryEnd}, want: "", is: map[string]string{"f": "nothing", "g" + temporaryEnd: "ours"}},
		{name: "put in place of one that is to give way", meanwhile: func(w *world) { w.write("f", "newer") }, do: []string{"rename", "f", "g" + temporaryEnd}, want: "EBUSY", is: map[string]string{"f": "newer"}, refused: true},
		{name: "what is temporary", do: []string{"unlink", "f" + temporaryEnd}, want: "", is: map[string]string{"f": "ours", "f" + temporaryEnd: "nothing"}},
		{name: "a directory in the way", do: []string{"rename", "f" + temporaryEnd, "dir"}, want: "EISDIR", is: map[string]string{"dir/x": "inside"}},
		{name: "a directory as a file", do: []string{"unlink", "dir"}, want: "EISDIR", is: map[string]string{"dir/x": "inside"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := begin(t)
			w.write("f", "ours")
			w.write("old", "of before")
			w.write("dir/x", "inside")
			w.tick()
			w.look()
			if got := w.order("complete", w.path("f"+temporaryEnd), "theirs"); got != "" {
				t.Fatal(got)
			}
			if tt.meanwhile != nil {
				tt.meanwhile(w)
			}
			words := append([]string{tt.do[0]}, tt.do[1:]...)
			for i := range words[1:] {
				words[i+1] = w.path(words[i+1])
			}
			if got := w.order(words...); got != tt.want {
				t.Errorf("%v: %q, want %q", tt.do, got, tt.want)
			}
			for p, want := range tt.is {
				w.demand(p, want)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if tt.refused != (len(w.refused) > 0) {
				t.Errorf("refused %q", w.refused)
			}
			if arrived := tt.is["f"] == "theirs"; arrived != slices.Equal(w.placed, []string{"f"}) || !arrived && len(w.placed) > 0 {
				t.Errorf("placed %q", w.placed)
			}
		})
	}
}

// TestOpen has an application go on to write to a file that it has open, while another version is to replace it.
func TestOpen(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.write("f", "ours")
	f, err := os.OpenFile(w.path("f"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.tick()
	for _, words := range [][]string{{"rename", w.path("f" + temporaryEnd), w.path("f")}, {"unlink", w.path("f")}} {
		w.look()
		w.order("complete", w.path("f"+temporaryEnd), "theirs")
		w.look()
		if got := w.order(words...); got != "EBUSY" {
			t.Errorf("%v: %q", words, got)
		}
		w.demand("f", "ours")
		w.tick() // what went back was renamed
	}
	if _, err := f.WriteString("OURS"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w.demand("f", "OURS")
	w.tick()
	w.look()
	w.order("complete", w.path("f"+temporaryEnd), "theirs")
	if got := w.order("rename", w.path("f"+temporaryEnd), w.path("f")); got != "" {
		t.Error(got)
	}
	w.demand("f", "theirs")
}

// TestDirectoryGivesWay has an application make a file in a directory that has been moved away to be removed.
func TestDirectoryGivesWay(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.write("a/b/x", "old")
	w.tick()
	w.look()
	if got := w.order("rename", w.path("a"), w.path("a"+temporaryEnd)); got != "" {
		t.Fatal(got)
	}
	w.write("a"+temporaryEnd+"/b/y", "newer") // by whoever had it for its working directory
	for _, name := range []string{"x", "y"} {
		if got := w.order("unlink", w.path("a"+temporaryEnd+"/b/"+name)); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, dir := range []string{"/b", ""} {
		if got := w.order("rmdir", w.path("a"+temporaryEnd+dir)); got != "" {
			t.Errorf("rmdir %s: %s", dir, got)
		}
	}
	w.demand("y (kept 0)", "newer")
}

// TestElsewhere has the program act outside of the tree, and by paths from its working directory.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	w := begin(t)
	other := filepath.Join(filepath.Dir(w.root), "other")
	if err := os.Mkdir(other, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(other, 0o777); err != nil {
		t.Fatal(err)
	}
	w.order("complete", other+"/a", "new")
	w.order("complete", other+"/b", "newest")
	if got := w.order("rename", other+"/a", other+"/b"); got != "" {
		t.Error(got)
	}
	w.write("f", "ours")
	w.order("complete", w.path("f"+temporaryEnd), "theirs")
	w.write("f", "newer")
	w.order("chdir", w.root)
	if got := w.order("rename", "f"+temporaryEnd, "f"); got != "EBUSY" {
		t.Errorf("by a relative path: %q", got)
	}
	w.demand("f", "newer")
}
