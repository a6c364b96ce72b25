package provider_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
)

// warnings are what providers have warned of, which plugin-testing shows nowhere.
type warnings struct {
	mu   sync.Mutex
	list []string
}

// take returns the warnings since the last call, each once: "at: summary: detail".
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.list
	w.list = nil
	return out
}

// check demands that since the last call there was a warning that says all of words, or none.
func (w *warnings) check(want bool, words ...string) error {
	all := w.take()
	got := slices.ContainsFunc(all, func(one string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(one, word) })
	})
	if got != want {
		return fmt.Errorf("a warning that says %q: %v, want %v; all warnings: %q", words, got, want, all)
	}
	return nil
}

// expect is check as a state check.
func (w *warnings) expect(want bool, words ...string) statecheck.StateCheck {
	return checkState(func() error { return w.check(want, words...) })
}

func (w *warnings) note(all []*tfprotov6.Diagnostic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range all {
		if d.Severity != tfprotov6.DiagnosticSeverityWarning {
			continue
		}
		text := fmt.Sprintf("%v: %s: %s", d.Attribute, d.Summary, d.Detail)
		if len(w.list) == 0 || w.list[len(w.list)-1] != text {
			w.list = append(w.list, text)
		}
	}
}

// watched returns a maker of provider servers whose warnings are noted.
func (w *warnings) watched(server func() (tfprotov6.ProviderServer, error)) func() (tfprotov6.ProviderServer, error) {
	return func() (tfprotov6.ProviderServer, error) {
		made, err := server()
		return &watchedServer{made, w}, err
	}
}

type watchedServer struct {
	tfprotov6.ProviderServer
	warnings *warnings
}

// PlanResourceChange implements tfprotov6.ResourceServer.
func (s *watchedServer) PlanResourceChange(ctx context.Context, r *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	resp, err := s.ProviderServer.PlanResourceChange(ctx, r)
	if resp != nil {
		s.warnings.note(resp.Diagnostics)
	}
	return resp, err
}

// ApplyResourceChange implements tfprotov6.ResourceServer.
func (s *watchedServer) ApplyResourceChange(ctx context.Context, r *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	resp, err := s.ProviderServer.ApplyResourceChange(ctx, r)
	if resp != nil {
		s.warnings.note(resp.Diagnostics)
	}
	return resp, err
}
