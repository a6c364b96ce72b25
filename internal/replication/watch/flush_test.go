//go:build linux

package watch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// TestFlush: what has happened before was asked for.
func TestFlush(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		root := t.TempDir()
		var asked atomic.Int64
		w := open(t, root, watch.Options{Method: method, Skip: func(string) bool { asked.Add(1); return false }})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := w.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			before := asked.Load()
			if err := os.Mkdir(filepath.Join(root, fmt.Sprint(i)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if asked.Load() == before {
				t.Fatalf("directory %d is not known yet", i)
			}
		}
		resume := w.Stall()
		defer resume()
		short, end := context.WithCancel(ctx)
		end()
		if err := w.Flush(short); !errors.Is(err, context.Canceled) {
			t.Errorf("nobody waits any more: %v", err)
		}
	})
}

func TestFlushOfOneThatIsClosed(t *testing.T) {
	w, err := watch.Open(t.Context(), t.TempDir(), watch.Options{Method: watch.Inotify})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); !errors.Is(err, watch.ErrClosed) {
		t.Errorf("it is closed: %v", err)
	}
}
