//go:build unix

package unison

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// onTheWay is how much may be on its way to a program, in bytes.
const onTheWay = 1 << 20

// socketPair returns the two ends of a connection: one to keep, and one for a program.
func socketPair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
		// What is on its way between two programs need not wait until both run. The kernel's own bound is taken where that is less.
		for _, fd := range fds {
			_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, onTheWay)
		}
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "unison"), os.NewFile(uintptr(fds[1]), "unison")
	conn, err := net.FileConn(ours)
	if err := errors.Join(err, ours.Close()); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn, theirs, nil
}
