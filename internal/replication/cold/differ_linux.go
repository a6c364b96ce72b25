package cold

import (
	"io/fs"
	"os"
	"syscall"
)

// version is what a file's content cannot have changed without.
type version struct {
	device, inode uint64
	size          int64
	changed       int64 // its date of change of status, in nanoseconds
}

// versionOf returns the version of a regular file that was looked at; ok is false for anything else.
func versionOf(info fs.FileInfo) (v version, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return version{}, false
	}
	return version{device: stat.Dev, inode: stat.Ino, size: stat.Size, changed: stat.Ctim.Nano()}, true
}

// differing remembers which two files were found to be different by reading them, so that versions that are kept for years are not read each time
// that somebody looks whether they may go. It is not safe for concurrent use. The zero value knows nothing.
type differing struct {
	known, next map[[2]version]struct{}
}

// begin begins a look at everything: what is not met again until end is forgotten.
func (d *differing) begin() { d.next = map[[2]version]struct{}{} }

func (d *differing) end() { d.known, d.next = d.next, nil }

// same is sameFile for paths of which a difference is remembered.
func (d *differing) same(a, b string) (bool, error) {
	pair, regular := pairOf(a, b)
	_, differ := d.known[pair]
	if regular && differ {
		d.next[pair] = struct{}{}
		return false, nil
	}
	same, err := sameFile(a, b)
	// What was written to while it was read may be anything.
	if again, still := pairOf(a, b); err == nil && !same && regular && still && again == pair {
		d.next[pair] = struct{}{}
	}
	return same, err
}

// pairOf returns the versions of two files; ok is false unless both are regular ones of the same length, of which contents have to be read.
func pairOf(a, b string) (pair [2]version, ok bool) {
	for i, path := range []string{a, b} {
		info, err := os.Lstat(path)
		if err != nil {
			return pair, false
		}
		if pair[i], ok = versionOf(info); !ok {
			return pair, false
		}
	}
	return pair, pair[0].size == pair[1].size
}
