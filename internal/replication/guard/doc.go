// Package guard sees to it that a program which keeps a tree of files equal with another one replaces and removes nothing in it that it has
// not looked at.
//
// Such a program looks whether a file is still what it was when it was scanned, and then renames another version over it, or removes it: two
// system calls with a moment in between ("there is an unavoidable race condition here", unison's files.ml). What an application puts there in that
// moment would be gone without a copy. So the kernel stops the program at each rename and removal (seccomp_unotify(2)) and asks this package, which
// does it in the program's place, with the program's rights, in such a way that what was replaced is at hand (renameat2(2), RENAME_EXCHANGE). When
// that is not what the program can have looked at, everything is put back, and the program is told that the file is busy. It then looks
// anew, and finds two versions that conflict.
//
// # What the program can have looked at
//
// The kernel gives a file the present as its date of change of status when it is written to, linked or renamed, and nobody can set that date. A
// program completes the version that it has received under a temporary name before it looks at the one to be replaced. So the one was there, as it is,
// when it was looked at, if its date is before that of the other one. Both dates are of the same file system, and are compared with nothing
// else. What is removed has nothing that takes its place: it has to be older than the moment from which the program has looked at its tree. A file that
// is young for another reason is refused, too, which costs one more try.
//
// A file that somebody has open for writing is refused for a while as well: what is written to it would not be seen by anybody.
//
// # What is left
//
// A change through a mapping into memory does not change the date at once. Where a file system cannot exchange names, the look and the deed are two
// calls as before, though a microsecond apart. Where the kernel has no such notifications (before Linux 5.5), or somebody else has taken them, the
// program runs without a guard, which Serve reports.
package guard

import (
	"errors"
	"log/slog"
	"time"
)

// Name is the name under which this program runs Shim.
const Name = "atoll-guarded"

// ErrUnguarded is wrapped by what Serve returns when a program runs without a guard.
var ErrUnguarded = errors.New("the program replaces files without a guard")

// Tree is what is guarded. Its functions are called by one goroutine at a time. Paths that they get are from the root.
type Tree struct {
	// Roots are the names of the tree's root, absolute.
	Roots []string
	// UID, GID and Groups are the program's.
	UID, GID int
	Groups   []int
	// Temporary tells whether a path is of a file that the program has not completed, and Becomes which path such a file gets, "" where that cannot be
	// told.
	Temporary func(path string) bool
	Becomes   func(temporary string) string
	// Beside is where a version that has lost its name is kept: the nth name, from 0, that nothing else may have.
	Beside func(path string, n int, now time.Time) string
	// Aside is a temporary name for the file at a path, by a number that no other file has, under which the file is about to be removed.
	Aside func(path string, number uint64) string
	// Looked is when the program last began to look at what has changed.
	Looked func() time.Time
	// Refused is called for each path that was not replaced, or not removed.
	Refused func(path string)
	// Placed is called for each file or directory that the program has completed and that has its name now. What is in a directory has come with it.
	Placed func(path string, directory bool)
	// Serving is called with the id of the thread that acts for the program, before it does.
	Serving func(thread int)
	Log     *slog.Logger
}
