package worker

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// makeTree makes the directory at an absolute path for an account, and those above it that are not there. It follows no links: whoever owns
// a directory on the way could have root give away anything else.
func makeTree(path string, account Account) error {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at, err := unix.Open("/", flags, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/", Err: err}
	}
	made := false
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		err = unix.Mkdirat(at, name, 0o755)
		made = err == nil
		next := -1
		if err == nil || errors.Is(err, unix.EEXIST) {
			next, err = unix.Openat(at, name, flags, 0)
		}
		_ = unix.Close(at) // nothing was written through it
		if err != nil {
			return fmt.Errorf("make %s: %w", path, &os.PathError{Op: "enter", Path: name, Err: err})
		}
		at = next
	}
	defer func() { _ = unix.Close(at) }()
	if !made {
		return nil
	}
	if err := isNew(at); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := unix.Fchown(at, account.UID, account.GID); err != nil {
		return &os.PathError{Op: "chown", Path: path, Err: err}
	}
	return nil
}

// errNotNew is why a directory is given to nobody.
var errNotNew = errors.New("another directory has taken the place of the one that was just made")

// isNew tells whether a directory can be one that this process has just made: whoever may write to the one above it may have put another one there.
func isNew(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Uid != uint32(os.Geteuid()) {
		return errNotNew
	}
	entries := make([]byte, 4096)
	n, err := unix.Getdents(fd, entries)
	if err != nil {
		return err
	}
	if _, _, names := unix.ParseDirent(entries[:n], -1, nil); len(names) > 0 { // without "." and ".."
		return errNotNew
	}
	return nil
}
