package appcheck

import (
	"context"
	"sync"
	"time"
)

// Watcher looks at one application again and again. It is safe for concurrent use.
type Watcher struct {
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	damper *Damper
}

// Watch begins to look, at once, and calls changed after each look that changed the judgement. It goes on until ctx ends or
// Stop is called. Before is the judgement that holds until the first look, its zero value for none.
func Watch(ctx context.Context, p *Prober, before State, changed func()) *Watcher {
	ctx, stop := context.WithCancel(ctx)
	w := &Watcher{stop: stop, done: make(chan struct{}), damper: NewDamper(p.check)}
	w.damper.Resume(before)
	go func() {
		defer close(w.done)
		w.run(ctx, p, changed)
	}()
	return w
}

// State returns the judgement.
func (w *Watcher) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.damper.State()
}

// Stop ends the looking and returns when the last look is over.
func (w *Watcher) Stop() {
	w.stop()
	<-w.done
}

func (w *Watcher) run(ctx context.Context, p *Prober, changed func()) {
	tick := time.NewTicker(p.Interval())
	defer tick.Stop()
	for {
		result := p.Probe(ctx)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		before := w.damper.State()
		after := w.damper.Observe(result, time.Now())
		w.mu.Unlock()
		if before != after {
			changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
