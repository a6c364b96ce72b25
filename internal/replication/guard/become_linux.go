package guard

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Become takes on an account's rights to files, and no others, for this thread alone, which whoever calls it has locked and never gives back.
func Become(uid, gid int, groups []int) error {
	if uid == os.Getuid() && gid == os.Getgid() {
		return nil
	}
	list := make([]uint32, len(groups)+1) // there is a first one
	for i, group := range groups {
		list[i] = uint32(group)
	}
	// Package unix sets those of all threads.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0); errno != 0 {
		return fmt.Errorf("set the groups of a thread: %w", errno)
	}
	// These tell of no errors (setfsuid(2)), but what it was before.
	if err := errors.Join(unix.Setfsgid(gid), unix.Setfsuid(uid)); err != nil {
		return fmt.Errorf("take on the account of a program: %w", err)
	}
	isGID, gidErr := unix.SetfsgidRetGid(-1)
	isUID, uidErr := unix.SetfsuidRetUid(-1)
	if gidErr != nil || uidErr != nil || isGID != gid || isUID != uid {
		return fmt.Errorf("take on the account of a program: it is %d:%d and not %d:%d", isUID, isGID, uid, gid)
	}
	return nil
}
