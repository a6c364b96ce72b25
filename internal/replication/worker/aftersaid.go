package worker

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// status returns how far it is, nil for a pair without such a command.
func (a *after) status() *spec.AfterStatus {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	s := &spec.AfterStatus{State: spec.AfterDone, Last: a.ended.UTC(), Took: a.took.Round(time.Millisecond).Seconds(), Problem: a.problem}
	if a.ended.IsZero() {
		s.Last = time.Time{}
	}
	left, known := a.wait(now)
	switch {
	case a.job != nil && now.Sub(a.job.began) > time.Duration(a.cfg.After.Timeout)*time.Second+afterOverdue,
		known && left == 0 && a.asking == 0 && now.Sub(a.asked) > afterOverdue:
		s.State = spec.AfterFailed
		s.Problem = cmp.Or(s.Problem, fmt.Sprintf("nobody runs it: look into the journal with journalctl -u %s", AfterUnit(a.cfg.Pair)))
	case a.failures > 0:
		s.State = spec.AfterFailed
	case a.job != nil:
		s.State = spec.AfterRunning
	case a.arrived != a.done:
		s.State = spec.AfterDue
	}
	return s
}

// warning says what an operator should know of it, "" for nothing.
func (a *after) warning() string {
	s := a.status()
	if s == nil {
		return ""
	}
	if s.State == spec.AfterFailed {
		return "the command after changes does not succeed, and is tried again: " + s.Problem
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.row >= afterSuspect {
		return fmt.Sprintf("the command after changes has run %d times, each soon after the one before: it seems to change the tree each time, on %s, too; it has to change nothing when there is nothing to do", a.row+1, a.cfg.Peer)
	}
	return ""
}

// afterMark is how far the command was at a moment.
type afterMark struct {
	arrived uint64
	runs    int
}

// mark returns how far it is, and what is left to do, "" for nothing. It waits a little until that is known.
func (a *after) mark(ctx context.Context) (m afterMark, left string) {
	if a == nil {
		return m, ""
	}
	const unsure = "changes are being looked at"
	enough := time.NewTimer(afterUnsure)
	defer enough.Stop()
	for {
		a.mu.Lock()
		news, known := a.news, a.seen && !a.writing
		m = afterMark{a.arrived, a.runs}
		switch {
		case a.failures > 0:
			left = "the command after changes has failed, and is tried again: " + a.problem
		case a.job != nil:
			left = "the command after changes runs"
		case a.arrived != a.done:
			left = "the command after changes is due"
		case !known:
			left = unsure
		default:
			left = ""
		}
		a.mu.Unlock()
		if left != unsure {
			return m, left
		}
		select {
		case <-ctx.Done():
			return m, left
		case <-enough.C:
			return m, left
		case <-news:
		}
	}
}

// since tells what is left to do, or was done, since a moment at which nothing was; "" for nothing.
func (a *after) since(ctx context.Context, before afterMark, leftBefore string) string {
	now, left := a.mark(ctx)
	switch {
	case left != "":
		return left
	case leftBefore != "" || now != before:
		return "the command after changes has run meanwhile"
	}
	return ""
}
