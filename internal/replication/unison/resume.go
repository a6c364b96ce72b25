package unison

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// resumed is how long a file has to be at least that unison goes on with, in bytes: it begins shorter ones anew (appendThreshold in its
// copy.ml).
const resumed = 1 << 20

// Resumes implements worker.Engine.
func (*engine) Resumes(size int64) bool { return size >= resumed }

// Unfinished implements worker.Engine.
func (e *engine) Unfinished(p string) bool {
	return e.Temporary(p) && unfinished(p, hashes(e.host.Config)) // hashes are looked for each time: there are new ones after a start
}

// Unfinished returns what tells which paths of a tree are of files that a pair's unison has not completed.
func Unfinished(c worker.Config) func(path string) bool {
	known := hashes(c)
	return func(p string) bool { return unfinished(p, known) }
}

// unfinished goes by the hash of the roots, which is in the names of archives and of such files (addHashToTempNames in unison's update.ml).
// Another pair of the same tree has others.
func unfinished(p string, hashes []string) bool {
	m := temporaryName.FindStringSubmatch(path.Base(p))
	return m != nil && slices.Contains(hashes, m[2])
}

// hashes returns what unison calls the roots that it has synchronized.
func hashes(c worker.Config) []string {
	root, err := os.OpenRoot(c.Home())
	if err != nil {
		return nil // there is none yet
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), directory)
	if err != nil {
		return nil
	}
	var found []string
	for _, entry := range entries {
		for _, prefix := range slices.Concat(archives, locks) {
			if hash, ok := strings.CutPrefix(entry.Name(), prefix); ok && isHash(hash) && !slices.Contains(found, hash) {
				found = append(found, hash)
			}
		}
	}
	return found
}
