//go:build linux

package drills

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/demo"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/load"
)

// What visitors of the edge do: so many requests begin each second, by so many who are logged in, and who waits longer for an answer
// than that has failed.
const (
	visitRate     = 50
	visitSessions = 30
	visitPatience = 30 * time.Second
)

// visitors are a load of people who are logged in at the demo's application. A drill has one value of it.
type visitors struct {
	// method and path are what they ask for; for their accounts when empty.
	method, path string
	// rate is how many requests begin each second; visitRate when 0.
	rate int

	stop  context.CancelFunc
	ended chan struct{}

	mu     sync.Mutex
	began  time.Time
	failed time.Time
	report *load.Report
	err    error
}

var _ Traffic = (*visitors)(nil)

// begin lets visitors log in and ask. It returns when they are logged in. It is a drill's Traffic.
func (v *visitors) begin(ctx context.Context, f *Field) (Traffic, error) {
	// The load outlives the call, and is ended by Stop.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	begun, ended := make(chan struct{}), make(chan struct{})
	v.stop, v.ended = stop, ended
	plan := load.Plan{
		URL: lab.EdgeURL + cmp.Or(v.path, demo.AccountPath), Method: v.method, Host: edgeHost, Login: demo.LoginPath, Rate: cmp.Or(v.rate, visitRate), Sessions: visitSessions, Timeout: visitPatience,
		Dial: f.Network().OperatorNamespace().Connect,
		Began: func(at time.Time) {
			v.mu.Lock()
			v.began, v.failed = at, at
			v.mu.Unlock()
			close(begun)
		},
		Progress: func(s load.Second) {
			v.mu.Lock()
			defer v.mu.Unlock()
			if s.Failed > 0 {
				v.failed = time.Now()
			}
		},
	}
	go func() {
		defer close(ended)
		report, err := load.Run(running, plan)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.report, v.err = report, err
	}()
	select {
	case <-begun:
		return v, nil
	case <-ended:
		stop()
		return nil, v.err
	case <-ctx.Done():
		stop()
		<-ended
		return nil, ctx.Err()
	}
}

// Calm implements Traffic.
func (v *visitors) Calm() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Since(v.failed)
}

// Stop implements Traffic. Those who were logged out are lost.
func (v *visitors) Stop(_ context.Context, fault time.Time) (Seen, error) {
	v.stop()
	<-v.ended
	if v.err != nil {
		return Seen{}, v.err
	}
	v.report.Note(fault.Sub(v.began), "the fault")
	e := v.report.Events[0]
	return Seen{
		Asked: e.Requests, Failed: e.Failed, Outage: e.Recovered, Lost: v.report.Failures[loggedOut],
		Detail: fmt.Sprintf("of %d sessions %d moved, %d had a request that failed; %sslowest answer %s; answered by %s",
			v.report.Sessions, v.report.Moved, v.report.Hurt, lastOf(e), seconds(e.Slowest), nodesOf(v.report.Nodes)),
	}, nil
}

// lastOf says when the last request began that failed.
func lastOf(e load.Event) string {
	if e.Failed == 0 {
		return ""
	}
	return fmt.Sprintf("the last one that failed began %.1f s after the fault; ", max(e.Until, 0).Seconds())
}

// loggedOut is how a request fails whose sender is not logged in any more.
const loggedOut = "401"

// event is what followed the fault. Only after Stop.
func (v *visitors) event() load.Event { return v.report.Events[0] }

// nobody demands that nothing failed.
func (v *visitors) nobody() error {
	if n := v.event().Failed; n > 0 {
		return fmt.Errorf("%d requests failed: %v", n, v.report.Failures)
	}
	return nil
}

// servedAfter demands that whoever came that long after the fault, or later, was served, and that nobody was logged out.
func (v *visitors) servedAfter(limit time.Duration) error {
	var errs []error
	if until := v.event().Until; until > limit {
		errs = append(errs, fmt.Errorf("a request failed that began %s after the fault, promised are %s: %v", seconds(until), seconds(limit), v.report.Failures))
	}
	if n := v.report.Failures[loggedOut]; n > 0 {
		errs = append(errs, fmt.Errorf("%d requests were of visitors who had been logged out", n))
	}
	return errors.Join(errs...)
}

// notSlowerThan demands that nobody who came after the fault waited longer.
func (v *visitors) notSlowerThan(limit time.Duration) error {
	if slowest := v.event().Slowest; slowest > limit {
		return fmt.Errorf("a visitor waited for %s", seconds(slowest))
	}
	return nil
}

// atMost demands that no more requests failed.
func (v *visitors) atMost(limit int) error {
	if n := v.event().Failed; n > limit {
		return fmt.Errorf("%d requests failed, no more than %d may: %v", n, limit, v.report.Failures)
	}
	return nil
}

// lastAnsweredBy demands that of those who came at the end all were answered by one node.
func (v *visitors) lastAnsweredBy(node string) error {
	if last := v.report.LastNodes(visitSessions); len(last) != 1 || last[0] != node {
		return fmt.Errorf("at the end %v answered", last)
	}
	return nil
}

// lastAnsweredBySome demands that of those who came at the end nobody was answered by another node than these.
func (v *visitors) lastAnsweredBySome(nodes ...string) error {
	for _, n := range v.report.LastNodes(visitSessions) {
		if !slices.Contains(nodes, n) {
			return fmt.Errorf("at the end %s answered, which can do nothing for visitors", n)
		}
	}
	return nil
}

// leaves demands that of those who came at the end nobody was answered by a node.
func (v *visitors) leaves(node string) error {
	if last := v.report.LastNodes(visitSessions); slices.Contains(last, node) {
		return fmt.Errorf("at the end %v answered, and %s is to be left alone", last, node)
	}
	return nil
}

// answeredBySome demands that at least one of these nodes has answered.
func (v *visitors) answeredBySome(nodes ...string) error {
	for _, n := range nodes {
		if v.report.Nodes[n] > 0 {
			return nil
		}
	}
	return fmt.Errorf("none of %v has answered, but %s", nodes, nodesOf(v.report.Nodes))
}
