package pairs

import (
	"context"
	"io"
	"sync"

	"golang.org/x/time/rate"
)

// burst is how much of a stream goes out at once at most, in bytes.
const burst = 16 << 10

// limits are how fast pairs may send to their other nodes, whatever number of streams each has. The zero value is ready to use, and safe for
// concurrent use.
type limits struct {
	mu    sync.Mutex
	pairs map[string]*rate.Limiter
}

// set has all streams of a pair together send so many KiB/s from now on; 0 is no limit.
func (l *limits) set(pair string, kib int) *rate.Limiter {
	most := rate.Inf
	if kib > 0 {
		most = rate.Limit(kib) * 1024
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.pairs[pair]
	if limiter == nil {
		if l.pairs == nil {
			l.pairs = map[string]*rate.Limiter{}
		}
		limiter = rate.NewLimiter(most, burst)
		l.pairs[pair] = limiter
	}
	if limiter.Limit() != most {
		limiter.SetLimit(most)
	}
	return limiter
}

// Limit bounds how fast a stream of a pair is written to, together with the pair's other streams, in KiB/s; 0 is no limit, until there is one. Closing the
// stream ends a write that waits.
func (m *Manager) Limit(pair string, stream io.ReadWriteCloser, kib int) io.ReadWriteCloser {
	ctx, cancel := context.WithCancel(context.Background())
	return &limited{ReadWriteCloser: stream, rate: m.limits.set(pair, kib), ctx: ctx, cancel: cancel}
}

type limited struct {
	io.ReadWriteCloser
	rate   *rate.Limiter
	ctx    context.Context
	cancel context.CancelFunc
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if l.rate.Limit() == rate.Inf {
		return l.ReadWriteCloser.Write(p)
	}
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
