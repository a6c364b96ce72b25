package guard

import "golang.org/x/sys/unix"

// architecture is that of the calls, by which the kernel tells them from others of the same number.
const architecture = unix.AUDIT_ARCH_X86_64

// calls are those that the kernel asks for.
func calls() []uint32 {
	return []uint32{unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINK, unix.SYS_UNLINKAT}
}

// named finds out what a call is about from its number and arguments.
func named(number int32, args [6]uint64) call {
	switch number {
	case unix.SYS_RENAME:
		return call{from: pointer{atCwd, args[0]}, to: pointer{atCwd, args[1]}, kind: rename}
	case unix.SYS_UNLINK:
		return call{from: pointer{atCwd, args[0]}, kind: unlink}
	}
	return namedAt(number, args)
}
