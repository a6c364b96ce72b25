//go:build linux

package network_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// TestConnect connects, is refused, and waits for somebody who does not answer.
func TestConnect(t *testing.T) {
	i := newInternet(t, "connect")
	address := func(host string) string { return net.JoinHostPort(i.addresses[host].IPv4.String(), "8080") }
	listener, err := i.namespaces["a"].Listen(t.Context(), "tcp", address("a"))
	i.must(err)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	}()
	defer func() { _ = listener.Close() }()
	conn, err := i.EdgeNamespace().Connect(t.Context(), "tcp", address("a"))
	i.must(err)
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 5)
	if _, err := io.ReadFull(conn, buffer); err != nil || string(buffer) != "hello" {
		t.Errorf("%q, %v", buffer, err)
	}
	i.must(conn.Close())

	if _, err := i.EdgeNamespace().Connect(t.Context(), "tcp", address("b")); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v, want refused", err)
	}

	// Many may wait at once.
	i.must(i.Impair(t.Context(), network.Edge, "a", 100, true))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			_, err := i.EdgeNamespace().Connect(ctx, "tcp", address("a"))
			var timeout net.Error
			if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("error %v, want a timeout", err)
			}
		})
	}
	all.Wait()

	if _, err := i.EdgeNamespace().Connect(t.Context(), "tcp", "example.com:80"); err == nil || !strings.Contains(err.Error(), "connect from") {
		t.Errorf("error %v for a name", err)
	}
}
