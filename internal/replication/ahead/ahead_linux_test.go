package ahead_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/ahead"
)

const account = 65534

var nobody = ahead.Account{UID: account, GID: account}

// place is a directory that an account owns and may reach.
func place(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: it takes root to act for another account")
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, account, account); err != nil {
		t.Fatal(err)
	}
	return dir
}

// unfinished is what a name in the root becomes.
func unfinished(name string) string {
	if name == "refused" {
		return ""
	}
	return "." + name + ".tmp"
}

func receiver(root string) (r *ahead.Receiver, enough, serving *int) {
	enough, serving = new(int), new(int)
	var mu sync.Mutex
	return ahead.Receive(ahead.Tree{
		Root: root, Account: nobody, Name: unfinished,
		Serving: func(thread int) func() {
			mu.Lock()
			defer mu.Unlock()
			if thread == 0 {
				panic("it is no thread")
			}
			*serving++
			return func() {
				mu.Lock()
				defer mu.Unlock()
				*serving--
			}
		},
		Enough: func() {
			mu.Lock()
			defer mu.Unlock()
			*enough++
		},
		Log: slog.New(slog.DiscardHandler),
	}), enough, serving
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// contents are the files of a tree, and its directories with a slash.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	if err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && (stat.Uid != account || stat.Gid != account || info.Mode().Perm()&0o077 != 0) {
			t.Errorf("%s is of %d:%d with %s", name, stat.Uid, stat.Gid, info.Mode())
		}
		if entry.IsDir() {
			found[name+"/"] = ""
			return nil
		}
		data, err := os.ReadFile(path)
		found[name] = string(data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTree sends a tree to where there is none: regular files that are not long come, with all
// their names, and nothing that is skipped, or that the account cannot read.
func TestTree(t *testing.T) {
	from, to := place(t), place(t)
	want := map[string]string{}
	add := func(name, content string) {
		write(t, filepath.Join(from, name), content)
		top, rest, below := strings.Cut(name, "/")
		path := unfinished(top)
		for _, part := range strings.Split(rest, "/") {
			if below {
				want[path+"/"] = ""
				path += "/" + part
			}
		}
		want[path] = content
	}
	add("a/b/c.txt", "c")
	add("a/empty", "")
	add("top.txt", "top")
	add("a/new\nline", "line")
	add("a/no \xff UTF-8", "bytes")
	add("a/"+strings.Repeat("n", 255), "long")
	add("a/"+strings.Repeat("directory/", 30)+"deep", "deep")
	add("a/longest", strings.Repeat("x", 1<<20))
	for i := range 300 {
		add("many/"+strings.Repeat("f", i%50)+string(rune('a'+i%26))+strings.Repeat("g", i/26), strings.Repeat("content", i))
	}
	if err := os.MkdirAll(filepath.Join(from, "a", "nothing"), 0o755); err != nil {
		t.Fatal(err)
	}
	want[".a.tmp/nothing/"] = ""
	write(t, filepath.Join(from, "a", "longer"), strings.Repeat("x", 1<<20+1))
	write(t, filepath.Join(from, "skipped", "file"), "skipped")
	write(t, filepath.Join(from, "refused", "file"), "refused")
	write(t, filepath.Join(from, "a", "root's"), "secret")
	write(t, filepath.Join(from, "a", "closed", "file"), "secret")
	want[".a.tmp/closed/"] = ""
	if err := errors.Join(os.Chmod(filepath.Join(from, "a", "root's"), 0o600), os.Chmod(filepath.Join(from, "a", "closed"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("c.txt", filepath.Join(from, "a", "b", "link")), unix.Mkfifo(filepath.Join(from, "a", "pipe"), 0o644)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(from)
	if err != nil {
		t.Fatal(err)
	}
	r, enough, serving := receiver(to)
	sent, err := ahead.Send(root, nobody, func(path string) bool { return path == "skipped" }, r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, contents(t, to)); diff != "" {
		t.Errorf("the tree (-want +got):\n%s", diff)
	}
	came := r.Came()
	sent.Files, sent.Bytes = sent.Files-1, sent.Bytes-int64(len("refused"))
	if came != sent || *enough != 0 || *serving != 0 {
		t.Errorf("%+v came of %+v; enough was said %d times, and %d threads serve still", came, sent, *enough, *serving)
	}
}

// TestWhatIsThereStays sends to where another attempt has left something.
func TestWhatIsThereStays(t *testing.T) {
	from, to := place(t), place(t)
	write(t, filepath.Join(from, "a", "one"), "newer")
	write(t, filepath.Join(from, "a", "two"), "two")
	write(t, filepath.Join(to, ".a.tmp", "one"), "older")
	for _, p := range []string{".a.tmp", ".a.tmp/one"} {
		if err := errors.Join(os.Chown(filepath.Join(to, p), account, account), os.Chmod(filepath.Join(to, p), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(from)
	if err != nil {
		t.Fatal(err)
	}
	r, _, _ := receiver(to)
	if _, err := ahead.Send(root, nobody, func(string) bool { return false }, r); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if diff := cmp.Diff(map[string]string{".a.tmp/": "", ".a.tmp/one": "older", ".a.tmp/two": "two"}, contents(t, to)); diff != "" {
		t.Errorf("the tree (-want +got):\n%s", diff)
	}
}

// TestNowhereElse sends names that lead out of the tree, and along links that the account has made, to where it has no right to write.
func TestNowhereElse(t *testing.T) {
	above := place(t)
	to, secret := filepath.Join(above, "tree"), filepath.Join(above, "secret")
	if err := errors.Join(os.Mkdir(to, 0o755), os.Chown(to, account, account), os.Mkdir(secret, 0o755), os.Symlink(secret, filepath.Join(to, ".link.tmp"))); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	archive := tar.NewWriter(&text)
	for _, name := range []string{"../secret/up", "a/../../secret/up", "/etc/atoll-ahead", "link/through", ".", "..", "a//b", "a/./b"} {
		if err := errors.Join(archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1, Format: tar.FormatGNU}), func() error {
			_, err := archive.Write([]byte("x"))
			return err
		}()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: secret}), archive.Close()); err != nil {
		t.Fatal(err)
	}
	r, _, _ := receiver(to)
	if _, err := r.Write(text.Bytes()); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	came := r.Came()
	entries, err := os.ReadDir(secret)
	if err != nil || len(entries) != 0 || came.Files != 0 {
		t.Errorf("%+v came; outside there is %v: %v", came, entries, err)
	}
	if _, err := os.Lstat("/etc/atoll-ahead"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/etc/atoll-ahead: %v", err)
	}
	if inside, err := os.ReadDir(to); err != nil || len(inside) != 1 {
		t.Errorf("in the tree there is %v: %v", inside, err)
	}
}

// TestAnotherTreeInItsPlace puts another directory into the tree's place while something comes: that one stays as it is.
func TestAnotherTreeInItsPlace(t *testing.T) {
	above := place(t)
	to, aside := filepath.Join(above, "tree"), filepath.Join(above, "aside")
	if err := errors.Join(os.Mkdir(to, 0o755), os.Chown(to, account, account)); err != nil {
		t.Fatal(err)
	}
	r, enough, _ := receiver(to)
	archive := tar.NewWriter(r)
	add := func(name string) {
		t.Helper()
		err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1, Format: tar.FormatGNU})
		if _, wrote := archive.Write([]byte("x")); errors.Join(err, wrote) != nil {
			t.Fatal(errors.Join(err, wrote))
		}
	}
	add("one")
	if err := errors.Join(os.Rename(to, aside), os.Mkdir(to, 0o755), os.Chown(to, account, account)); err != nil {
		t.Fatal(err)
	}
	add("two")
	if err := errors.Join(archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "a/", Format: tar.FormatGNU}), archive.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{".one.tmp": "x", ".two.tmp": "x", ".a.tmp/": ""}, contents(t, aside)); diff != "" {
		t.Errorf("the tree that was there (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{}, contents(t, to)); diff != "" || *enough != 0 {
		t.Errorf("what came into its place (-want +got):\n%s\nenough was said %d times", diff, *enough)
	}
}

// TestNoTree has no tree where something is to come: that is said, and nobody waits.
func TestNoTree(t *testing.T) {
	from, to := place(t), filepath.Join(place(t), "missing")
	write(t, filepath.Join(from, "a"), "a")
	root, err := os.OpenRoot(from)
	if err != nil {
		t.Fatal(err)
	}
	r, enough, _ := receiver(to)
	_, err = ahead.Send(root, nobody, func(string) bool { return false }, r)
	if err := errors.Join(err, r.Close()); err != nil || *enough != 1 || r.Came() != (ahead.Count{}) {
		t.Errorf("%+v came and enough was said %d times: %v", r.Came(), *enough, err)
	}
}

// TestCutOff sends half of an archive, and something that is none: what is written is written in full.
func TestCutOff(t *testing.T) {
	var text bytes.Buffer
	archive := tar.NewWriter(&text)
	for _, name := range []string{"one", "two"} {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 5000, Format: tar.FormatGNU}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(bytes.Repeat([]byte(name[:1]), 5000)); err != nil {
			t.Fatal(err)
		}
	}
	for name, sent := range map[string][]byte{"half": text.Bytes()[:8000], "none": bytes.Repeat([]byte("no archive"), 1000), "nothing": nil} {
		t.Run(name, func(t *testing.T) {
			to := place(t)
			r, _, _ := receiver(to)
			if _, err := r.Write(sent); err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
			want := map[string]string{}
			if name == "half" {
				want[".one.tmp"] = strings.Repeat("o", 5000)
			}
			if diff := cmp.Diff(want, contents(t, to)); diff != "" {
				t.Errorf("the tree (-want +got):\n%s", diff)
			}
			if came := r.Came(); came.Files != int64(len(want)) {
				t.Errorf("%d files are said to have come", came.Files)
			}
		})
	}
}

// TestFull sends to where there is no room: that is said once, nobody waits, and no file is there by halves.
func TestFull(t *testing.T) {
	from, to := place(t), place(t)
	if err := unix.Mount("small", to, "tmpfs", 0, "size=1m,mode=777"); err != nil {
		t.Skipf("NOT RUN: a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(to, 0); err != nil {
			t.Error(err)
		}
	})
	const files, size = 500, 10_000
	for i := range files {
		write(t, filepath.Join(from, "a", strconv.Itoa(i)), strings.Repeat("x", size))
	}
	root, err := os.OpenRoot(from)
	if err != nil {
		t.Fatal(err)
	}
	r, enough, _ := receiver(to)
	if _, err := ahead.Send(root, nobody, func(string) bool { return false }, r); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	came := r.Came()
	there := contents(t, to)
	if *enough != 1 || came.Files == 0 || came.Files > 100 || len(there) != int(came.Files)+1 {
		t.Errorf("%+v came, %d are there, and enough was said %d times", came, len(there)-1, *enough)
	}
	for name, content := range there {
		if !strings.HasSuffix(name, "/") && len(content) != size {
			t.Errorf("%s has %d bytes", name, len(content))
		}
	}
}
