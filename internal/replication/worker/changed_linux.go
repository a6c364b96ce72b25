package worker

import (
	"io/fs"
	"syscall"
	"time"
)

// changed is when anything about a file last changed. Programs set the other dates.
func changed(info fs.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(stat.Ctim.Unix())
	}
	return info.ModTime()
}
