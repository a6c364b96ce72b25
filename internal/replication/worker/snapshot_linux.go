package worker

import (
	"os"

	"golang.org/x/sys/unix"
)

// sameFileSystem tells whether two paths are on one file system.
func sameFileSystem(a, b string) (bool, error) {
	var one, other unix.Stat_t
	if err := unix.Lstat(a, &one); err != nil {
		return false, &os.PathError{Op: "lstat", Path: a, Err: err}
	}
	if err := unix.Lstat(b, &other); err != nil {
		return false, &os.PathError{Op: "lstat", Path: b, Err: err}
	}
	return one.Dev == other.Dev, nil
}

// onlyOurs tells whether nobody but this process's account may write to a directory.
func onlyOurs(dir string) bool {
	var st unix.Stat_t
	return unix.Lstat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Uid == uint32(os.Geteuid()) && st.Mode&0o022 == 0
}
