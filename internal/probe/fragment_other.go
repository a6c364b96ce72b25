//go:build !linux

package probe

import (
	"errors"
	"net"
)

// dontFragment says that nodes run Linux.
func dontFragment(*net.UDPConn, bool) error { return errors.New("only Linux is supported") }
