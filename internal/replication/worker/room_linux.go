package worker

import "golang.org/x/sys/unix"

// leastBytes and leastInodes are what must be free for the account of a tree: with less than that, hardly anything new fits.
const (
	leastBytes  = 32 << 20
	leastInodes = 64
)

// full tells whether there is hardly any room left in a tree. Of one that is not there nothing is known.
func full(tree string) bool {
	var s unix.Statfs_t
	if unix.Statfs(tree, &s) != nil {
		return false
	}
	// File systems that make inodes as they go have none to count.
	return int64(s.Bavail)*s.Bsize < leastBytes || s.Files > 0 && s.Ffree < leastInodes
}
