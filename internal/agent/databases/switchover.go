package databases

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

// switchover is a switchover that the operator has asked for.
type switchover struct {
	request api.SwitchoverRequest
	began   time.Time

	mu       sync.Mutex
	taken    bool
	from     string
	progress string
	result   *api.SwitchoverResult
	done     chan struct{}
}

// now returns how it goes.
func (s *switchover) now() api.SwitchoverResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.result != nil {
		return *s.result
	}
	return api.SwitchoverResult{From: s.from, To: s.request.To, Progress: s.progress, Took: time.Since(s.began).Milliseconds()}
}

// end records how it has ended; reason is "" when the primary has changed. The first end counts.
func (s *switchover) end(reason, message string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.result != nil {
		return
	}
	s.result = &api.SwitchoverResult{
		Done: true, From: s.from, To: s.request.To, Reason: reason, Message: message, Took: time.Since(s.began).Milliseconds(),
	}
	close(s.done)
}

// Switchover implements api.Switcher.
func (m *Manager) Switchover(ctx context.Context, name string, r api.SwitchoverRequest) (api.SwitchoverResult, error) {
	p, err := m.part(name)
	if err != nil {
		return api.SwitchoverResult{}, err
	}
	s, err := p.askFor(r)
	if err != nil {
		return api.SwitchoverResult{}, err
	}
	patience := time.NewTimer(time.Until(s.began.Add(time.Duration(r.Patience) * time.Millisecond)))
	defer patience.Stop()
	select {
	case <-s.done:
	case <-ctx.Done():
	case <-patience.C:
		if !s.isTaken() {
			s.end("busy", "the member is not online, or busy with something else: "+p.busyWith())
		}
		select {
		case <-s.done:
		case <-ctx.Done():
		}
	}
	return s.now(), nil
}

// part returns this node's member of a database.
func (m *Manager) part(name string) (*part, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.parts[name]; p != nil && p.driver != nil {
		return p, nil
	}
	return nil, &api.Error{
		StatusCode: http.StatusNotFound, Reason: api.ReasonNoSuchDatabase,
		Message: fmt.Sprintf("node %q has no voting part in a database %q", m.cfg.Node, name),
	}
}

// SwitchoverCheck implements api.Switcher. It asks the server at once, whatever the member is busy with.
func (m *Manager) SwitchoverCheck(ctx context.Context, name, to string) (api.SwitchoverCheck, error) {
	p, err := m.part(name)
	if err != nil {
		return api.SwitchoverCheck{}, err
	}
	found, err := p.driver.CheckSwitchover(ctx, to)
	return api.SwitchoverCheck{
		From: found.From, To: to, Queue: found.Queue, MostQueue: found.MostQueue, Transactions: found.Long,
		Reason: found.Reason, Message: found.Message,
	}, err
}

// askFor returns the switchover with the request's ID, a new one when there is none.
func (p *part) askFor(r api.SwitchoverRequest) (*switchover, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.switchover; s != nil {
		if s.request.ID == r.ID {
			return s, nil
		}
		if !s.now().Done {
			return nil, &api.Error{
				StatusCode: http.StatusConflict, Reason: api.ReasonSwitchover,
				Message: fmt.Sprintf("a switchover to %s is under way since %s", s.request.To, s.began.UTC().Format(time.RFC3339)),
			}
		}
	}
	s := &switchover{request: r, began: time.Now(), done: make(chan struct{}), progress: "waits for the member to be free"}
	p.switchover = s
	if p.isOver {
		s.end("busy", "the member is being removed")
	}
	select {
	case p.asked <- struct{}{}:
	default:
	}
	return s, nil
}

func (p *part) busyWith() string {
	_, message := p.condition()
	return cmpFirst(message, "it goes on")
}

func (s *switchover) isTaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// takeSwitchover returns the switchover that waits to be done, nil for none.
func (p *part) takeSwitchover() *switchover {
	p.mu.Lock()
	s := p.switchover
	p.mu.Unlock()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken || s.result != nil {
		return nil
	}
	s.taken = true
	return s
}

// switchOver does what the operator has asked for.
func (p *part) switchOver(ctx context.Context, s *switchover, st database.Status) {
	patience := time.Duration(s.request.Patience) * time.Millisecond
	s.mu.Lock()
	s.from, s.progress = st.Primary, fmt.Sprintf("%s hands over to %s", st.Primary, s.request.To)
	s.mu.Unlock()
	p.begin(ctx, act{name: "the primary moves to " + s.request.To}, patience+handPatience, func(ctx context.Context) error {
		err := p.driver.SwitchOver(ctx, s.request.To, patience)
		var refused *database.SwitchoverError
		switch {
		case err == nil:
			s.end("", "")
		case errors.As(err, &refused):
			s.end(refused.Reason, refused.Message)
		default:
			s.end("failed", err.Error())
		}
		return err
	})
}
