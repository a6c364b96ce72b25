package guard

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// openFor is for how long a file that somebody writes to is not replaced: a program that never closes it must not keep all others' versions out.
	openFor = 30 * time.Second
	// mostKept bounds how many paths are remembered.
	mostKept = 4096
)

// keeper acts for a program, with its rights.
type keeper struct {
	tree Tree
	// copies tells by path when a copy was complete that the program has made of what was there, moved which temporary names have what the program found
	// at another one, open since when a path is refused for being open.
	copies map[string]unix.Timespec
	moved  map[string]bool
	open   map[string]unix.Timespec
	// looked is when the program had begun to look when these were noted.
	looked time.Time
	// warned tells that it was said that names cannot be exchanged, blind that nothing can be guarded.
	warned, blind bool
}

// do does what a program has asked for; ours is false when the kernel is to do it.
func (k *keeper) do(what kind, from, to string) (result unix.Errno, ours bool) {
	source, inside := k.inside(from)
	if !inside {
		return 0, false
	}
	if looked := k.tree.Looked(); !looked.Equal(k.looked) {
		k.looked = looked
		clear(k.copies)
		clear(k.moved)
	}
	if what == unlink {
		return k.remove(from, source)
	}
	target, inside := k.inside(to)
	if !inside {
		return 0, false
	}
	if k.temporary(source) {
		return k.complete(from, to, source, target), true
	}
	return k.away(from, to, source, target), true
}

// inside returns a path from the tree's root.
func (k *keeper) inside(absolute string) (string, bool) {
	for _, root := range k.tree.Roots {
		if rest, ok := strings.CutPrefix(absolute, strings.TrimSuffix(root, "/")+"/"); ok {
			return rest, true
		}
	}
	return "", false
}

// temporary tells whether a path is, or is in, what the program has not completed.
func (k *keeper) temporary(p string) bool {
	for p != "." && p != "" {
		if k.tree.Temporary(p) {
			return true
		}
		p = path.Dir(p)
	}
	return false
}

// refuse has the program look again.
func (k *keeper) refuse(p string) unix.Errno {
	k.tree.Log.Info("a file has changed at the moment when it was to be replaced or removed: it is looked at again", "path", p)
	k.tree.Refused(p)
	return unix.EBUSY
}

// complete places what the program has completed, and tells of that.
func (k *keeper) complete(from, to, source, target string) unix.Errno {
	var arrives unix.Stat_t
	known := lstat(from, &arrives) == 0 && (directory(&arrives) || arrives.Mode&unix.S_IFMT == unix.S_IFREG) && k.tree.Becomes(source) == target
	errno := k.place(from, to, source, target)
	if errno == 0 && known {
		k.tree.Placed(target, directory(&arrives))
	}
	return errno
}

// place renames what the program has completed to its name.
func (k *keeper) place(from, to, source, target string) unix.Errno {
	var arrives unix.Stat_t
	if errno := lstat(from, &arrives); errno != 0 {
		return errno
	}
	if errno := move(from, to, unix.RENAME_NOREPLACE); errno != unix.EEXIST && !unsupported(errno) {
		if becomes := k.tree.Becomes(source); errno == 0 && becomes != "" && becomes != target {
			remember(k.copies, becomes, arrives.Ctim)
		}
		return errno
	}
	var there unix.Stat_t
	if errno := lstat(to, &there); errno != 0 && errno != unix.ENOENT {
		return errno
	} else if errno == 0 && !directory(&there) && !directory(&arrives) {
		if !before(there.Ctim, arrives.Ctim) || !k.possible(arrives.Ctim) {
			return k.refuse(target)
		}
		errno := move(from, to, unix.RENAME_EXCHANGE)
		switch {
		case errno == 0:
			return k.settle(from, to, target, &arrives, &there)
		case errno == unix.ENOENT:
			return k.refuse(target) // it was removed this moment
		case !unsupported(errno):
			return errno
		}
		k.warn()
	}
	// A directory replaces nothing but an empty one.
	return move(from, to, 0)
}

// settle looks at what an exchange has brought out.
func (k *keeper) settle(from, to, target string, arrived, expected *unix.Stat_t) unix.Errno {
	if k.same(from, expected) && !k.busy(from, target) {
		return unlinked(from)
	}
	// Whatever came out goes back. When that brings out something else than what was placed, then an application has replaced it meanwhile, and that is
	// newer than what went back; and so on.
	out := *arrived
	for {
		var back unix.Stat_t
		if errno := lstat(from, &back); errno != 0 {
			return k.refuse(target)
		}
		if move(from, to, unix.RENAME_EXCHANGE) != 0 {
			// Somebody has removed it meanwhile.
			_ = move(from, to, unix.RENAME_NOREPLACE)
			return k.refuse(target)
		}
		if k.same(from, &out) {
			break
		}
		out = back
	}
	return k.refuse(target)
}

// same tells whether what is at a path is what it was, though it may have been renamed.
func (k *keeper) same(absolute string, was *unix.Stat_t) bool {
	var is unix.Stat_t
	return lstat(absolute, &is) == 0 && is.Ino == was.Ino && is.Dev == was.Dev && is.Size == was.Size && is.Mtim == was.Mtim
}

// busy tells whether somebody has a file open for writing, and has not had it for long: the kernel gives no lease for reading then.
func (k *keeper) busy(absolute, target string) bool {
	fd, err := unix.Open(absolute, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false // a link, or nothing that the program can read
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err != unix.EAGAIN { //nolint:errorlint // it is what the call returns
		return false
	}
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return false
	}
	since, known := k.open[target]
	if !known {
		remember(k.open, target, now)
		return true
	}
	long := time.Duration(now.Nano() - since.Nano())
	if long > 2*openFor {
		k.open[target] = now // of another time
		return true
	}
	return long < openFor
}

// away renames what the program has found in the tree to a temporary name, from which it removes it.
func (k *keeper) away(from, to, source, target string) unix.Errno {
	var there unix.Stat_t
	if errno := lstat(from, &there); errno != 0 {
		return errno
	}
	if !k.known(source, &there) {
		return k.refuse(source)
	}
	errno := move(from, to, unix.RENAME_NOREPLACE)
	if unsupported(errno) {
		k.warn()
		errno = move(from, to, 0)
	}
	if errno != 0 {
		return errno
	}
	if !k.same(to, &there) {
		_ = move(to, from, unix.RENAME_NOREPLACE) // otherwise there is a newer one
		return k.refuse(source)
	}
	if len(k.moved) >= mostKept {
		clear(k.moved)
	}
	k.moved[target] = true
	return 0
}

// known tells whether the program can have looked at what is at a path that it is to remove.
func (k *keeper) known(source string, there *unix.Stat_t) bool {
	if copied, ok := k.copies[source]; ok && before(there.Ctim, copied) {
		return k.possible(copied)
	}
	// The clock may have been set since.
	began := min(k.looked.UnixNano(), time.Now().Add(-time.Since(k.looked)).UnixNano())
	return there.Ctim.Nano() < began-int64(coarse)
}

// coarse is by how much the kernel's dates of files may be behind its clock.
const coarse = 20 * time.Millisecond

// remove removes a file.
func (k *keeper) remove(from, source string) (unix.Errno, bool) {
	if k.temporary(source) {
		return k.discard(from, source)
	}
	var there unix.Stat_t
	if errno := lstat(from, &there); errno != 0 {
		return errno, true
	}
	if directory(&there) {
		return 0, false // the kernel knows what to say
	}
	if !k.known(source, &there) {
		return k.refuse(source), true
	}
	aside := path.Join(strings.TrimSuffix(from, source), k.tree.Aside(source, there.Ino))
	errno := move(from, aside, unix.RENAME_NOREPLACE)
	if unsupported(errno) {
		k.warn()
		return unlinked(from), true
	}
	if errno != 0 {
		return errno, true
	}
	if !k.same(aside, &there) || k.busy(aside, source) {
		if move(aside, from, unix.RENAME_NOREPLACE) != 0 {
			// An application has made another one already: it has replaced this one by that.
			_ = unix.Unlink(aside)
		}
		return k.refuse(source), true
	}
	return unlinked(aside), true
}

// discard removes what is below a temporary name. What the program has put there from the tree may have got something new since.
func (k *keeper) discard(from, source string) (unix.Errno, bool) {
	above := source
	for above != "." && !k.moved[above] {
		above = path.Dir(above)
	}
	var there unix.Stat_t
	if above == "." || above == source || lstat(from, &there) != 0 || k.known(source, &there) {
		return 0, false
	}
	// It keeps its content, beside what has taken its directory's name.
	root := strings.TrimSuffix(from, "/"+source)
	for n := range mostKept {
		kept := k.tree.Beside(path.Join(path.Dir(above), path.Base(source)), n, time.Now())
		errno := move(from, path.Join(root, kept), unix.RENAME_NOREPLACE)
		if errno == unix.EEXIST {
			continue
		}
		if errno == 0 {
			k.tree.Refused(kept)
		}
		return errno, true
	}
	return unix.EBUSY, true
}

// possible tells whether a date is not of the future: then the clock was set.
func (k *keeper) possible(date unix.Timespec) bool {
	var now unix.Timespec
	return unix.ClockGettime(unix.CLOCK_REALTIME, &now) == nil && !before(now, date)
}

// warn says once that names cannot be exchanged.
func (k *keeper) warn() {
	if !k.warned {
		k.warned = true
		k.tree.Log.Warn("the file system cannot exchange names: what an application puts into the place of a file within the microsecond in which it is replaced is lost")
	}
}

// unguarded says once that the program runs without a guard.
func (k *keeper) unguarded(err error) {
	if !k.blind {
		k.blind = true
		k.tree.Log.Warn("what an application puts into the place of a file in the moment in which that is replaced from the other side is lost", "error", fmt.Errorf("%w: %w", ErrUnguarded, err))
	}
}

func remember(m map[string]unix.Timespec, p string, date unix.Timespec) {
	if len(m) >= mostKept {
		clear(m)
	}
	m[p] = date
}

func before(a, b unix.Timespec) bool { return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec }

func directory(stat *unix.Stat_t) bool { return stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// unsupported tells whether a file system does not know flags of renameat2.
func unsupported(errno unix.Errno) bool {
	return errno == unix.EINVAL || errno == unix.ENOSYS || errno == unix.EOPNOTSUPP
}

func lstat(absolute string, into *unix.Stat_t) unix.Errno {
	return numberOf(unix.Lstat(absolute, into))
}

func move(from, to string, flags uint) unix.Errno {
	return numberOf(unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags))
}

func unlinked(absolute string) unix.Errno { return numberOf(unix.Unlink(absolute)) }

// numberOf is the kernel's own error, 0 for none.
func numberOf(err error) unix.Errno {
	if err == nil {
		return 0
	}
	var number unix.Errno
	if errors.As(err, &number) {
		return number
	}
	return unix.EIO
}
