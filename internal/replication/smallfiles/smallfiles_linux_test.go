package smallfiles_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/smallfiles"
)

// quick are options for a run of less than a second that leaves the machine's caches alone.
func quick(t *testing.T) smallfiles.Options {
	t.Helper()
	return smallfiles.Options{
		Path: filepath.Join(t.TempDir(), "new"), Against: t.TempDir(), Files: 250, Size: 2 << 10, Rounds: 2, Parallel: 2,
		ReadLimit: 1e6, WriteLimit: 1e6, DropCaches: func() error { return nil },
	}
}

// left are the names in a directory.
func left(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRun(t *testing.T) {
	o := quick(t)
	dropped := 0
	o.DropCaches = func() error { dropped++; return nil }
	var steps []smallfiles.Step
	result, err := smallfiles.Run(t.Context(), o, func(s smallfiles.Step) {
		if s.Done == s.Total {
			steps = append(steps, s)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Pass || result.Files != 250 || result.Rounds != 2 || result.Caches != smallfiles.Cold || dropped != 4 {
		t.Errorf("%+v, caches emptied %d times", result, dropped)
	}
	if mean := float64(result.Bytes) / 250; mean < 1<<10 || mean > 3<<10 {
		t.Errorf("mean size %.0f, want about %d", mean, o.Size)
	}
	var phases []smallfiles.Phase
	for _, f := range result.Figures {
		phases = append(phases, f.Phase)
		if f.PathSeconds <= 0 || f.AgainstSeconds <= 0 || len(f.PathRounds) != 2 || len(f.AgainstRounds) != 2 {
			t.Errorf("%+v", f)
		}
	}
	if diff := cmp.Diff([]smallfiles.Phase{smallfiles.Write, smallfiles.Read, smallfiles.List, smallfiles.Remove}, phases); diff != "" {
		t.Error(diff)
	}
	if len(steps) != 16 || steps[0].Path != o.Against || steps[4].Path != o.Path || steps[8].Path != o.Path || steps[15].Round != 2 {
		t.Errorf("steps %+v", steps)
	}
	if result.Path.Filesystem == "unknown" || !strings.Contains(strings.Join(result.Warnings, "\n"), "same file system") {
		t.Errorf("%+v: both directories are on one file system", result)
	}
	if _, err := os.Stat(o.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory that was made is still there: %v", err)
	}
	if names := left(t, o.Against); names != nil {
		t.Errorf("left over: %q", names)
	}
}

func TestLimits(t *testing.T) {
	o := quick(t)
	// Whatever is measured is more than this.
	o.ReadLimit = -1
	if _, err := smallfiles.Run(t.Context(), o, nil); err == nil {
		t.Error("a limit of -1 % is taken")
	}
	// One file takes longer than nothing, and a limit next to nothing is missed by one of the two.
	o = quick(t)
	o.ReadLimit, o.WriteLimit = 1e-9, 1e-9
	a, err := smallfiles.Run(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Figures {
		limited := f.Phase == smallfiles.Read || f.Phase == smallfiles.Write
		if limited != (f.Limit > 0) || f.Pass != (!limited || f.Slower < f.Limit) {
			t.Errorf("%+v", f)
		}
	}
	pass := true
	for _, f := range a.Figures {
		pass = pass && f.Pass
	}
	if a.Pass != pass {
		t.Errorf("pass %t with %+v", a.Pass, a.Figures)
	}
}

func TestWarm(t *testing.T) {
	o := quick(t)
	o.DropCaches = func() error { return fs.ErrPermission }
	result, err := smallfiles.Run(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if result.Caches != smallfiles.Warm || !strings.Contains(strings.Join(result.Warnings, "\n"), "reads are warm") {
		t.Errorf("caches %s, warnings %q", result.Caches, result.Warnings)
	}
	o.Warm = true
	o.DropCaches = func() error { t.Error("the caches are emptied"); return nil }
	if result, err = smallfiles.Run(t.Context(), o, nil); err != nil || result.Caches != smallfiles.Warm {
		t.Errorf("caches %s, %v", result.Caches, err)
	}
}

func TestSyncEach(t *testing.T) {
	o := quick(t)
	o.Files, o.Rounds, o.SyncEach = 20, 1, true
	if result, err := smallfiles.Run(t.Context(), o, nil); err != nil || !result.SyncEach {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestInterrupted ends a run in each phase: nothing of it may be left.
func TestInterrupted(t *testing.T) {
	for _, phase := range []smallfiles.Phase{smallfiles.Write, smallfiles.Read, smallfiles.List, smallfiles.Remove} {
		t.Run(string(phase), func(t *testing.T) {
			o := quick(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			seen := 0
			_, err := smallfiles.Run(ctx, o, func(s smallfiles.Step) {
				if s.Phase == phase && s.Path == o.Path {
					seen = len(left(t, o.Path))
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) || seen != 1 {
				t.Errorf("got %v, with %d directories at work", err, seen)
			}
			if names := append(left(t, o.Against), left(t, filepath.Dir(o.Path))...); names != nil {
				t.Errorf("left over: %q", names)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	var target *smallfiles.TargetError
	var option *smallfiles.OptionError
	var room *smallfiles.RoomError
	full, leftover, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "file")
	for _, err := range []error{
		os.WriteFile(full+"/mine", nil, 0o600), os.Mkdir(leftover+"/atoll-bench-123", 0o700), os.WriteFile(file, nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(*smallfiles.Options)
		as     any
		text   string
	}{
		"not empty":  {func(o *smallfiles.Options) { o.Path = full }, &target, "not empty"},
		"leftover":   {func(o *smallfiles.Options) { o.Path = leftover }, &target, "was killed"},
		"a file":     {func(o *smallfiles.Options) { o.Path = file }, &target, "no directory"},
		"no parent":  {func(o *smallfiles.Options) { o.Path = full + "/no/no" }, nil, "no such file"},
		"no against": {func(o *smallfiles.Options) { o.Against = full + "/no" }, nil, "no such file"},
		"bytes":      {func(o *smallfiles.Options) { o.Files, o.Size = 100_000_000, 1<<20 }, &room, "bytes free"},
		"files":      {func(o *smallfiles.Options) { o.Files = -1 }, &option, "files must be"},
		"size":       {func(o *smallfiles.Options) { o.Size = 1 << 21 }, &option, "size must be"},
		"path":       {func(o *smallfiles.Options) { o.Path = "" }, &option, "path must"},
		"limit":      {func(o *smallfiles.Options) { o.WriteLimit = 0 }, &option, "write limit"},
	} {
		t.Run(name, func(t *testing.T) {
			o := quick(t)
			c.change(&o)
			_, err := smallfiles.Run(t.Context(), o, nil)
			if err == nil || !strings.Contains(err.Error(), c.text) || c.as != nil && !errors.As(err, c.as) {
				t.Errorf("got %v, want %T with %q", err, c.as, c.text)
			}
			if names := left(t, filepath.Dir(o.Path)); name == "bytes" && names != nil {
				t.Errorf("left over: %q", names)
			}
		})
	}
	if names := left(t, full); len(names) != 1 {
		t.Errorf("a directory of somebody else's holds %q now", names)
	}
}

// TestInodes measures a file system of its own that has room for few files.
func TestInodes(t *testing.T) {
	o := quick(t)
	o.Path = t.TempDir()
	if err := unix.Mount("tmpfs", o.Path, "tmpfs", 0, "size=64m,nr_inodes=400"); err != nil {
		t.Skipf("NOT CHECKED: only root mounts: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(o.Path, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(o.Path+"/lost+found", 0o700); err != nil {
		t.Fatal(err)
	}
	result, err := smallfiles.Run(t.Context(), o, nil)
	if err != nil || result.Path.Filesystem != "tmpfs" {
		t.Fatalf("%+v, %v", result, err)
	}
	o.Files = 390
	var room *smallfiles.RoomError
	if _, err = smallfiles.Run(t.Context(), o, nil); !errors.As(err, &room) || room.What != "inodes" {
		t.Errorf("390 files in 400 inodes: %v", err)
	}
	if names := left(t, o.Path); len(names) != 1 {
		t.Errorf("left over: %q", names)
	}
}
