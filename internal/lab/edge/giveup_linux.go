package edge

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// giveUp makes a connection fail when the other side has not acknowledged what was sent for that long, as one without
// power never will.
func giveUp(conn net.Conn, after time.Duration) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	// A connection that cannot have the option waits longer, as the kernel's own timeout is.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(after.Milliseconds()))
	})
}
