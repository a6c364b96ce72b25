package cloudflare_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

func TestFaultStatuses(t *testing.T) {
	for _, status := range []int{401, 403, 404, 409, 429} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			s := &cloudflare.Server{}
			a := serve(t, s)
			s.Inject(cloudflare.Fault{Method: http.MethodPost, Path: pools, Status: status, Code: 10013, RetryAfter: 1500 * time.Millisecond})
			got := a.call(http.MethodPost, pools, pool("asia"))
			if got.status != status || got.Errors[0].Code != 10013 || got.header.Get("Retry-After") != "2" {
				t.Errorf("status %d, errors %+v, Retry-After %q", got.status, got.Errors, got.header.Get("Retry-After"))
			}
			if made := s.Account().Pools; len(made) != 0 {
				t.Errorf("%v made by a refused request", made)
			}
			a.do(http.MethodPost, pools, pool("asia")) // once means once
			if s.PendingFaults() != 0 {
				t.Error("a fault is pending")
			}
		})
	}
}

// TestLostAnswer: the request was carried out, so a client that tries again has to look first.
func TestLostAnswer(t *testing.T) {
	s := &cloudflare.Server{}
	a := serve(t, s)
	s.Inject(cloudflare.Fault{Method: http.MethodPost, PathSuffix: "/pools", LoseAnswer: true})
	if _, err := a.try(http.MethodPost, pools, pool("asia")); err == nil {
		t.Fatal("no error from a cut connection")
	}
	if got := a.list(pools); len(got) != 1 || got[0]["name"] != "asia" {
		t.Errorf("pools %v", got)
	}
}

func TestHangingConnection(t *testing.T) {
	s := &cloudflare.Server{}
	a := serve(t, s)
	s.Inject(cloudflare.Fault{PathPrefix: "/zones", Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/zones", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if response, err := http.DefaultClient.Do(r); err == nil {
		_ = response.Body.Close()
		t.Error("an answer from a connection that hangs")
	}
	if s.PendingFaults() != 0 {
		t.Error("the fault did not happen")
	}
}

func TestSlowAnswerSkippedAndTakenBack(t *testing.T) {
	s := &cloudflare.Server{}
	a := serve(t, s)
	remove := s.Inject(cloudflare.Fault{Skip: 1, Times: -1, Delay: 30 * time.Millisecond})
	took := func() time.Duration {
		began := time.Now()
		a.list(pools)
		return time.Since(began)
	}
	took()
	if got := took(); got < 30*time.Millisecond {
		t.Errorf("the second request took %v", got)
	}
	remove()
	s.Inject(cloudflare.Fault{Status: http.StatusNotFound})
	if got := a.call(http.MethodGet, pools, nil); got.status != http.StatusNotFound {
		t.Errorf("status %d: the fault that was taken back is still used", got.status)
	}
}

func TestChangesAreTold(t *testing.T) {
	changes := make(chan int, 10)
	s := &cloudflare.Server{}
	s.OnChange = func() { changes <- len(s.Account().Pools) }
	a := serve(t, s)
	a.do(http.MethodPost, pools, pool("asia"))
	a.list(pools)
	a.refused(http.MethodPost, pools, pool("asia"), 400, 1003, "unique")
	if got := <-changes; got != 1 {
		t.Errorf("%d pools at the change", got)
	}
	select {
	case <-changes:
		t.Error("a change without one")
	default:
	}
}
