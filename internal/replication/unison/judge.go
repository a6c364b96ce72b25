package unison

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// cause is why unison has ended.
type cause int

const (
	unknown cause = iota
	// lostArchive is that one side knows of no earlier synchronization, or of another one, or cannot read what it knows.
	lostArchive
	// unequal is that the two sides do not know the same after a synchronization; what they knew before is kept.
	unequal
	lostTree
	lostLink
	lostMonitor
	lockedFiles
	// exhausted is that it needs more memory or room on its stack than there is, crashed that it has come upon what else it did not expect, and killed that
	// a signal has ended it.
	exhausted
	crashed
	killed
)

// causes is how unison says it, before it exits with 3 for whatever is fatal. The first that is found counts.
var causes = []struct {
	cause cause
	said  *regexp.Regexp
}{
	{lostTree, regexp.MustCompile(`designated as a mountpoint`)},
	{lostMonitor, regexp.MustCompile(`^(?:Server: )?Filesystem watcher error`)},
	{unequal, regexp.MustCompile(`New archives are not identical`)},
	// loadArchives, checkArchive and loadArchiveLocal in its update.ml, find_m in its proplist.ml.
	{lostArchive, regexp.MustCompile(`inconsistent state|Property lists: |On-disk archives are not identical|loading archive|Archive file seems damaged|Archive (?:format )?mismatch`)},
	{lockedFiles, regexp.MustCompile(`archives are locked|is locked`)},
	{lostLink, regexp.MustCompile(`(?i)lost connection|connection (?:reset|refused|closed)|can't connect`)},
	// exn2string in its uicommon.ml, of 2.53 and 2.52, and what the kernel does with a program that takes what it has read for something else.
	{exhausted, regexp.MustCompile(`^(?:Uncaught exception.*)?(?:Stack overflow|Stack_overflow|Out of memory|Out_of_memory)`)},
	{crashed, regexp.MustCompile(`^Uncaught exception |^Invalid argument(?: \(please report a bug\))?: |^ended by a signal: (?:segmentation fault|bus error)`)},
	{killed, regexp.MustCompile(`^ended by a signal: `)},
}

func causeOf(said string) cause {
	for _, c := range causes {
		if c.said.MatchString(said) {
			return c.cause
		}
	}
	return unknown
}

// lastOf returns unison's last words, or which signal has ended it.
func lastOf(said string, end error) string {
	var exit *exec.ExitError
	if errors.As(end, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return "ended by a signal: " + status.Signal().String()
		}
	}
	return said
}

// serverFailed is what a server's last words begin with (catch_all in its main.ml). The linker, say, may have had some before.
const serverFailed = "Unison server failed: "

func lastOfServer(said string, end error) string {
	if at := strings.LastIndex(said, serverFailed); at >= 0 {
		said = said[at+len(serverFailed):]
	}
	return lastOf(said, end)
}

// judge decides what follows from unison's last words. Useful tells whether it has synchronized before.
func (e *engine) judge(said string, useful bool) error {
	if err := e.host.Gate(); err != nil {
		return err
	}
	c := causeOf(said)
	if c == unequal && useful {
		return fmt.Errorf("what the two sides know of the synchronization is not the same; it is tried again: %s", firstLine(said))
	}
	if c == crashed && !useful {
		if !e.crashesAgain() {
			return fmt.Errorf("unison has broken off before it had looked at everything; it is tried again: %s", firstLine(said))
		}
		c = lostArchive
	}
	switch c {
	case lostArchive, unequal:
		// One side knows of no earlier synchronization, or of another one: then neither does. Equal files are found equal by
		// their contents, of different ones both versions are kept, nothing is deleted.
		e.distrust()
		return fmt.Errorf("what is known of the last synchronization was lost on one side; both trees are compared as a whole: %s", firstLine(said))
	case lostTree:
		// It is there now, here.
		return fmt.Errorf("the tree on %s is not there", e.host.Config.Peer)
	case lostMonitor:
		return fmt.Errorf("unison was not told of changes any more: %s", firstLine(said))
	case lostLink:
		return fmt.Errorf("the connection to %s was lost", e.host.Config.Peer)
	case lockedFiles:
		return fmt.Errorf("an earlier program on %s or here has not ended yet", e.host.Config.Peer)
	case killed:
		return fmt.Errorf("unison was %s; where the memory was used up, the kernel's log says so", firstLine(said))
	case unknown, exhausted, crashed:
	}
	return worker.Problem("unison gives up: " + strings.Join(strings.Fields(said), " "))
}

// judgeServer decides what follows from the last words of unison's server. Before it looks at the tree it reads its archives, and what is damaged
// in them it does not always find damaged.
func (e *engine) judgeServer(said string) {
	e.mu.Lock()
	useful := e.looked
	e.mu.Unlock()
	if causeOf(said) == crashed && !useful && e.crashesAgain() {
		e.host.Log.Warn("what is known of the last synchronization cannot be read; both trees are compared as a whole")
		e.distrust()
	}
}

// crashesAgain takes in that unison has crashed before it was of use, and tells whether it had done so the last time: it does with damaged archives.
func (e *engine) crashesAgain() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	again := e.crashed
	e.crashed = !again
	return again
}

// wasOfUse takes in that a round was completed.
func (e *engine) wasOfUse() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.crashed = false
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// lastWords keeps the end of what a program writes.
type lastWords struct {
	mu   sync.Mutex
	text []byte
}

// maxWords is how much is kept, in bytes.
const maxWords = 8 << 10

// Write implements io.Writer.
func (l *lastWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	l.text = l.text[max(0, len(l.text)-maxWords):]
	return len(p), nil
}

// String returns what was kept.
func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.text))
}
