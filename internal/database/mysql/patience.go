package mysql

import (
	"context"
	"sync"
	"time"
)

const (
	// leastPatience bounds what a server may take to say how it is on a machine that is fast enough.
	leastPatience = 800 * time.Millisecond
	// mostPatience is what a server may take at most, on a machine that is not. Whoever looks waits for 3 s.
	mostPatience = 2400 * time.Millisecond
)

// patience is how long a look at the server may take. On a machine that has too much to do looks take long, now and then: a server that does not
// answer in time is taken for down, and whatever is being done to it is given up and begun anew, without end. So patience doubles with each
// look that was too short, and goes down slowly while looks are quick. Its zero value is ready, and it is safe for concurrent use.
type patience struct {
	mu  sync.Mutex
	now time.Duration
}

// limit returns ctx with the patience of the next look as its deadline, and how long that is.
func (p *patience) limit(ctx context.Context) (limited context.Context, cancel context.CancelFunc, within time.Duration) {
	p.mu.Lock()
	p.now = max(p.now, leastPatience)
	within = p.now
	p.mu.Unlock()
	limited, cancel = context.WithTimeout(ctx, within)
	return limited, cancel, within
}

// tooShort takes in that a look ran out of time.
func (p *patience) tooShort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = min(2*max(p.now, leastPatience), mostPatience)
}

// took takes in how long a look took that was answered.
func (p *patience) took(d time.Duration) {
	const (
		spare = 3 // a look may take so many times as long as this one did
		decay = 20
	)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = min(max(p.now-p.now/decay, spare*d, leastPatience), mostPatience)
}
