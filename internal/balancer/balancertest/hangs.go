package balancertest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
)

// hangs looks at an application that takes every connection and never answers: the driver tells it from one that answers that it is
// unwell, and what waits for it ends when the driver is told so, also what a process of the proxy holds that was replaced meanwhile. What
// may be sent twice is answered by another application then.
func hangs(t *testing.T, s *suite) {
	outside := from(s.stranger, s.hk.addr, 80)
	type outcome struct {
		answer
		err error
	}
	ask := func(method string) chan outcome {
		done := make(chan outcome, 1)
		go func() {
			a, err := outside.ask(t.Context(), method, hostname, "/")
			done <- outcome{a, err}
		}()
		return done
	}
	is := func(what string, want map[string]bool, hanging ...string) {
		t.Helper()
		machinetest.Eventually(t, 10*time.Second, what, func(ctx context.Context) bool {
			st := s.status(ctx, t)
			return cmp.Equal(st.Services[hostname], want) && slices.Equal(st.Hanging[hostname], hanging)
		})
	}

	s.hk.app.unwell.Store(true)
	is("one that says that it is unwell does not hang", map[string]bool{hk: false, sg: true})
	s.hk.app.unwell.Store(false)
	is("all are well", map[string]bool{hk: true, sg: true})

	for _, replaced := range []bool{false, true} {
		s.hk.app.mute.Store(true)
		read, write := ask(http.MethodGet), ask(http.MethodPost)
		is("the own application hangs", map[string]bool{hk: false, sg: true}, hk)
		if got := outside.get(t, hostname).body; got != sg {
			t.Errorf("the answer came from %s while the own application hangs", got)
		}
		machinetest.Eventually(t, 5*time.Second, "both requests wait", func(context.Context) bool { return s.hk.app.waiting.Load() >= 2 })
		if replaced {
			s.apply(t, s.service(hostname, 80), s.service("other.example.com", 96))
			is("the new process finds that it hangs", map[string]bool{hk: false, sg: true}, hk)
		}
		if err := s.driver.Release(t.Context(), hostname, sg); err != nil {
			t.Error(err)
		}
		select {
		case got := <-read:
			t.Fatalf("a request was ended before its time: %+v", got)
		case got := <-write:
			t.Fatalf("a request was ended before its time: %+v", got)
		default:
		}
		if err := s.driver.Release(t.Context(), hostname, hk); err != nil {
			t.Fatal(err)
		}
		// A process that is replaced may not begin anything any more, so there both fail.
		got := <-read
		if served := got.err == nil && got.status == http.StatusOK && strings.Contains(got.body, sg); !served && !replaced {
			t.Errorf("a GET that waited: %+v", got)
		}
		if got := <-write; got.err != nil || got.status < 500 {
			t.Errorf("a POST that waited, and may have been done: %+v", got)
		}
		s.hk.app.mute.Store(false)
		is("all are well", map[string]bool{hk: true, sg: true})
		s.apply(t, s.service(hostname, 80))
	}
}
