package digest_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
)

// all is every option at once.
var all = digest.Options{Permissions: 0o7777, Owners: digest.OwnersNumeric, Xattrs: true, ACLs: true}

// plant makes files: a name that ends in a slash is a directory, "name -> target" a symbolic link, all else a file with
// the given content.
func plant(t testing.TB, root string, files map[string]string) {
	t.Helper()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(files[name]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

var long = strings.Repeat("n", 255)

// usual is a tree with everything that a tree may have.
func usual() map[string]string {
	return map[string]string{
		"a": "1", "b/c": "2", "b/d/e": "3", "b/d/empty": "", "none/": "", "new\nline": "4", "no utf-8 \xff\xfe": "5", long: "6",
		"up -> ../outside": "", "loop/again -> .": "", "gone -> nothing": "", "b/blanks  ": "7", "-rf": "8", "ä": "9", "a\u0308": "10",
	}
}

func take(t testing.TB, tree *digest.Tree) *digest.Snapshot {
	t.Helper()
	s, err := tree.Digest(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sound(t testing.TB, s *digest.Snapshot) {
	t.Helper()
	if s.ProblemCount != 0 {
		t.Fatalf("problems: %q", s.Problems)
	}
}

func TestEqualTrees(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	plant(t, a, usual())
	plant(t, b, usual())
	one, two := digest.New(a, all), digest.New(b, all)
	first, second := take(t, one), take(t, two)
	sound(t, first)
	if first.Sum != second.Sum || first.Settings != second.Settings {
		t.Error("two copies of a tree differ")
	}
	if again := take(t, one); again.Sum != first.Sum {
		t.Error("a tree differs from itself")
	}
	if want := (digest.Totals{Files: 14, Directories: 4, Bytes: 11}); first.Totals != want {
		t.Errorf("totals %+v, want %+v", first.Totals, want)
	}
	c, err := digest.Compare(t.Context(), one, two, digest.CompareOptions{})
	if err != nil || !c.Equal || len(c.Differences) != 0 {
		t.Errorf("Compare: %+v, %v", c, err)
	}
}

// mutations are single changes to the usual tree. Each must be found, under the given path and kind.
var mutations = []struct {
	name   string
	change func(root string) error
	path   string
	kind   digest.DifferenceKind
}{
	{"content of one size and time", func(r string) error {
		old, err := os.Stat(r + "/b/d/e")
		if err != nil {
			return err
		}
		if err := os.WriteFile(r+"/b/d/e", []byte("x"), 0o644); err != nil {
			return err
		}
		return os.Chtimes(r+"/b/d/e", old.ModTime(), old.ModTime())
	}, "b/d/e", digest.OtherContent},
	{"longer", func(r string) error { return os.WriteFile(r+"/a", []byte("1\x00"), 0o644) }, "a", digest.OtherContent},
	{"empty", func(r string) error { return os.Truncate(r+"/new\nline", 0) }, "new\nline", digest.OtherContent},
	{"replaced", func(r string) error {
		if err := os.WriteFile(r+"/x", []byte("z"), 0o644); err != nil {
			return err
		}
		return os.Rename(r+"/x", r+"/a")
	}, "a", digest.OtherContent},
	{"new file", func(r string) error { return os.WriteFile(r+"/b/new", nil, 0o644) }, "b/new", digest.MissingThere},
	{"new directory", func(r string) error { return os.Mkdir(r+"/none/x", 0o755) }, "none/x", digest.MissingThere},
	{"removed", func(r string) error { return os.Remove(r + "/b/c") }, "b/c", digest.MissingHere},
	{"removed directory", func(r string) error { return os.Remove(r + "/none") }, "none", digest.MissingHere},
	{"mode", func(r string) error { return os.Chmod(r+"/a", 0o600) }, "a", digest.OtherMetadata},
	{"set-group-ID", func(r string) error { return os.Chmod(r+"/b", 0o755|os.ModeSetgid) }, "b", digest.OtherMetadata},
	{"directory's mode", func(r string) error { return os.Chmod(r+"/b/d", 0o700) }, "b/d", digest.OtherMetadata},
	{"target", func(r string) error {
		if err := os.Remove(r + "/up"); err != nil {
			return err
		}
		return os.Symlink("../outsidf", r+"/up")
	}, "up", digest.OtherContent},
	{"link becomes file", func(r string) error {
		if err := os.Remove(r + "/up"); err != nil {
			return err
		}
		return os.WriteFile(r+"/up", []byte("../outside"), 0o644)
	}, "up", digest.OtherType},
	{"file becomes directory", func(r string) error {
		if err := os.Remove(r + "/a"); err != nil {
			return err
		}
		return os.Mkdir(r+"/a", 0o755)
	}, "a", digest.OtherType},
	{"attribute", func(r string) error { return unix.Setxattr(r+"/a", "user.x", []byte("1"), 0) }, "a", digest.OtherMetadata},
	{"directory's attribute", func(r string) error { return unix.Setxattr(r+"/b", "user.x", []byte("1"), 0) }, "b", digest.OtherMetadata},
	{"ACL", func(r string) error { return setACL(r + "/a") }, "a", digest.OtherMetadata},
	{"invalid name", func(r string) error { return os.Remove(r + "/no utf-8 \xff\xfe") }, "no utf-8 \xff\xfe", digest.MissingHere},
}

// setACL gives user 65534 the right to read: version 2, then tag, permissions, id of each entry, see linux/posix_acl_xattr.h.
func setACL(path string) error {
	acl := []byte{2, 0, 0, 0}
	for _, e := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 4, 65534}, {4, 4, ^uint32(0)}, {0x10, 4, ^uint32(0)}, {0x20, 4, ^uint32(0)}} {
		acl = append(acl, byte(e[0]), byte(e[0]>>8), byte(e[1]), byte(e[1]>>8), byte(e[2]), byte(e[2]>>8), byte(e[2]>>16), byte(e[2]>>24))
	}
	return unix.Setxattr(path, "system.posix_acl_access", acl, 0)
}

func TestMutations(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			a, b := t.TempDir(), t.TempDir()
			plant(t, a, usual())
			plant(t, b, usual())
			// A clock ahead by a minute lets the cache trust what it has just read: the change must be found all the same.
			o := all
			o.Now = func() time.Time { return time.Now().Add(time.Minute) }
			here, there := digest.New(a, o), digest.New(b, o)
			before, other := take(t, here), take(t, there)
			if err := m.change(a); err != nil {
				t.Fatal(err)
			}
			after := take(t, here)
			sound(t, after)
			if after.Sum == before.Sum || after.Sum == other.Sum {
				t.Fatal("the change is not found")
			}
			if after.Sum != take(t, digest.New(a, o)).Sum {
				t.Error("the digest by the cache is not that of the tree")
			}
			c, err := digest.Compare(t.Context(), here, there, digest.CompareOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if c.Equal || len(c.Differences) != 1 || string(c.Differences[0].Path) != m.path || c.Differences[0].Kind != m.kind {
				t.Errorf("differences %+v, want %s at %q", c.Differences, m.kind, m.path)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT CHECKED: only root can give files away")
	}
	a := t.TempDir()
	plant(t, a, usual())
	sums := func() (s [3]digest.Sum) {
		for i, owners := range []digest.Owners{digest.OwnersIgnored, digest.OwnersNumeric, digest.OwnersByName} {
			s[i] = take(t, digest.New(a, digest.Options{Owners: owners})).Sum
		}
		return s
	}
	before := sums()
	if err := os.Chown(a+"/a", 0, 65534); err != nil {
		t.Fatal(err)
	}
	after := sums()
	if before[0] != after[0] || before[1] == after[1] || before[2] == after[2] {
		t.Errorf("ignored, by number, by name: %t %t %t, want a difference in the last two", before[0] != after[0], before[1] != after[1], before[2] != after[2])
	}
}

// TestLeftOut changes what options leave out, and what is never part of a digest.
func TestLeftOut(t *testing.T) {
	set, err := exclude.Parse([]string{"*.tmp", "/cache/**"})
	if err != nil {
		t.Fatal(err)
	}
	a := t.TempDir()
	plant(t, a, usual())
	plant(t, a, map[string]string{"cache/": ""})
	tree := digest.New(a, digest.Options{Exclude: set})
	before := take(t, tree)
	plant(t, a, map[string]string{"x.tmp": "1", "b/y.tmp/z": "2", "cache/deep/er": "3"})
	for _, err := range []error{
		os.Chmod(a+"/a", 0o600), os.Chmod(a, 0o700), unix.Setxattr(a+"/a", "user.x", []byte("1"), 0),
		os.Chtimes(a+"/a", time.Unix(1, 0), time.Unix(1, 0)), os.Chtimes(a+"/b", time.Unix(1, 0), time.Unix(1, 0)),
		unix.Mkfifo(a+"/b/fifo", 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	socket, err := new(net.ListenConfig).Listen(t.Context(), "unix", a+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close() //nolint:errcheck // a test's socket
	after := take(t, tree)
	sound(t, after)
	if before.Sum != after.Sum {
		t.Error("what is left out changes the digest")
	}
	if diff := cmp.Diff([][]byte{[]byte("b/fifo"), []byte("socket")}, after.Skipped); diff != "" || after.SkippedCount != 2 {
		t.Errorf("skipped %d: %s", after.SkippedCount, diff)
	}
	if _, err := tree.Directory(t.Context(), "cache/deep"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an excluded directory: %v", err)
	}
	with := digest.Options{Exclude: set, ModTimes: true}
	one := take(t, digest.New(a, with))
	if err := os.Chtimes(a+"/a", time.Unix(2, 0), time.Unix(2, 0)); err != nil {
		t.Fatal(err)
	}
	if two := take(t, digest.New(a, with)); one.Sum == two.Sum {
		t.Error("ModTimes sees no other time")
	}
}

// TestSettings wants that trees under other options are never equal, and that Compare says why.
func TestSettings(t *testing.T) {
	a := t.TempDir()
	set, err := exclude.Parse([]string{"nothing"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[digest.Sum]int{}
	for i, o := range []digest.Options{{}, {Permissions: 0o777}, {Owners: digest.OwnersByName}, {Owners: digest.OwnersNumeric}, {Xattrs: true}, {ACLs: true}, {ModTimes: true}, {Exclude: set}} {
		s := take(t, digest.New(a, o))
		if j, ok := seen[s.Sum]; ok || s.Sum == s.Settings {
			t.Errorf("an empty tree is equal under options %d and %d", j, i)
		}
		seen[s.Sum] = i
	}
	_, err = digest.Compare(t.Context(), digest.New(a, digest.Options{}), digest.New(a, digest.Options{ACLs: true}), digest.CompareOptions{})
	var settings *digest.SettingsError
	if !errors.As(err, &settings) {
		t.Errorf("Compare under different options: %v", err)
	}
}

func TestHardLinksAndHoles(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	const size = 8 << 20
	plant(t, a, map[string]string{"one": "content", "sparse": ""})
	plant(t, b, map[string]string{"one": "content", "two": "content", "sparse": strings.Repeat("\x00", size)})
	if err := os.Link(a+"/one", a+"/two"); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(a+"/sparse", size); err != nil {
		t.Fatal(err)
	}
	if take(t, digest.New(a, all)).Sum != take(t, digest.New(b, all)).Sum {
		t.Error("a hard link or a hole is not what it holds")
	}
	o := all
	o.Workers, o.Now = 1, func() time.Time { return time.Now().Add(time.Minute) }
	if s := take(t, digest.New(a, o)); s.Read.Files != 2 {
		t.Errorf("%d files read: a second name of a file is read again", s.Read.Files)
	}
}

// TestDirectory asks for directories that nobody may be led to.
func TestDirectory(t *testing.T) {
	a := t.TempDir()
	plant(t, a, usual())
	plant(t, a, map[string]string{"into -> b": "", "b/out -> /": ""})
	tree := digest.New(a, all)
	take(t, tree)
	d, err := tree.Directory(t.Context(), "b/d")
	if err != nil || len(d.Entries) != 2 || string(d.Entries[0].Name) != "e" || d.Totals.Files != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	for _, path := range []string{"into", "b/out", "b/out/etc", "..", "b/..", "/", "b/", "/etc", "b//d", "a", "a/x", "no", "./b"} {
		if d, err := tree.Directory(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %+v, %v", path, d, err)
		}
	}
	// A directory that the last digest did not see is looked at as a whole.
	plant(t, a, map[string]string{"b/new/x/y": "12345"})
	if d, err = tree.Directory(t.Context(), "b"); err != nil || d.Totals.Bytes != 8 {
		t.Errorf("%+v, %v", d.Totals, err)
	}
	if err := os.RemoveAll(a + "/b"); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Directory(t.Context(), "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is gone: %v", err)
	}
}

func TestRootIsNotThere(t *testing.T) {
	_, err := digest.New(filepath.Join(t.TempDir(), "no"), all).Digest(t.Context(), nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	a := t.TempDir()
	plant(t, a, usual())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := digest.New(a, all).Digest(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestProgress(t *testing.T) {
	a := t.TempDir()
	plant(t, a, usual())
	var last digest.Progress
	s, err := digest.New(a, all).Digest(t.Context(), func(p digest.Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	if last.Seen != s.Totals || last.Read.Bytes != 11 || last.Read.Files != 11 {
		t.Errorf("at the end %+v, want %+v", last, s.Totals)
	}
}

func TestDeepTree(t *testing.T) {
	a := t.TempDir()
	// A path of some 12 KB, longer than any system call takes: each directory is opened in the one above.
	fd, err := unix.Open(a, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range 50 {
		if err == nil {
			err = unix.Mkdirat(fd, long, 0o755)
		}
		var next int
		if err == nil {
			next, err = unix.Openat(fd, long, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err = unix.Close(fd); err == nil {
			fd = next
		}
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	s := take(t, digest.New(a, all))
	sound(t, s)
	if s.Totals.Directories != 50 {
		t.Errorf("%d directories", s.Totals.Directories)
	}
}

// many is a tree of files of 15 KB in directories of 100, as applications leave them.
func many(t testing.TB, root string, files int) {
	t.Helper()
	content := []byte(strings.Repeat("0123456789abcde", 1024))
	for i := range files {
		dir := filepath.Join(root, strconv.Itoa(i/10000), strconv.Itoa(i/100%100))
		if i%100 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		copy(content, strconv.Itoa(i))
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)+".jpg"), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
