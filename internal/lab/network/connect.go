//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Connect makes a TCP connection from inside the namespace, as Dial does, to a literal address. Only the socket is made
// there: a thread is not held while the other side does not answer, so hundreds of connections may wait at once.
func (n Namespace) Connect(ctx context.Context, network, address string) (net.Conn, error) {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("connect from %s: %w", n, err)
	}
	conn, err := n.connectTo(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("connect from %s: %w", n, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(target), Err: err})
	}
	return conn, nil
}

func (n Namespace) connectTo(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	family, sockaddr := socketAddress(target)
	socket := -1
	err := n.Do(func() error {
		var err error
		socket, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	// The socket is in the namespace for good, whoever uses it.
	if err := unix.Connect(socket, sockaddr); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, errors.Join(os.NewSyscallError("connect", err), unix.Close(socket))
	}
	file := os.NewFile(uintptr(socket), "tcp")
	defer func() { _ = file.Close() }() // the connection has its own copy
	if err := awaitConnection(ctx, file); err != nil {
		return nil, err
	}
	return net.FileConn(file)
}

// awaitConnection waits until a socket that is connecting is connected.
func awaitConnection(ctx context.Context, file *os.File) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var failure error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			failure = os.NewSyscallError("getsockopt", err)
			return true
		case code != 0:
			failure = os.NewSyscallError("connect", unix.Errno(code))
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return !errors.Is(err, unix.ENOTCONN) // otherwise it is not decided yet
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failure != nil:
		return failure
	}
	return err
}

func socketAddress(target netip.AddrPort) (family int, address unix.Sockaddr) {
	if a := target.Addr().Unmap(); a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(target.Port()), Addr: a.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(target.Port()), Addr: target.Addr().As16()}
}
