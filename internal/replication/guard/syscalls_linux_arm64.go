package guard

import "golang.org/x/sys/unix"

// architecture is that of the calls, by which the kernel tells them from others of the same number.
const architecture = unix.AUDIT_ARCH_AARCH64

// calls are those that the kernel asks for.
func calls() []uint32 { return []uint32{unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT} }

// named finds out what a call is about from its number and arguments.
func named(number int32, args [6]uint64) call { return namedAt(number, args) }
