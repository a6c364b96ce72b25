package cold_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKeptIsReadOnce has a version be kept that is not what is in its place, and looks whether it is read each time that somebody looks at it.
func TestKeptIsReadOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustRound()
	n := w.hk1
	kept, place := n.root(filepath.Join(".atoll-cold/kept/one", old, "a")), n.root(filepath.Join(old, "a"))
	for path, content := range map[string]string{kept: "was", place: "new"} {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
	events, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	defer func() { must(t, unix.Close(events)) }()
	_, err = unix.InotifyAddWatch(events, kept, unix.IN_OPEN)
	must(t, err)
	opened := func() bool {
		n, err := unix.Read(events, make([]byte, 4096))
		return err == nil && n > 0
	}
	for i, want := range []bool{true, false, false} {
		must(t, n.Finish(t.Context()))
		if got := opened(); got != want {
			t.Errorf("look %d: the kept version was opened: %t, want %t", i, got, want)
		}
	}
	// What is in its place now is the same.
	must(t, os.WriteFile(place, []byte("was"), 0o644))
	must(t, n.Finish(t.Context()))
	if _, err := os.Lstat(kept); !os.IsNotExist(err) {
		t.Errorf("a kept version that is in its place is still there: %v", err)
	}
}
