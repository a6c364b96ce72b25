package digest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// asNobody names the tree that the test binary digests when it is started again without rights.
const asNobody = "ATOLL_TEST_DIGEST_AS_NOBODY"

// TestUnreadable digests a tree in which this user may not read everything. Root may read all, so it starts this test
// again as somebody else.
func TestUnreadable(t *testing.T) {
	if root := os.Getenv(asNobody); root != "" {
		tree := digest.New(root, digest.Options{Permissions: 0o777})
		a, b := take(t, tree), take(t, tree)
		out, err := json.Marshal(map[string]any{"a": a, "b": b})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("\n@%s\n", out)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT CHECKED: only root can start a process without rights")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "tree")
	plant(t, root, map[string]string{"fine": "1", "closed/file": "2", "d/secret": "3"})
	for path, mode := range map[string]fs.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, root + "/closed": 0, root + "/d/secret": 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/test", exe, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), dir+"/test", "-test.run=^TestUnreadable$")
	cmd.Env = append(os.Environ(), asNobody+"="+root)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "\n@")
	text, _, _ = strings.Cut(text, "\n")
	var got struct{ A, B digest.Snapshot }
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got.A.Sum == got.B.Sum {
		t.Error("a tree that cannot be read is equal to itself: it must be equal to nothing")
	}
	if n := len(got.A.Problems); n != 2 || got.A.ProblemCount != 2 {
		t.Fatalf("problems %q", got.A.Problems)
	}
	for i, want := range []string{"closed", "d/secret"} {
		if p := got.A.Problems[i]; string(p.Path) != want || p.Kind != digest.Unreadable || p.Message != "permission denied" {
			t.Errorf("problem %d: %q", i, p)
		}
	}
}

// patience is how long a test waits for a change to fall into a read: a loaded machine may let the writer wait.
const patience = time.Minute

// TestUnstable digests a file that is written to all the time.
func TestUnstable(t *testing.T) {
	a := t.TempDir()
	plant(t, a, map[string]string{"busy": strings.Repeat("x", 64<<20), "calm": "1"})
	stop, over := make(chan struct{}), make(chan error, 1)
	f, err := os.OpenFile(a+"/busy", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer f.Close() //nolint:errcheck // a test's file
		for i := byte(0); ; i++ {
			select {
			case <-stop:
				over <- nil
				return
			default:
			}
			if _, err := f.WriteAt([]byte{i}, 0); err != nil {
				over <- err
				return
			}
		}
	}()
	tree := digest.New(a, all)
	var s *digest.Snapshot
	for began := time.Now(); time.Since(began) < patience; {
		if s = take(t, tree); s.ProblemCount > 0 {
			break
		}
	}
	if len(s.Problems) != 1 || string(s.Problems[0].Path) != "busy" || s.Problems[0].Kind != digest.Unstable {
		t.Errorf("problems %q", s.Problems)
	}
	close(stop)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	sound(t, take(t, tree))
}

// TestNamesComeAndGo digests a directory that is never the same twice, and asks for it meanwhile.
func TestNamesComeAndGo(t *testing.T) {
	a := t.TempDir()
	files := map[string]string{}
	for i := range 2000 {
		files[fmt.Sprintf("d/%d", i)] = strings.Repeat("x", 15<<10)
	}
	plant(t, a, files)
	stop, over := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				over <- os.Remove(fmt.Sprintf("%s/d/new%d", a, i-1))
				return
			default:
			}
			err := os.WriteFile(fmt.Sprintf("%s/d/new%d", a, i), nil, 0o600)
			if i > 0 {
				err = errors.Join(err, os.Remove(fmt.Sprintf("%s/d/new%d", a, i-1)))
			}
			if err != nil {
				over <- err
				return
			}
		}
	}()
	tree := digest.New(a, all)
	var s *digest.Snapshot
	for began := time.Now(); time.Since(began) < patience; {
		s = take(t, tree)
		if _, err := tree.Directory(t.Context(), "d"); err != nil {
			t.Error(err)
		}
		if s.ProblemCount > 0 {
			break
		}
	}
	if len(s.Problems) != 1 || string(s.Problems[0].Path) != "d" || s.Problems[0].Kind != digest.Unstable {
		t.Errorf("problems %q", s.Problems)
	}
	close(stop)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	sound(t, take(t, tree))
}

// TestRacilyClean changes files right after they were read, within one step of any clock.
func TestRacilyClean(t *testing.T) {
	a := t.TempDir()
	tree := digest.New(a, digest.Options{})
	seen := map[digest.Sum]bool{}
	for i := range 200 {
		plant(t, a, map[string]string{"f": fmt.Sprintf("%03d", i)})
		s := take(t, tree)
		if seen[s.Sum] {
			t.Fatalf("change %d is not seen", i)
		}
		seen[s.Sum] = true
	}
	if n := tree.Cached(); n != 0 {
		t.Errorf("a file that has just been written is remembered")
	}
}

// TestCache wants that contents are read once they are old enough, and never again until they change.
func TestCache(t *testing.T) {
	a := t.TempDir()
	plant(t, a, usual())
	clock := time.Now
	o := all
	o.Now = func() time.Time { return clock() }
	tree := digest.New(a, o)
	for i, step := range []struct {
		after time.Duration
		read  int64
	}{{0, 11}, {0, 11}, {time.Minute, 11}, {time.Minute, 0}, {0, 0}} {
		clock = func() time.Time { return time.Now().Add(step.after) }
		if s := take(t, tree); s.Read.Files != step.read {
			t.Errorf("step %d reads %d files, want %d", i, s.Read.Files, step.read)
		}
	}
	// Names are not content: a directory that is moved is not read again.
	if err := os.Rename(a+"/b", a+"/moved"); err != nil {
		t.Fatal(err)
	}
	if s := take(t, tree); s.Read.Files != 0 {
		t.Errorf("a moved directory: %d files read", s.Read.Files)
	}
	if err := os.RemoveAll(a + "/moved"); err != nil {
		t.Fatal(err)
	}
	take(t, tree)
	if n := tree.Cached(); n != 7 {
		t.Errorf("%d files remembered after 4 of 11 were removed", n)
	}
	o.MaxCached = 1
	small := digest.New(a, o)
	clock = func() time.Time { return time.Now().Add(time.Minute) }
	take(t, small)
	if n := small.Cached(); n > 64 {
		t.Errorf("%d files remembered with a bound of 1 in each part", n)
	}
}

func TestCacheFile(t *testing.T) {
	a := t.TempDir()
	plant(t, a, usual())
	if err := unix.Setxattr(a+"/a", "user.x", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	o := all
	o.Now = func() time.Time { return time.Now().Add(time.Minute) }
	tree := digest.New(a, o)
	want := take(t, tree).Sum
	file := filepath.Join(t.TempDir(), "cache")
	if err := tree.LoadCache(file); err != nil {
		t.Errorf("no cache file: %v", err)
	}
	if err := tree.SaveCache(file); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("cache file: %v, %v", st.Mode(), err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	fresh := digest.New(a, o)
	if err := fresh.LoadCache(file); err != nil {
		t.Fatal(err)
	}
	if s := take(t, fresh); s.Sum != want || s.Read.Files != 0 {
		t.Errorf("by the file: equal %t, %d files read", s.Sum == want, s.Read.Files)
	}
	plain := o
	plain.ACLs = false
	var broken *digest.CacheError
	if err := digest.New(a, plain).LoadCache(file); !errors.As(err, &broken) {
		t.Errorf("a cache with other attributes: %v", err)
	}
	flipped := []byte(string(good))
	flipped[len(flipped)/2] ^= 1
	for name, text := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)-1], "half": good[:len(good)/2], "magic": good[:21], "flipped": flipped,
		"version": append([]byte("atoll digest cache 9\n"), good[21:]...), "more": append([]byte(string(good)), 'x'),
	} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		fresh := digest.New(a, o)
		if err := fresh.LoadCache(file); !errors.As(err, &broken) {
			t.Errorf("%s: %v", name, err)
		}
		if s := take(t, fresh); s.Sum != want || s.Read.Files != 11 {
			t.Errorf("%s: equal %t, %d files read", name, s.Sum == want, s.Read.Files)
		}
	}
}
