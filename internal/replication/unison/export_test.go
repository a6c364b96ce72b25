package unison

import "time"

// CauseOf says in a word why unison has ended, by its last words.
func CauseOf(said string) string {
	return map[cause]string{
		unknown: "unknown", lostArchive: "archive", unequal: "unequal", lostTree: "tree", lostLink: "link", lostMonitor: "monitor", lockedFiles: "locked", exhausted: "exhausted", crashed: "crash", killed: "killed",
	}[causeOf(said)]
}

// Untidy are directories in which transfers have failed.
type Untidy struct{ u untidy }

// NewUntidy knows of none.
func NewUntidy() Untidy { return Untidy{untidy{}} }

// Round takes in a round.
func (u Untidy) Round(failed map[string]string, now time.Time) []string {
	return u.u.round(failed, now)
}

// LastOfServer returns a server's last words, or which signal has ended it.
func LastOfServer(said string, end error) string { return lastOfServer(said, end) }

// Overtaken tells whether what failed is a canary that the next one was written over.
func Overtaken(path, reason string) bool { return overtaken(path, reason) }
