package operator_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// silent returns an endpoint whose packets are dropped: nobody takes the connections in its queue, which is full.
func silent(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at, ok := name.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("the socket is at %T", name)
	}
	endpoint := (&net.TCPAddr{IP: at.Addr[:], Port: at.Port}).String()
	for {
		conn, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(t.Context(), "tcp", endpoint)
		if err != nil {
			return endpoint
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}

// TestMeetDoesNotWaitForAFirewall: who may be no node yet is not waited for as a node is that was heard of.
func TestMeetDoesNotWaitForAFirewall(t *testing.T) {
	t.Parallel()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	o := operator.New(operator.Config{SigningKey: func() (*trust.SigningKey, error) { return key, nil }})
	endpoint := silent(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	_, _, err = o.Meet(ctx, "web", []string{endpoint})
	took := time.Since(began)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("met somebody: %v", err)
	}
	// An agent that is known is waited for for five seconds.
	if took < time.Second || took > 4500*time.Millisecond {
		t.Errorf("it took %s: %v", took, err)
	}
}
