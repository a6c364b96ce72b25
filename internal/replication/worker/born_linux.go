package worker

import (
	"time"

	"golang.org/x/sys/unix"
)

// bornSince tells whether a file was made after a moment; false where its file system does not say.
func bornSince(path string, moment time.Time) bool {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return false
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)).After(moment)
}
