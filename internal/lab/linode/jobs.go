package linode

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// job is work on one instance or image that goes on after the request which asked for it was answered.
// Each has one job at a time.
type job struct {
	about   int    // the number of an instance or image
	image   string // what the job of an instance makes, if it makes an image
	steps   []step
	failed  func(error) // under the server's lock
	failure error       // what an injected fault makes of it after the first step
	cancel  context.CancelFunc
	ended   chan struct{}
}

// step is a part of a job that can be seen from outside.
type step struct {
	work func(context.Context) error // without the lock and only with Machines; nil is no work
	done func()                      // under the lock
}

var (
	errInjected = errors.New("fault injected")
	errReplaced = errors.New("ended by another job")
)

// begin starts a job. The caller holds the lock and has checked that there is no other about the same.
func (s *Server) begin(j *job, fault *Fault) {
	if fault != nil && fault.FailJob {
		j.failure = errInjected
	}
	s.jobs[j.about] = j
	if s.Machines == nil || s.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	j.cancel, j.ended = cancel, make(chan struct{})
	s.work.Go(func() { s.run(ctx, j) })
}

// run does a job with machines behind it.
func (s *Server) run(ctx context.Context, j *job) {
	defer close(j.ended)
	defer j.cancel()
	for more := true; more; {
		var err error
		if work := j.steps[0].work; work != nil && j.failure == nil {
			err = work(ctx)
		}
		if ctx.Err() != nil {
			return // another job takes over, or a restarted server does it again
		}
		s.mu.Lock()
		current := s.jobs[j.about] == j // else it was dropped while its work was ending
		if current {
			more = s.advance(j, err)
		}
		s.mu.Unlock()
		if !current {
			return
		}
		s.changed()
	}
}

// tick lets time pass for a server without machines.
func (s *Server) tick() {
	if s.Machines != nil {
		return
	}
	s.mu.Lock()
	moved := len(s.jobs) > 0
	for _, id := range slices.Sorted(maps.Keys(s.jobs)) {
		for more := true; more; more = more && s.Instant {
			more = s.advance(s.jobs[id], nil)
		}
	}
	s.mu.Unlock()
	if moved {
		s.changed()
	}
}

// advance ends the first step of a job and says whether there are more. The caller holds the lock.
func (s *Server) advance(j *job, err error) (more bool) {
	if err != nil {
		s.Log.Error("job failed", "id", j.about, "error", err)
		j.failed(err)
		j.steps = nil
	} else {
		j.steps[0].done()
		j.steps = j.steps[1:]
		if j.failure != nil {
			j.failed(j.failure)
			j.steps = nil
		}
	}
	if len(j.steps) > 0 {
		return true
	}
	if s.jobs[j.about] == j {
		delete(s.jobs, j.about)
	}
	return false
}

// drop ends an instance's or image's job early and returns a channel that is closed once it no longer touches
// the machine; nil when there was none. The caller holds the lock.
func (s *Server) drop(id int) <-chan struct{} {
	j := s.jobs[id]
	if j == nil {
		return nil
	}
	delete(s.jobs, id)
	j.failed(errReplaced)
	if j.cancel == nil {
		return nil
	}
	j.cancel()
	return j.ended
}
