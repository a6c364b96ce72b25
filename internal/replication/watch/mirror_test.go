//go:build linux

package watch_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// mirror knows of a tree what it was told to look at, and nothing else.
type mirror struct {
	root string
	seen map[string]string // path -> what is there
}

// look looks at a path.
func (m *mirror) look(c watch.Change) {
	info, err := os.Lstat(filepath.Join(m.root, c.Path))
	if c.Recursive || strings.HasPrefix(m.seen[c.Path], "d") && (err != nil || !info.IsDir()) {
		below := c.Path + "/"
		if c.Path == "" {
			below = ""
		}
		for path := range m.seen {
			if strings.HasPrefix(path, below) {
				delete(m.seen, path) // with a directory goes what is in it
			}
		}
	}
	delete(m.seen, c.Path)
	if err != nil {
		return
	}
	m.note(c.Path, info)
	if !c.Recursive {
		return
	}
	_ = filepath.WalkDir(filepath.Join(m.root, c.Path), func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it has gone since
		}
		if info, err := entry.Info(); err == nil {
			m.note(strings.TrimPrefix(strings.TrimPrefix(full, m.root), "/"), info)
		}
		return nil
	})
}

func (m *mirror) note(path string, info fs.FileInfo) {
	if path == "" {
		return
	}
	m.seen[path] = info.Mode().String()
	if info.Mode().IsRegular() {
		data, err := os.ReadFile(filepath.Join(m.root, path))
		if err == nil {
			m.seen[path] += " " + string(data)
		}
	}
}

// follow takes batches until what the mirror has seen is what there is.
func (m *mirror) follow(t *testing.T, w *watch.Watcher) (batches int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		truth := &mirror{root: m.root, seen: map[string]string{}}
		truth.look(watch.Change{Recursive: true})
		if cmp.Equal(truth.seen, m.seen) {
			return batches
		}
		b, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("after %d batches %v; missed: %s", batches, err, cmp.Diff(truth.seen, m.seen))
		}
		batches++
		if b.All {
			m.look(watch.Change{Recursive: true})
		}
		for _, c := range b.Changes {
			m.look(c)
		}
	}
}

// TestNothingIsMissed changes a tree from several sides as fast as it can, and demands that whoever looks at what is
// reported knows the whole tree in the end.
func TestNothingIsMissed(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		for round := range 3 {
			t.Run(fmt.Sprint(round), func(t *testing.T) {
				root := t.TempDir()
				w := open(t, root, watch.Options{Method: method, Settle: 20 * time.Millisecond})
				var wg sync.WaitGroup
				for worker := range 3 {
					wg.Go(func() {
						random := rand.New(rand.NewPCG(uint64(round), uint64(worker)))
						for range 400 {
							disturb(random, root)
						}
					})
				}
				m := &mirror{root: root, seen: map[string]string{}}
				half := make(chan struct{})
				go func() {
					defer close(half)
					wg.Wait()
				}()
				for busy := true; busy; {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					b, err := w.Next(ctx)
					cancel()
					if err == nil && b.All {
						m.look(watch.Change{Recursive: true})
					}
					for _, c := range b.Changes {
						m.look(c)
					}
					select {
					case <-half:
						busy = false
					default:
					}
				}
				m.follow(t, w)
				if len(m.seen) == 0 {
					t.Error("the tree is empty: nothing was tested")
				}
			})
		}
	})
}

// disturb does one thing to a tree; most of what it tries may fail because another has been there.
func disturb(random *rand.Rand, root string) {
	name := func() string {
		depth := 1 + random.IntN(3)
		parts := []string{root}
		for range depth {
			parts = append(parts, string(rune('a'+random.IntN(4))))
		}
		return filepath.Join(parts...)
	}
	switch random.IntN(7) {
	case 0, 1:
		_ = os.MkdirAll(name(), 0o700)
	case 2, 3:
		_ = os.WriteFile(name(), fmt.Appendf(nil, "%d", random.Int()), 0o600)
	case 4, 5:
		_ = os.Rename(name(), name())
	case 6:
		_ = os.RemoveAll(name())
	}
}

func TestBurst(t *testing.T) {
	const files = 10_000
	methods(t, func(t *testing.T, method watch.Method) {
		root := t.TempDir()
		w := open(t, root, watch.Options{Method: method})
		m := &mirror{root: root, seen: map[string]string{}}
		done := make(chan error, 1)
		go func() {
			for i := range files {
				dir := fmt.Sprintf("%s/%d", root, i/100)
				if err := os.MkdirAll(dir, 0o700); err != nil {
					done <- err
					return
				}
				if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), []byte("x"), 0o600); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		start, batches := time.Now(), 0
		var took time.Duration
		for took == 0 {
			b := next(t, w)
			batches++
			if b.All {
				m.look(watch.Change{Recursive: true})
			}
			for _, c := range b.Changes {
				m.look(c)
			}
			select {
			case err := <-done:
				must(t, err)
				took = time.Since(start)
			default:
			}
		}
		batches += m.follow(t, w)
		// Two a second, some more at the beginning and for the rest; more of them on a machine that lets the burst pause now and then.
		if most := int(took/(100*time.Millisecond)) + 25; batches > most {
			t.Errorf("%d files in %s came in %d batches, want at most %d", files, took, batches, most)
		}
		t.Logf("%d files in %s: %d batches", files, took, batches)
	})
}
