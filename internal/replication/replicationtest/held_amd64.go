//go:build linux

package replicationtest

import "golang.org/x/sys/unix"

// replacing are the calls by which files are replaced and removed.
func replacing() []uint64 {
	return []uint64{unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINK, unix.SYS_UNLINKAT}
}
