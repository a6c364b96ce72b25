package guard_test

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRace has an application and a program replace one file as fast as they can: each version of the application's is what the program had read
// right before, or what the application itself has replaced, or there. What the application replaces may be the program's version in the moment before it
// is taken back: then what goes back is what the application has replaced.
func TestRace(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.write("f", "app-0")
	const least = 3000
	versions := 0
	var done, enough atomic.Bool // the program has met it, too
	seen := make(map[string]bool)
	var mu sync.Mutex
	saw := func(version string) {
		mu.Lock()
		defer mu.Unlock()
		seen[version] = true
	}
	replacedBy, takenBack := map[string]int{}, map[string]bool{} // by the program's versions
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		defer done.Store(true)
		for i := 1; i <= least || !enough.Load(); i++ {
			next := w.path("next")
			if err := os.WriteFile(next, fmt.Appendf(nil, "app-%d", i), 0o666); err != nil {
				t.Error(err)
				return
			}
			if err := os.Chown(next, 65534, 65534); err != nil {
				t.Error(err)
				return
			}
			if err := unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, w.path("f"), unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
			old, err := os.ReadFile(next)
			if err != nil {
				t.Error(err)
				return
			}
			saw(string(old))
			replacedBy[string(old)] = i
			versions = i
		}
	}()
	replaced, refused := 0, 0
	for i := 0; !done.Load(); i++ {
		version := fmt.Sprintf("program-%d", i)
		w.order("complete", w.path("f"+temporaryEnd), version)
		was := w.order("read", w.path("f"))
		if w.order("rename", w.path("f"+temporaryEnd), w.path("f")) == "" {
			replaced++
			saw(was)
		} else {
			refused++
			takenBack[version] = true
		}
		enough.Store(replaced > 0 && refused > 0)
	}
	<-finished
	saw(w.order("read", w.path("f")))
	met := 0
	for version, i := range replacedBy {
		if before := fmt.Sprintf("app-%d", i-1); takenBack[version] && !seen[before] {
			saw(before)
			met++
		}
	}
	lost := 0
	for i := range versions + 1 {
		if !seen[fmt.Sprintf("app-%d", i)] {
			lost++
		}
	}
	t.Logf("%d replaced by the program, %d refused, %d of these replaced by the application before they were taken back", replaced, refused, met)
	if lost > 0 {
		t.Errorf("%d of %d versions are lost", lost, versions)
	}
}
