package agent

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// giveUpSilence ends a connection on which sent data stays unacknowledged (TCP_USER_TIMEOUT, tcp(7)); by itself TCP would go on for a
// quarter of an hour, and a pair would wait as long after its other node came back.
func giveUpSilence(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(streamPatience.Milliseconds()))
	})
	return errors.Join(err, failed)
}
