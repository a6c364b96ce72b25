package pairs

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// burst is how much of a stream goes out at once at most, in bytes.
const burst = 16 << 10

// Limit bounds how fast a stream is written to, in KiB/s; 0 is no limit. Closing the stream ends a write that waits.
func Limit(stream io.ReadWriteCloser, kib int) io.ReadWriteCloser {
	if kib == 0 {
		return stream
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &limited{ReadWriteCloser: stream, rate: rate.NewLimiter(rate.Limit(kib)*1024, burst), ctx: ctx, cancel: cancel}
}

type limited struct {
	io.ReadWriteCloser
	rate   *rate.Limiter
	ctx    context.Context
	cancel context.CancelFunc
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, burst)
		if err := l.rate.WaitN(l.ctx, n); err != nil {
			return done, io.ErrClosedPipe
		}
		n, err := l.ReadWriteCloser.Write(p[done : done+n])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Close implements io.Closer.
func (l *limited) Close() error {
	l.cancel()
	return l.ReadWriteCloser.Close()
}
