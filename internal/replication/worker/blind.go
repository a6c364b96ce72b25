package worker

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// blind finds changes that a program cannot see by a file's attributes: a file that was written to in its place twice within the time that
// the program takes for one. The program may have read it in between, even if it has become longer: its length is asked for last. Once
// such a file is left alone it gets a date of change that tells. So does one that is written to right after changes were missed: it may have been written to
// just before. Changed is called by one goroutine.
type blind struct {
	root   string
	within time.Duration
	log    *slog.Logger

	mu sync.Mutex
	// From missedFrom until missedUntil changes may have been missed, or several been told as one while the program looked at everything: when the tree
	// began to be watched, and when a watch has run over.
	missedFrom, missedUntil time.Time
	seen, due               map[string]version
	// own is when the program itself last had a part in a path's change, hidden when it was found to have hidden somebody else's.
	own, hidden map[string]time.Time
}

// hiddenPause is how often at most a file is dated because the program has hidden a change: the other side does the same.
const hiddenPause = 30 * time.Second

// toldWithin is how long after a change at most it is told: a date that is further from the present was set by somebody.
const toldWithin = time.Minute

// blindPatience is how many times as long as the program takes for one moment the end of a round is waited for: 30 s with unison.
const blindPatience = 15

// version is what a program goes by.
type version struct {
	inode    uint64
	modified time.Time
	at       time.Time
	// written tells that the date of change may be the kernel's own, which has nanoseconds. Unison, like others, sets dates by microseconds
	// (utimes(2)).
	written bool
	// foreign tells that somebody else than the program has had a part in it.
	foreign bool
}

func newBlind(root string, within time.Duration, log *slog.Logger) *blind {
	return &blind{root: root, within: within, log: log, seen: map[string]version{}, due: map[string]version{}, own: map[string]time.Time{}, hidden: map[string]time.Time{}}
}

// wrote takes in that the program itself has changed a path, before that is reported.
func (b *blind) wrote(path string) {
	if b.within == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.own[path] = time.Now()
}

// changed takes in what has changed, before the program hears of it.
func (b *blind) changed(batch watch.Batch) {
	if b.within == 0 {
		return
	}
	if batch.All {
		b.miss(batch, time.Now())
		return
	}
	root, err := OpenTree(b.root)
	if err != nil {
		return // the tree is gone, which others tell
	}
	defer func() { _ = root.Close() }()
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range batch.Changes {
		if c.Recursive {
			continue
		}
		v, ok := look(root, c.Path, now)
		if !ok {
			delete(b.seen, c.Path)
			delete(b.due, c.Path)
			continue
		}
		before, seen := b.seen[c.Path]
		same := seen && before.inode == v.inode && !bornSince(filepath.Join(b.root, c.Path), before.at) // inodes are used again
		wrote := b.own[c.Path]
		mixed := !wrote.IsZero() && (!seen || wrote.After(before.at))
		v.foreign = !c.Own || same && before.foreign
		b.seen[c.Path] = v
		set := now.Sub(v.modified).Abs() > toldWithin
		switch {
		case !c.Own && (same && !mixed && b.confuses(before, v) || mixed && v.written && !set):
			// What the program wrote and somebody else at once again is reported as one change, and what the program wrote is not known. A date
			// that somebody has set is theirs.
			b.due[c.Path] = v
		case c.Own && v.written && now.Sub(v.modified) <= 2*b.within && (!same || !before.modified.Equal(v.modified)):
			// What the program wrote is not what is there by now, and what is will be told as what was there already.
			b.due[c.Path] = v
		case same && (mixed && (before.foreign || !c.Own) || before.foreign && before.written && now.Sub(v.modified) <= 2*b.within) && !v.written && now.Sub(b.hidden[c.Path]) > hiddenPause:
			// Unison gives a file the date that it has on the other side without another look into it, and then does not see any more what
			// somebody has written there since. Where nobody says who it was, it is told from what sets the dates of what it unpacks or copies by
			// how recent the date is.
			b.due[c.Path], b.hidden[c.Path] = v, now
		case !seen && v.written && b.mayHaveMissed(v.modified) && !bornSince(filepath.Join(b.root, c.Path), b.missedUntil):
			// The program may know it as it was a moment before that.
			b.due[c.Path] = v
		}
	}
}

// miss takes in that changes may have been missed until now, when a batch says so. What has several names was told under one of them.
func (b *blind) miss(batch watch.Batch, now time.Time) {
	if !batch.All || batch.Reason == watch.SeveralNames {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missedFrom, b.missedUntil = now, now
	clear(b.seen)
}

// caughtUp takes in that the changes that follow a batch are told from now on.
func (b *blind) caughtUp(batch watch.Batch, now time.Time) {
	if !batch.All || batch.Reason == watch.SeveralNames {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missedUntil = now
}

// mayHaveMissed tells whether a change may be the second of two of which only one was told.
func (b *blind) mayHaveMissed(changed time.Time) bool {
	return !changed.Before(b.missedFrom.Add(-b.within)) && !changed.After(b.missedUntil.Add(b.within))
}

// confuses tells whether the program takes one version for another.
func (b *blind) confuses(x, y version) bool {
	return x.inode == y.inode && !x.modified.Equal(y.modified) && y.modified.Sub(x.modified).Abs() <= b.within
}

// look returns the version of a regular file.
func look(root *os.Root, path string, now time.Time) (version, bool) {
	info, err := root.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return version{}, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return version{}, false
	}
	return version{inode: stat.Ino, modified: info.ModTime(), at: now, written: info.ModTime().Nanosecond()%int(time.Microsecond) != 0}, true
}

// run dates what has to be, until ctx ends, while the program rests: in the middle of a round it would find what it has just looked at changed, and put aside
// a version of it once more. One that does not come to rest is not waited for for ever.
func (b *blind) run(ctx context.Context, rests func() bool) {
	if b.within == 0 {
		return
	}
	tick := time.NewTicker(b.within / 8)
	defer tick.Stop()
	dated := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			b.expire(now)
			if rests() || now.Sub(dated) > blindPatience*b.within {
				b.date(now)
				dated = now
			}
		}
	}
}

// expire forgets what is too old to be confused with anything.
func (b *blind) expire(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.seen, func(_ string, v version) bool { return now.Sub(v.at) > 2*b.within })
	maps.DeleteFunc(b.own, func(_ string, at time.Time) bool { return now.Sub(at) > 2*b.within })
	maps.DeleteFunc(b.hidden, func(_ string, at time.Time) bool { return now.Sub(at) > hiddenPause })
}

// date gives files that were left alone long enough the present as their date of change.
func (b *blind) date(now time.Time) {
	due := map[string]version{}
	b.mu.Lock()
	maps.DeleteFunc(b.due, func(path string, v version) bool {
		if now.Sub(v.modified) <= b.within {
			return false
		}
		due[path] = v
		return true
	})
	b.mu.Unlock()
	if len(due) == 0 {
		return
	}
	root, err := OpenTree(b.root)
	if err != nil {
		return
	}
	defer func() { _ = root.Close() }()
	for path, v := range due {
		if is, ok := look(root, path, now); !ok || !is.modified.Equal(v.modified) || is.inode != v.inode {
			continue // it has changed since, which is seen
		}
		// An access time of zero stays what it is.
		if err := root.Chtimes(path, time.Time{}, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.log.Warn("a change may not be seen on the other side until the file changes again", "path", path, "error", err)
		}
	}
}
