package fsmonitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
)

// Shim is what unison starts as unison-fsmonitor: it connects unison, at in and out, with whoever serves a Monitor at
// the Unix socket, until either closes. When nobody does, unison is told why.
func Shim(ctx context.Context, socket string, in io.Reader, out io.Writer) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		err = fmt.Errorf("reach who knows of changes: %w", err)
		_, writeErr := fmt.Fprintf(out, "ERROR %s\n", Quote(err.Error()))
		return errors.Join(err, writeErr)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, in)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(out, conn)
		ended <- err
	}()
	err = <-ended
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
