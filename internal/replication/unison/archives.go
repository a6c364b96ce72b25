package unison

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// directory is where unison keeps archives, locks and profiles, from its home.
const directory = ".unison"

// What unison's files in its directory begin with: archives, their fingerprints, what is being committed, and locks.
var (
	archives = []string{"ar", cachePrefix, "sc", "tm"}
	locks    = []string{"lk"}
)

// clear removes files of unison's own. It must not run. Whoever owns the directory may have put links into it: they lead nowhere
// outside of the home.
func clearFiles(home string, prefixes []string) error {
	root, err := os.OpenRoot(home)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var problems []error
	for _, e := range entries {
		for _, prefix := range prefixes {
			if rest, ok := strings.CutPrefix(e.Name(), prefix); ok && isHash(rest) {
				problems = append(problems, root.Remove(path.Join(directory, e.Name())))
			}
		}
	}
	return errors.Join(problems...)
}

// hasArchive tells whether unison knows of an earlier synchronization. It must not run.
func hasArchive(home string) (bool, error) {
	entries, err := os.ReadDir(path.Join(home, directory))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		hash, ok := strings.CutPrefix(e.Name(), archives[0])
		return ok && isHash(hash)
	}), err
}

// isHash tells whether the rest of a name is what unison makes of two roots.
func isHash(rest string) bool {
	return len(rest) == 32 && strings.Trim(rest, "0123456789abcdef") == ""
}
