package unison

import (
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	// untidyFor is how long nothing in a directory must have failed until what is left there of transfers that did is no more gone on with.
	untidyFor = time.Minute
	// maxUntidy bounds how many directories are kept.
	maxUntidy = 1000
)

// untidy are the directories in which transfers have failed, by when one last did: what they were to become may have changed meanwhile, and
// unison leaves what it had. It is used by one goroutine.
type untidy map[string]time.Time

// round takes in what failed in a round, and returns the directories in which there may be leftovers that nobody goes on with.
func (u untidy) round(failed map[string]string, now time.Time) []string {
	var due []string
	for file, reason := range failed {
		directory := path.Dir(file)
		if _, known := u[directory]; known || len(u) < maxUntidy {
			u[directory] = now
		}
		// Unison leaves another hidden copy each time: versions conflict, and their names are too long for one more to be put beside them, by
		// whatever name.
		if strings.Contains(reason, "File name too long") {
			due = append(due, directory)
		}
	}
	for directory, last := range u {
		if now.Sub(last) > untidyFor {
			due = append(due, directory)
		}
	}
	// They are told of more than once: not each time is heeded.
	maps.DeleteFunc(u, func(_ string, last time.Time) bool { return now.Sub(last) > 2*untidyFor })
	slices.Sort(due)
	return slices.Compact(due)
}
