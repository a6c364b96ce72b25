package worker_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestBlind writes to one file twice within the time that a program takes for one.
func TestBlind(t *testing.T) {
	const within = 2 * time.Second
	for name, test := range map[string]struct {
		second  string
		after   time.Duration
		set     time.Duration
		own     bool
		renamed bool
		mixed   bool
		dated   bool
	}{
		"as long":                     {second: "22", after: time.Second, dated: true},
		"longer":                      {second: "333", after: time.Second, dated: true},
		"later":                       {second: "22", after: 3 * time.Second},
		"by the program":              {second: "22", after: time.Second, own: true},
		"another file":                {second: "22", after: time.Second, renamed: true},
		"by the program and another":  {second: "22", after: time.Second, mixed: true, dated: true},
		"unpacked over the program's": {second: "22", after: time.Second, mixed: true, set: -5 * time.Minute},
		"dated ahead":                 {second: "22", after: time.Second, mixed: true, set: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, "file")
			first := time.Now().Add(-time.Minute)
			b := worker.NewBlind(root, within)
			mustDo(t, os.WriteFile(file, []byte("11"), 0o600), os.Chtimes(file, first, first))
			if !test.mixed {
				b.Changed(watch.Change{Path: "file"})
			}
			to := file
			if test.renamed {
				to += ".new"
			}
			second := first.Add(test.after)
			mustDo(t, os.WriteFile(to, []byte(test.second), 0o600))
			if test.mixed {
				b.Wrote("file")
				second = time.Now().Add(test.set).Truncate(time.Microsecond).Add(7) // with nanoseconds, as the kernel has it
			}
			mustDo(t, os.Chtimes(to, second, second))
			if test.renamed {
				mustDo(t, os.Rename(to, file))
			}
			b.Changed(watch.Change{Path: "file", Own: test.own})
			b.Date(second.Add(within))
			if info, err := os.Stat(file); err != nil || !info.ModTime().Equal(second) {
				t.Fatalf("dated before it was left alone: %v, %v", info.ModTime(), err)
			}
			now := second.Add(within + time.Second)
			b.Date(now)
			info, err := os.Stat(file)
			mustDo(t, err)
			if dated := info.ModTime().Sub(second).Abs() > within; dated != test.dated {
				t.Errorf("its date is %v after it was written", info.ModTime().Sub(second))
			}
		})
	}
}

// TestBlindDatesWhileTheProgramRests has a file due while a round goes on, one that ends and one that does not.
func TestBlindDatesWhileTheProgramRests(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]bool{"a round that ends": true, "a round without end": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const within = 200 * time.Millisecond
			root := t.TempDir()
			file := filepath.Join(root, "file")
			b := worker.NewBlind(root, within)
			first := time.Now().Add(-2 * within)
			second := first.Add(within / 2)
			for _, at := range []time.Time{first, second} {
				mustDo(t, os.WriteFile(file, []byte("11"), 0o600), os.Chtimes(file, at, at))
				b.Changed(watch.Change{Path: "file"})
			}
			dated := func() bool {
				info, err := os.Stat(file)
				return err == nil && !info.ModTime().Equal(second)
			}
			asked := 0
			begun, datedMeanwhile := time.Now(), false
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				b.Run(ctx, func() bool {
					asked++
					datedMeanwhile = datedMeanwhile || asked <= 16 && time.Since(begun) < 10*within && dated()
					return ends && asked > 16
				})
			}()
			await.True(t, "it is dated", time.Minute, dated)
			cancel()
			<-done
			if datedMeanwhile || asked == 0 {
				t.Errorf("it was dated in the middle of a round: %t; %d looks", datedMeanwhile, asked)
			}
		})
	}
}

// TestBlindUnattributed has the same where nobody tells who has set a date.
func TestBlindUnattributed(t *testing.T) {
	t.Parallel()
	const within = 2 * time.Second
	for name, test := range map[string]struct {
		set   time.Duration
		dated bool
	}{
		"the present, of the other side": {set: 3 * time.Second, dated: true},
		"a date that is unpacked":        {set: -time.Hour},
	} {
		root := t.TempDir()
		file := filepath.Join(root, "file")
		b := worker.NewBlind(root, within)
		written := time.Now().Add(-4 * time.Second).Truncate(time.Microsecond).Add(7)
		set := written.Add(test.set).Truncate(time.Microsecond)
		mustDo(t, os.WriteFile(file, []byte("11"), 0o600), os.Chtimes(file, written, written))
		b.Changed(watch.Change{Path: "file"})
		mustDo(t, os.Chtimes(file, set, set))
		b.Changed(watch.Change{Path: "file"})
		b.Date(time.Now().Add(time.Minute))
		info, err := os.Stat(file)
		mustDo(t, err)
		if dated := !info.ModTime().Equal(set); dated != test.dated {
			t.Errorf("%s: dated: %t", name, dated)
		}
	}
}

// TestBlindInodeUsedAgain has the program put a file in the place of one that was removed unseen, with what is left of it: its inode.
func TestBlindInodeUsedAgain(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "file")
	b := worker.NewBlind(root, 2*time.Second)
	mustDo(t, os.WriteFile(file, []byte("11"), 0o600))
	first, err := os.Stat(file)
	mustDo(t, err)
	tells := worker.BornSince(file, time.Unix(0, 0)) // not every file system says when a file was made
	b.Changed(watch.Change{Path: "file"})
	changed := time.Now()
	await.True(t, "the kernel's clock for files goes on", time.Minute, func() bool {
		mustDo(t, os.Remove(file), os.WriteFile(file, []byte("22"), 0o600))
		return worker.BornSince(file, changed) || !tells
	})
	second, err := os.Stat(file)
	mustDo(t, err)
	again := os.SameFile(first, second)
	set := time.Now().Truncate(time.Microsecond)
	b.Wrote("file")
	mustDo(t, os.Chtimes(file, set, set))
	b.Changed(watch.Change{Path: "file"})
	b.Date(set.Add(time.Minute))
	info, err := os.Stat(file)
	mustDo(t, err)
	if dated := !info.ModTime().Equal(set); dated != (again && !tells) {
		t.Errorf("its inode is that of the one before: %t; dated: %t", again, dated)
	}
}

// TestBlindLate has a file written to right after the program has made it, and before anybody looks.
func TestBlindLate(t *testing.T) {
	t.Parallel()
	const within = time.Hour
	root := t.TempDir()
	file := filepath.Join(root, "file")
	b := worker.NewBlind(root, within)
	written := time.Now().Truncate(time.Microsecond).Add(7)
	mustDo(t, os.WriteFile(file, []byte("11"), 0o600), os.Chtimes(file, written, written))
	b.Wrote("file")
	b.Changed(watch.Change{Path: "file", Own: true})
	b.Changed(watch.Change{Path: "file"})
	b.Date(written.Add(2 * within))
	if info, err := os.Stat(file); err != nil || info.ModTime().Equal(written) {
		t.Errorf("it is not dated: %v", err)
	}
}

// TestBlindHidden has the program set the date of a file that somebody has just written to, as of a change of the date on the other side.
func TestBlindHidden(t *testing.T) {
	t.Parallel()
	const within = 2 * time.Second
	for name, test := range map[string]struct{ first, together, replaced, dated bool }{
		"one after the other":  {dated: true},
		"at once":              {together: true, dated: true},
		"the program's before": {first: true, together: true, dated: true},
		"by a file of its own": {replaced: true},
	} {
		root := t.TempDir()
		file := filepath.Join(root, "file")
		b := worker.NewBlind(root, within)
		written := time.Now().Add(-time.Minute).Truncate(time.Microsecond).Add(7)
		mustDo(t, os.WriteFile(file, []byte("11"), 0o600), os.Chtimes(file, written, written))
		b.Changed(watch.Change{Path: "file", Own: test.first})
		set := written.Add(3 * time.Second).Truncate(time.Microsecond)
		for i := range 2 {
			if test.replaced {
				mustDo(t, os.WriteFile(file+".new", []byte("11"), 0o600), os.Rename(file+".new", file))
			}
			set = set.Add(time.Minute * time.Duration(i))
			b.Wrote("file")
			mustDo(t, os.Chtimes(file, set, set))
			b.Changed(watch.Change{Path: "file", Own: !test.together})
			now := set.Add(2 * within)
			b.Date(now)
			info, err := os.Stat(file)
			mustDo(t, err)
			// The second time it is let alone: the other side may do the same.
			if dated := !info.ModTime().Equal(set); dated != (test.dated && i == 0) {
				t.Errorf("%s, time %d: dated: %t", name, i, dated)
			}
		}
	}
}

// TestBlindAfterMissedChanges has a file written to right after changes may have been missed: what the program has read may be as old.
func TestBlindAfterMissedChanges(t *testing.T) {
	t.Parallel()
	const within = 2 * time.Minute
	for name, test := range map[string]struct {
		reason                 string
		caughtUp, after        time.Duration
		own, micro, made, seen bool
		dated                  bool
	}{
		"at once":                      {dated: true},
		"within the time":              {after: time.Minute, dated: true},
		"later":                        {after: 3 * time.Minute},
		"while all was looked at":      {caughtUp: time.Hour, after: 30 * time.Minute, dated: true},
		"by the program":               {own: true, micro: true},
		"with a date from elsewhere":   {micro: true},
		"made since":                   {made: true},
		"seen before that":             {seen: true, after: time.Minute, dated: true},
		"nothing but names was missed": {reason: watch.SeveralNames},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			file := filepath.Join(root, "file")
			b := worker.NewBlind(root, within)
			mustDo(t, os.WriteFile(file, []byte("11"), 0o600))
			if test.made && !worker.BornSince(file, time.Unix(0, 0)) {
				test.made, test.dated = false, true // this file system does not say when a file was made: it may have been there
			}
			if test.seen {
				old := time.Now().Add(-time.Hour)
				mustDo(t, os.Chtimes(file, old, old))
				b.Changed(watch.Change{Path: "file"})
			}
			missed := time.Now()
			b.Miss(test.reason)
			b.CaughtUp(test.reason, missed.Add(test.caughtUp))
			if test.made {
				mustDo(t, os.Remove(file))
				await.True(t, "the kernel's clock for files goes on", time.Minute, func() bool {
					mustDo(t, os.WriteFile(file, nil, 0o600))
					if worker.BornSince(file, missed) {
						return true
					}
					mustDo(t, os.Remove(file))
					return false
				})
			}
			written := missed.Add(test.after).Truncate(time.Microsecond)
			if !test.micro {
				written = written.Add(7) // with nanoseconds, as the kernel has it
			}
			mustDo(t, os.WriteFile(file, []byte("22"), 0o600), os.Chtimes(file, written, written))
			b.Changed(watch.Change{Path: "file", Own: test.own})
			b.Date(written.Add(within + time.Second))
			info, err := os.Stat(file)
			mustDo(t, err)
			if dated := !info.ModTime().Equal(written); dated != test.dated {
				t.Errorf("dated: %t", dated)
			}
		})
	}
}
