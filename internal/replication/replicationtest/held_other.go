//go:build linux && !amd64

package replicationtest

import "golang.org/x/sys/unix"

// replacing are the calls by which files are replaced and removed. Newer architectures have no others.
func replacing() []uint64 { return []uint64{unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT} }
