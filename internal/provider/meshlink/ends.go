package meshlink

import (
	"context"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// A dead machine takes seconds to show that it is dead, and a link has two ends.
const (
	// headStart is how long the first end has before the second is asked beside it.
	headStart = time.Second
	// afterOne is how long the other end is still tried once one has a record on its disk and passes it on.
	afterOne = 2 * time.Second
)

// look reads what one of the ends holds, the first that answers.
func (p *pair) look(ctx context.Context) (operator.Known, bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		seen operator.Known
		err  error
	}
	ends := p.ends()
	answers := make(chan answer, len(ends))
	next, open := 0, 0
	ask := func() {
		end := ends[next]
		next, open = next+1, open+1
		go func() {
			seen, err := p.op.Look(ctx, p.cluster, end.Name, end.Endpoints, end.Identity)
			answers <- answer{seen, err}
		}()
	}
	ask()
	late := time.NewTimer(headStart)
	defer late.Stop()
	for open > 0 {
		select {
		case a := <-answers:
			if open--; a.err == nil {
				return a.seen, true
			}
		case <-late.C:
		}
		if next < len(ends) {
			ask()
		}
	}
	return operator.Known{}, false
}

// tellAny pushes records to both ends at once, of which one is enough, and returns why an end did not take them. When one
// has them, the other is not waited for much longer; that it was given up then is no reason.
func (p *pair) tellAny(ctx context.Context, records []store.Record) map[string]error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var told bool
	failed := map[string]error{}
	var both sync.WaitGroup
	for _, end := range p.ends() {
		both.Go(func() {
			err := p.op.TellOnce(ctx, p.cluster, end, records)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && !told:
				told = true
				time.AfterFunc(afterOne, cancel)
			case err != nil && (!told || ctx.Err() == nil):
				failed[end.Name] = err
			}
		})
	}
	both.Wait()
	return failed
}
