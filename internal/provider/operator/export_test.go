package operator

import (
	"context"
	"sync"
)

// Asker asks through recent, for tests.
type Asker struct {
	mu      sync.Mutex
	answers map[string]*answer[int]
}

// Ask returns a recent answer or asks.
func (a *Asker) Ask(ctx context.Context, key string, ask func() (int, error)) (int, error) {
	a.mu.Lock()
	if a.answers == nil {
		a.answers = map[string]*answer[int]{}
	}
	a.mu.Unlock()
	return recent(ctx, &a.mu, a.answers, key, ask)
}
