package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// snapper keeps snapshots of a tree that has a file.
type snapper struct {
	worker.Snapshots
	cfg worker.Config
	// look is called when it is looked whether the tree is there.
	look func() error
}

func newSnapper(t *testing.T) *snapper {
	t.Helper()
	dir := t.TempDir()
	s := &snapper{look: func() error { return nil }, cfg: worker.Config{
		Pair: "app", Node: "hk1", Path: filepath.Join(dir, "tree"), StateDir: t.TempDir(), Owner: "nobody", Group: "nogroup",
		SnapshotDirs: []string{filepath.Join(dir, ".atoll-snapshots", "app"), filepath.Join(t.TempDir(), "snapshots", "app")},
	}}
	if err := os.MkdirAll(filepath.Join(s.cfg.Path, worker.Marker), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.cfg.Path, "file"), []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := worker.NewDigests(t.Context(), s.cfg, func() error { return s.look() })
	if err := d.Begin(s.cfg, keeping{}); err != nil {
		t.Fatal(err)
	}
	s.Snapshots = worker.NewSnapshots(s.cfg, d)
	return s
}

// until asks until it is done.
func (s *snapper) until(t *testing.T, action snapshot.Action, id string) (snapshot.Result, error) {
	t.Helper()
	for {
		r, err := s.Ask(t.Context(), snapshot.Request{Action: action, ID: id})
		if err != nil || r.Done {
			return r, err
		}
	}
}

func TestSnapshotsAreBesideTheTree(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode os.FileMode
		want int
	}{
		{"where only root writes", 0o755, 0},
		{"not where others could put something in their place", 0o777, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSnapper(t)
			var refused *snapshot.RefusedError
			if _, err := s.until(t, snapshot.Take, "one"); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "no directory for snapshots") {
				t.Errorf("nothing is prepared: %v", err)
			}
			if err := os.Chmod(filepath.Dir(s.cfg.Path), tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := worker.Prepare(s.cfg); err != nil {
				t.Fatal(err)
			}
			taken, err := s.until(t, snapshot.Take, "one")
			if err != nil {
				t.Fatal(err)
			}
			if got := filepath.Dir(taken.Snapshots[0].Path); got != s.cfg.SnapshotDirs[tt.want] {
				t.Errorf("it is in %s", got)
			}
			// Whoever makes the pair anew finds it.
			if err := worker.Forget(s.cfg, func(string) bool { return false }); err != nil {
				t.Fatal(err)
			}
			if list, err := s.until(t, snapshot.List, ""); err != nil || len(list.Snapshots) != 1 || !list.Snapshots[0].Whole() {
				t.Errorf("without the pair there are %+v, %v", list, err)
			}
			if _, err := s.until(t, snapshot.Remove, "one"); err != nil {
				t.Fatal(err)
			}
			if err := worker.Forget(s.cfg, func(string) bool { return false }); err != nil {
				t.Fatal(err)
			}
			for _, dir := range s.cfg.SnapshotDirs {
				if _, err := os.Lstat(filepath.Dir(dir)); err == nil {
					t.Errorf("%s is left", filepath.Dir(dir))
				}
			}
		})
	}
}

// TestSnapshotsOneAtATime has a request go on while nobody asks for it, and another one wait.
func TestSnapshotsOneAtATime(t *testing.T) {
	s := newSnapper(t)
	if err := worker.Prepare(s.cfg); err != nil {
		t.Fatal(err)
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	s.look = func() error {
		close(begun)
		<-goOn
		s.look = func() error { return nil }
		return nil
	}
	impatient, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := s.Ask(impatient, snapshot.Request{Action: snapshot.Take, ID: "one"})
		gone <- err
	}()
	<-begun
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever has gone hears %v", err)
	}
	var problem worker.Problem
	if _, err := s.Ask(t.Context(), snapshot.Request{Action: snapshot.Take, ID: "two"}); !errors.As(err, &problem) || !strings.Contains(string(problem), "take one is under way") {
		t.Errorf("another one hears %v", err)
	}
	close(goOn)
	if r, err := s.until(t, snapshot.Take, "one"); err != nil || len(r.Snapshots) != 1 {
		t.Errorf("it has not gone on: %+v, %v", r, err)
	}
	for _, id := range []string{"", "../one", "One"} {
		var refused *snapshot.RefusedError
		if _, err := s.Ask(t.Context(), snapshot.Request{Action: snapshot.Take, ID: id}); !errors.As(err, &refused) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := s.until(t, "paint", "one"); err == nil {
		t.Error("an action that nobody knows is done")
	}
}

// TestReplacedOutlivesThePair: what was in the tree before it was put back stays when the pair is destroyed.
func TestReplacedOutlivesThePair(t *testing.T) {
	s := newSnapper(t)
	if err := worker.Prepare(s.cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := s.until(t, snapshot.Take, "one"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.cfg.Path, "file"), []byte("of a user"), 0o600); err != nil {
		t.Fatal(err)
	}
	restored, err := s.until(t, snapshot.Restore, "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Forget(s.cfg, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(restored.Restored.Replaced, "1/file")); err != nil || string(text) != "of a user" {
		t.Errorf("there is %q, %v", text, err)
	}
}
