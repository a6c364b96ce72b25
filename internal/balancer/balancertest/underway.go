package balancertest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
)

// underWay looks at requests that are under way at an application when it is found unwell, which go on, and at an application whose
// node is found dead, which end when the driver is told so, and not before.
func underWay(t *testing.T, s *suite) {
	outside := from(s.stranger, s.hk.addr, 80)
	type outcome struct {
		answer
		err error
	}
	ask := func(path string) chan outcome {
		done := make(chan outcome, 1)
		go func() {
			a, err := outside.ask(t.Context(), http.MethodGet, hostname, path)
			done <- outcome{a, err}
		}()
		return done
	}
	found := func(what string, wellHK bool) {
		t.Helper()
		machinetest.Eventually(t, 5*time.Second, what, func(ctx context.Context) bool {
			return cmp.Equal(s.status(ctx, t).Services[hostname], map[string]bool{hk: wellHK, sg: true})
		})
	}
	arrived := func(what string, n *node, want int32) {
		t.Helper()
		machinetest.Eventually(t, 5*time.Second, what, func(context.Context) bool { return n.app.waiting.Load() == want })
	}

	slow := ask("/wait")
	arrived("a request waits at the own application", s.hk, 1)
	s.hk.app.unwell.Store(true)
	found("the own application is found unwell", false)
	s.hk.app.release()
	if got := <-slow; got.err != nil || got.status != http.StatusOK || !strings.Contains(got.body, hk) {
		t.Errorf("a request that was under way when the check failed: %+v", got)
	}

	// Nothing was answered yet, so a proxy may ask another application.
	stuck := ask("/wait")
	arrived("a request waits at the other application", s.sg, 1)
	if err := s.driver.Release(t.Context(), hostname, hk); err != nil {
		t.Error(err)
	}
	if err := s.driver.Release(t.Context(), "nobody.example.com", sg); err != nil {
		t.Errorf("a hostname that it does not serve: %v", err)
	}
	select {
	case got := <-stuck:
		t.Fatalf("a request at another node was ended: %+v", got)
	default:
	}
	s.hk.app.unwell.Store(false)
	found("the own application is well again", true)
	select {
	case got := <-stuck:
		t.Fatalf("a request at another node was ended: %+v", got)
	default:
	}
	if err := s.driver.Release(t.Context(), hostname, sg); err != nil {
		t.Fatal(err)
	}
	arrived("it is gone from the node that has died", s.sg, 0)
	arrived("another application is asked", s.hk, 1)
	s.hk.app.release()
	if got := <-stuck; got.err != nil || got.status != http.StatusOK || !strings.Contains(got.body, hk) {
		t.Errorf("a request that waited for the dead node: %+v", got)
	}
	found("all are well", true)
}
