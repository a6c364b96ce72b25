package unison

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// Unison notices that a file is written to while it digests it by the date alone, to the second, and not by the length (Fileinfo.unchanged in
// its fileinfo.ml): then it takes the digest of the beginning for that of all. It finds out when it has copied the file, says so, and would
// digest it anew, if it had not kept the digest for later (fpcache.ml): without end it reads there what is wrong.

// cachePrefix is what the names of the files begin with in which unison keeps digests for a time after it was interrupted.
const cachePrefix = "fp"

// misreadReason is what unison says of a file whose digest is not its content's (checkForChangesToSourceLocal in its copy.ml).
const misreadReason = "fast update detection mechanism"

// misread tells whether paths failed because of digests that are wrong.
func misread(failed map[string]string) bool {
	for _, reason := range failed {
		if strings.Contains(reason, misreadReason) {
			return true
		}
	}
	return false
}

// distrustDigests has unison keep no digests until its next start. It may run: a directory where its file was cannot be read or written, with
// which it does without.
func (e *engine) distrustDigests() {
	if err := blockCache(e.host.Config.Home()); err != nil {
		e.host.Log.Warn("unison may go on with a digest that is not that of the file", "error", err)
	}
}

// sayMisread does it on both sides: it is not said on which the file was read.
func (e *engine) sayMisread(link *worker.Link) {
	e.distrustDigests()
	_ = link.Say(worker.Word{Misread: true}) // the link may be gone
}

// eachCache calls do with unison's files of digests, and what stands in their place.
func eachCache(home string, do func(root *os.Root, file string, entry fs.DirEntry) error) error {
	root, err := os.OpenRoot(home)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	problems := []error{err}
	for _, entry := range entries {
		if rest, ok := strings.CutPrefix(entry.Name(), cachePrefix); ok && isHash(rest) {
			problems = append(problems, do(root, path.Join(directory, entry.Name()), entry))
		}
	}
	return errors.Join(problems...)
}

func blockCache(home string) error {
	return eachCache(home, func(root *os.Root, file string, entry fs.DirEntry) error {
		if entry.IsDir() {
			return nil
		}
		if err := root.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := root.Mkdir(file, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// unblockCache lets unison keep digests again, from now on.
func unblockCache(home string) error {
	return eachCache(home, func(root *os.Root, file string, entry fs.DirEntry) error {
		if !entry.IsDir() {
			return nil
		}
		return root.RemoveAll(file) // the account itself may have put something there
	})
}
