package provider_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
)

// applies stands between Terraform and the provider. It keeps the warnings of what is applied, which the test framework drops, and
// can have resources of one type applied one at a time, as -parallelism=1 does, in the order that is worst for whoever waits for
// another one: first what changes, then what is made.
type applies struct {
	// kind is the type of the resources that go one at a time; "" for none.
	kind string

	one      sync.Mutex
	mu       sync.Mutex
	changes  sync.WaitGroup
	warnings []string
	order    []string
}

// expectChanges says how many resources of the kind change in the next step. Those that are made wait for that.
func (a *applies) expectChanges(n int) { a.changes.Add(n) }

// says returns a check that the warnings since the last one have some words, each in one of them.
func (a *applies) says(words ...string) checkState {
	return func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		all := a.warnings
		a.warnings = nil
		for _, w := range words {
			if !slices.ContainsFunc(all, func(text string) bool { return strings.Contains(text, w) }) {
				return fmt.Errorf("no warning says %q: %q", w, all)
			}
		}
		if len(words) == 0 && len(all) > 0 {
			return fmt.Errorf("there are warnings: %q", all)
		}
		return nil
	}
}

// inOrder fails unless resources of the kind were applied in that order.
func (a *applies) inOrder(t *testing.T, want ...string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.order, want) {
		t.Errorf("applied were %v, want %v", a.order, want)
	}
	a.order = nil
}

// test is world.test with everything going through a.
func (a *applies) test(t *testing.T, w *world, steps ...resource.TestStep) {
	t.Helper()
	providers := w.providers()
	factory := providers["atoll"]
	providers["atoll"] = func() (tfprotov6.ProviderServer, error) {
		server, err := factory()
		return &appliesServer{ProviderServer: server, a: a}, err
	}
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: providers, Steps: steps})
	if left := w.instances(t); len(left) != 0 {
		t.Errorf("instances are left: %v", left)
	}
}

type appliesServer struct {
	tfprotov6.ProviderServer
	a *applies
}

// ApplyResourceChange implements tfprotov6.ResourceServer.
func (s *appliesServer) ApplyResourceChange(ctx context.Context, r *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	if r.TypeName == s.a.kind {
		done, err := s.a.turn(r)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	out, err := s.ProviderServer.ApplyResourceChange(ctx, r)
	if err == nil {
		s.a.mu.Lock()
		defer s.a.mu.Unlock()
		for _, d := range out.Diagnostics {
			if d.Severity == tfprotov6.DiagnosticSeverityWarning {
				s.a.warnings = append(s.a.warnings, d.Summary+": "+d.Detail)
			}
		}
	}
	return out, err
}

// turn waits until a resource may be applied, and returns what to call afterwards.
func (a *applies) turn(r *tfprotov6.ApplyResourceChangeRequest) (done func(), err error) {
	made, err := r.PriorState.IsNull()
	if err != nil {
		return nil, err
	}
	gone, err := r.PlannedState.IsNull()
	if err != nil {
		return nil, err
	}
	what := "change"
	switch {
	case made:
		what = "make"
		a.changes.Wait()
	case gone:
		what = "remove"
	}
	a.one.Lock()
	a.mu.Lock()
	a.order = append(a.order, what)
	a.mu.Unlock()
	return func() {
		a.one.Unlock()
		if what == "change" {
			a.changes.Done()
		}
	}, nil
}
