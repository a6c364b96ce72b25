//go:build linux

package fsmonitor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/unison/fsmonitor"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

const (
	// program is the name by which unison starts its monitor.
	program = "unison-fsmonitor"
	// socketVariable says where that finds the test.
	socketVariable = "ATOLL_TEST_MONITOR"
	// nobody is whom unison runs as when root tests: there must be something that it may not do.
	nobody = 65534
	// patience is how long a test waits for what must come; it is not what it takes.
	patience = time.Minute
)

// TestMain is the monitor when unison starts it.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == program {
		if err := fsmonitor.Shim(context.Background(), os.Getenv(socketVariable), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// side is one tree, its unison and its monitor.
type side struct {
	root, home string
	monitor    *fsmonitor.Monitor
	unison     *exec.Cmd
	ended      chan struct{} // closed when unison has ended
	pids       sync.Map      // of all its unisons
	said       *safeBuffer
	idle       atomic.Bool // unison waits for changes here
}

// pair is two trees that are kept alike by unison, as a leader's client and a server.
type pair struct {
	*testing.T
	a, b  side
	paced bool
}

// safeBuffer is what a program has said.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.b.String()
	return text[max(0, len(text)-4000):]
}

// modes runs a test with unison's own way to wait for changes, and with ours.
func modes(t *testing.T, test func(t *testing.T, p *pair)) {
	t.Helper()
	if _, err := exec.LookPath("unison"); err != nil {
		t.Skip("unison is not installed: apt-get install unison")
	}
	for name, paced := range map[string]bool{"watch": false, "paced": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newPair(t, paced))
		})
	}
}

func newPair(t *testing.T, paced bool) *pair {
	t.Helper()
	p := &pair{T: t, paced: paced}
	for _, s := range []*side{&p.a, &p.b} {
		dir := t.TempDir()
		p.must(os.Chmod(filepath.Dir(dir), 0o755))
		s.root, s.home = dir+"/tree", dir+"/home"
		p.must(os.MkdirAll(s.root+"/.pace", 0o755))
		p.must(os.Mkdir(s.home, 0o755))
		p.must(os.Mkdir(dir+"/bin", 0o755))
		self, err := os.ReadFile("/proc/self/exe")
		p.must(err)
		p.must(os.WriteFile(dir+"/bin/"+program, self, 0o755))
		if os.Geteuid() == 0 {
			p.must(os.Chown(s.root, nobody, nobody))
			p.must(os.Chown(s.home, nobody, nobody))
		}
	}
	// What the client has, and the server has no right to make.
	p.write(p.a.root, ".pace/file")
	p.must(os.Chmod(p.a.root+"/.pace", 0o555))
	p.must(os.Chmod(p.b.root+"/.pace", 0o555))
	t.Cleanup(func() {
		for _, s := range []*side{&p.a, &p.b} {
			_ = os.Chmod(s.root+"/.pace", 0o755)
		}
	})
	p.monitor(&p.a, &p.b)
	p.monitor(&p.b, &p.a)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("the client said:\n%s\nthe server said:\n%s", p.a.said, p.b.said)
		}
	})
	p.start()
	return p
}

func (p *pair) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// monitor has a side's changes told, until the test ends.
func (p *pair) monitor(s, other *side) {
	p.Helper()
	s.monitor = fsmonitor.New(fsmonitor.Options{
		Root: s.root, Hold: p.paced,
		Woken: func(round int) { other.monitor.Release(round) },
		Event: func(e fsmonitor.Event) { s.idle.Store(e.Kind == fsmonitor.Waiting) },
	})
	w, err := watch.Open(p.Context(), s.root, watch.Options{
		Own: func(pid int) bool {
			_, ok := s.pids.Load(pid)
			return ok
		},
		Foreign: func(path string) bool { return strings.Contains(path, "(conflict") },
	})
	p.must(err)
	listener, err := net.Listen("unix", s.home+"/monitor.sock") //nolint:noctx // a socket of the test's own
	p.must(err)
	p.must(os.Chmod(s.home+"/monitor.sock", 0o666))
	p.Cleanup(func() {
		_ = listener.Close()
		_ = w.Close()
	})
	go func() {
		for {
			b, err := w.Next(context.Background())
			if err != nil {
				return
			}
			s.monitor.Changed(b)
		}
	}()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = s.monitor.Serve(context.Background(), conn) }()
		}
	}()
}

// run starts a side's unison.
func (p *pair) run(s *side, arguments ...string) {
	p.Helper()
	cmd := exec.Command("unison", arguments...) //nolint:noctx // stop ends it
	cmd.Env = []string{
		"HOME=" + s.home, "UNISON=" + s.home + "/.unison", "LC_ALL=C", socketVariable + "=" + s.home + "/monitor.sock",
		"PATH=" + filepath.Dir(s.home) + "/bin:" + os.Getenv("PATH"),
	}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	s.said = &safeBuffer{}
	cmd.Stdout, cmd.Stderr = s.said, s.said
	p.must(cmd.Start())
	s.pids.Store(cmd.Process.Pid, true)
	s.unison, s.ended = cmd, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = cmd.Wait() // being killed is its usual end
	}()
}

// start starts both.
func (p *pair) start() {
	p.Helper()
	socket := p.b.home + "/unison.sock"
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Fatal(err)
	}
	for _, s := range []*side{&p.a, &p.b} {
		locks, _ := filepath.Glob(s.home + "/.unison/lk*")
		for _, lock := range locks {
			p.must(os.Remove(lock))
		}
	}
	p.run(&p.b, "-socket", socket)
	// The socket is there before it is listened at.
	p.wait("the server", func() bool { return strings.Contains(p.b.said.String(), "server started") })
	arguments := []string{
		p.a.root, "socket://{" + socket + "}/" + p.b.root, "-batch", "-dumbtty", "-color", "false", "-log=false", "-times",
		"-prefer", p.a.root, "-copyonconflict",
	}
	if p.paced {
		arguments = append(arguments, "-watch", "-repeat", "0", "-retry", "-1")
	} else {
		arguments = append(arguments, "-repeat", "watch")
	}
	p.run(&p.a, arguments...)
}

// stop ends both.
func (p *pair) stop() {
	for _, s := range []*side{&p.a, &p.b} {
		if s.unison != nil {
			_ = s.unison.Process.Kill()
			<-s.ended
		}
	}
}

// wait polls.
func (p *pair) wait(what string, done func() bool) {
	p.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			p.Fatalf("waited %s for %s", patience, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func (p *pair) write(path ...string) {
	p.Helper()
	p.must(os.WriteFile(filepath.Join(path...), []byte(filepath.Join(path...)), 0o666))
	if os.Geteuid() == 0 {
		p.must(os.Chown(filepath.Join(path...), nobody, nobody))
	}
}

// arrives waits for a file to be on both sides.
func (p *pair) arrives(path string) time.Duration {
	p.Helper()
	start := time.Now()
	p.wait(path, func() bool {
		a, errA := os.ReadFile(filepath.Join(p.a.root, path))
		b, errB := os.ReadFile(filepath.Join(p.b.root, path))
		return errA == nil && errB == nil && bytes.Equal(a, b)
	})
	return time.Since(start)
}

// content is what a tree has, but for what sets the pace.
func content(root string) map[string]string {
	all := map[string]string{}
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, root)
		if err != nil || strings.HasPrefix(name, "/.pace") || strings.HasPrefix(entry.Name(), ".unison.") {
			return nil //nolint:nilerr // it has gone since
		}
		data, _ := os.ReadFile(path)
		all[name] = entry.Type().String() + " " + string(data)
		return nil
	})
	return all
}

// alike waits until both trees are the same.
func (p *pair) alike() map[string]string {
	p.Helper()
	var a, b map[string]string
	deadline := time.Now().Add(2 * patience)
	for {
		a, b = content(p.a.root), content(p.b.root)
		if cmp.Equal(a, b) {
			return a
		}
		if time.Now().After(deadline) {
			p.Fatalf("the trees differ: %s", cmp.Diff(a, b))
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestUnisonIsToldOfChanges(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, p *pair) {
		p.write(p.a.root, "first")
		p.arrives("first")
		for _, s := range []*side{&p.a, &p.b} {
			var took []time.Duration
			for i := range 4 {
				name := fmt.Sprintf("%x-%d \n\xff", s.root[len(s.root)-8:], i)
				p.write(s.root, name)
				took = append(took, p.arrives(name))
			}
			slices.Sort(took)
			t.Logf("from %s: median %s, worst %s", s.root, took[len(took)/2], took[len(took)-1])
		}
		p.must(os.Remove(p.b.root + "/first"))
		p.wait("a deletion", func() bool {
			_, err := os.Lstat(p.a.root + "/first")
			return errors.Is(err, fs.ErrNotExist)
		})
	})
}

func TestUnisonIsToldOfManyChanges(t *testing.T) {
	t.Parallel()
	const files = 10_000
	modes(t, func(t *testing.T, p *pair) {
		p.write(p.a.root, "first")
		p.arrives("first")
		for i := range files {
			root, dir := p.a.root, fmt.Sprintf("%d", i/200)
			if i/200%2 == 1 {
				root = p.b.root
			}
			if i%200 == 0 {
				p.mkdir(root, dir)
			}
			p.write(root, dir, fmt.Sprint(i))
		}
		if got := p.alike(); len(got) < files {
			t.Errorf("there are %d files, want %d", len(got), files)
		}
		// A rename storm, of directories, too.
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 300 {
			from, to := fmt.Sprint(random.IntN(files/200)), fmt.Sprint(random.IntN(files/200))
			_ = os.Rename(filepath.Join(p.a.root, from), filepath.Join(p.a.root, to, fmt.Sprintf("moved%d", i)))
			_ = os.Rename(filepath.Join(p.a.root, from, fmt.Sprint(i)), filepath.Join(p.a.root, to, fmt.Sprintf("file%d", i)))
		}
		got := p.alike()
		n := 0
		for path := range got {
			if fs.FileMode(0).String()+" " == got[path][:11] {
				n++
			}
		}
		if n != files+1 {
			t.Errorf("there are %d files after they were moved about, want %d", n, files+1)
		}
	})
}

func (p *pair) mkdir(root, dir string) {
	p.Helper()
	p.must(os.Mkdir(filepath.Join(root, dir), 0o777))
	if os.Geteuid() == 0 {
		p.must(os.Chown(filepath.Join(root, dir), nobody, nobody))
	}
}

func TestUnisonIsToldOfConflictCopies(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, p *pair) {
		p.mkdir(p.a.root, "dir")
		p.write(p.a.root, "dir/file.txt")
		p.write(p.a.root, "dir/deleted")
		p.arrives("dir/file.txt")
		p.arrives("dir/deleted")
		// Before, its archives may not say that the files are known.
		p.wait("the end of the round", func() bool { return p.a.idle.Load() && p.b.idle.Load() })
		p.stop()
		p.must(os.WriteFile(p.a.root+"/dir/file.txt", []byte("the leader's version"), 0o600))
		p.must(os.WriteFile(p.b.root+"/dir/file.txt", []byte("another version"), 0o600))
		p.must(os.Remove(p.a.root + "/dir/deleted"))
		p.must(os.WriteFile(p.b.root+"/dir/deleted", []byte("not any more"), 0o600))
		if os.Geteuid() == 0 {
			for _, name := range []string{"file.txt", "deleted"} {
				p.must(os.Chown(p.b.root+"/dir/"+name, nobody, nobody))
			}
		}
		p.start()
		p.wait("conflict copies on both sides", func() bool {
			return len(conflicts(p.a.root)) == 2 && len(conflicts(p.b.root)) == 2
		})
		all := p.alike()
		var texts []string
		for path, text := range all {
			if strings.Contains(path, "(conflict") {
				texts = append(texts, text)
			}
		}
		slices.Sort(texts)
		if diff := cmp.Diff([]string{"---------- another version", "---------- not any more"}, texts); diff != "" {
			t.Errorf("the versions put aside: %s", diff)
		}
	})
}

func conflicts(root string) []string {
	names, _ := filepath.Glob(root + "/dir/*(conflict*")
	return names
}

// TestUnisonWithoutItsMonitor kills the helper in front of the monitor, on either side, and changes the trees meanwhile.
func TestUnisonWithoutItsMonitor(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, p *pair) {
		p.write(p.a.root, "first")
		p.arrives("first")
		for round, s := range []*side{&p.a, &p.b, &p.a} {
			helper := 0
			p.wait("the helper", func() bool {
				helper = childOf(s.unison.Process.Pid)
				return helper != 0
			})
			p.must(syscall.Kill(helper, syscall.SIGKILL))
			name := fmt.Sprintf("round%d", round)
			p.write(p.a.root, name+"a")
			p.write(p.b.root, name+"b")
			// A unison that was waiting for an answer ends for want of one, and whoever runs it starts another. 2.53 starts
			// another helper when it waits in its own mode, and scans everything.
			p.wait(name, func() bool {
				select {
				case <-p.a.ended:
					if code := p.a.unison.ProcessState.ExitCode(); code != 3 {
						t.Fatalf("unison ended with %d, want 3", code)
					}
					p.stop()
					p.start()
				default:
				}
				_, errA := os.Stat(p.a.root + "/" + name + "b")
				_, errB := os.Stat(p.b.root + "/" + name + "a")
				return errA == nil && errB == nil
			})
			p.arrives(name + "a")
			p.arrives(name + "b")
		}
	})
}

// childOf finds the process that unison has started.
func childOf(parent int) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		data, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		// pid (comm) state ppid …: proc_pid_stat(5)
		end := bytes.LastIndexByte(data, ')')
		var pid, ppid int
		var state string
		_, _ = fmt.Sscan(string(data), &pid)
		if end > 0 {
			_, _ = fmt.Sscan(string(data[end+1:]), &state, &ppid)
		}
		if ppid == parent && state != "Z" {
			return pid
		}
	}
	return 0
}
