// Package watch tells which paths of one directory tree have changed, and never misses a change: whenever it cannot know
// (the kernel's queue overflowed, something was mounted below the tree, the tree itself was replaced or is not there) it
// demands that everything be looked at again.
//
// It asks the kernel in one of two ways. With fanotify one mark covers a whole file system, whatever number of
// directories the tree has, and each event names the thread that caused it; it needs CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH
// and a file system with file handles (fanotify(7), FAN_REPORT_DFID_NAME, Linux 5.9). Otherwise there is inotify, with
// one watch for each directory. Open finds out by trying; Status says which it is and why.
//
// Paths are relative to the tree's root, with slashes and without one at either end, and are bytes: nothing is assumed
// of their encoding. Symbolic links are not followed, except for those that lead to the root. What is changed through
// a mapping into memory is seen when the mapping's file is closed.
package watch

import (
	"fmt"
	"log/slog"
	"time"
)

// Method is a way in which the kernel tells of changes.
type Method string

const (
	// Fanotify is one mark for a whole file system; it says which process caused an event.
	Fanotify Method = "fanotify"
	// Inotify is one watch for each directory.
	Inotify Method = "inotify"
)

const (
	// DefaultSettle is how long a file that stays open for writing must be left alone until it is reported.
	DefaultSettle = time.Second
	// DefaultSettleMost is when a file that is written to all the time is reported at the latest.
	DefaultSettleMost = 10 * time.Second
)

// Options say how a tree is watched. The zero value finds the best way.
type Options struct {
	// Method insists on one way. Empty: fanotify where that may, otherwise inotify.
	Method Method
	// Skip reports whether a path stays out of what is reported, with all below it. It is called for each event, by one
	// goroutine at a time, and with directories before what they hold. Nil skips nothing.
	Skip func(path string) bool
	// Own reports whether a thread is one whose changes are marked as Own; a process' first thread has its id. It is called for each event, by one
	// goroutine at a time, and also for threads that have ended since. Only fanotify knows threads. Nil: none is.
	Own func(thread int) bool
	// Foreign reports whether changes of a path are never Own, whoever made them. Nil: of none. It is called as Own is.
	Foreign func(path string) bool
	// Settle and SettleMost are the defaults when 0. A file that is closed is reported at once.
	Settle, SettleMost time.Duration
	Log                *slog.Logger
}

// Status is what a watcher is doing.
type Status struct {
	Method Method
	// Reason says why it is this method and not the other; empty when it is fanotify, or was asked for.
	Reason string
	// Watches counts the kernel's marks (one a file system) or watches (one a directory) in use.
	Watches int
	// Rescans counts how often everything had to be looked at again.
	Rescans int
	// LastRescan is the reason for the last of them.
	LastRescan string
	// Missing says that the tree is not there, or cannot be watched at the moment; empty when all is well.
	Missing string
}

// LimitError means that the kernel's limit of inotify watches for a user is too low for the tree.
type LimitError struct {
	// Root is the tree.
	Root string
	// Directories is how many watches the tree needs: one for each of its directories.
	Directories int
	// Watched is how many there were when the limit was reached. Others of the same user may have taken the rest.
	Watched int
	// Limit is the limit, 0 when it cannot be read.
	Limit int
}

// Sysctl is the kernel setting to raise.
const Sysctl = "fs.inotify.max_user_watches"

// Watches is what the limit of inotify watches is raised to where a tree cannot be watched in another way. A watch takes about a KiB of the
// kernel's memory, and only when it is in use.
const Watches = 1 << 20

// Needed is a limit that suffices for the tree beside everything that watches already.
func (e *LimitError) Needed() int {
	return max(e.Limit, e.Watched) + max(e.Directories-e.Watched, 1)
}

// Error says how many watches are needed and what to set.
func (e *LimitError) Error() string {
	return fmt.Sprintf("watch %s: it has %d directories and the kernel let %d of them be watched (limit %d for this user): "+
		"set the sysctl %s to at least %d", e.Root, e.Directories, e.Watched, e.Limit, Sysctl, e.Needed())
}

// UnsupportedError means that the tree cannot be watched by the method that was insisted on.
type UnsupportedError struct {
	Method Method
	Root   string
	// Err is what the kernel said.
	Err error
}

// Error names the method, the tree and the reason.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("watch %s by %s: %v", e.Root, e.Method, e.Err)
}

// Unwrap returns what the kernel said.
func (e *UnsupportedError) Unwrap() error { return e.Err }
