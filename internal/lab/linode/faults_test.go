package linode_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

const instances = "/linode/instances"

func TestFaultStatuses(t *testing.T) {
	for _, status := range []int{401, 403, 404, 409, 500, 502} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			ctx, s := t.Context(), &linode.Server{}
			api := serve(t, s)
			s.Inject(linode.Fault{Method: http.MethodPost, Path: instances, Status: status})
			_, err := api.CreateInstance(ctx, node("sg1"))
			var e *linodego.Error
			if !errors.As(err, &e) || e.Code != status {
				t.Errorf("error %v, want status %d", err, status)
			}
			if got := len(s.Instances()); got != 0 {
				t.Errorf("%d instances made by a refused request", got)
			}
			create(ctx, t, api, "sg1") // once means once
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	ctx, s := t.Context(), &linode.Server{}
	api := serve(t, s)
	s.Inject(linode.Fault{PathPrefix: instances, Status: http.StatusTooManyRequests, RetryAfter: time.Second})
	began := time.Now()
	create(ctx, t, api, "sg1")
	if waited := time.Since(began); waited < 900*time.Millisecond {
		t.Errorf("waited %v, Retry-After said 1 s", waited)
	}
	if got := len(s.Instances()); got != 1 {
		t.Errorf("%d instances", got)
	}
}

func TestRateLimit(t *testing.T) {
	ctx := t.Context()
	s := &linode.Server{Limits: linode.Limits{Create: linode.Limit{Requests: 2, Per: time.Second}, Other: linode.Limit{Requests: -1}}}
	api := serve(t, s)
	began := time.Now()
	for _, label := range []string{"one", "two", "three"} {
		create(ctx, t, api, label)
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("three creations took %v, 2 in a second are allowed", took)
	}
}

func TestRateLimitHeaders(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := &linode.Server{Now: func() time.Time { return now }}
	url := serveRaw(t, s)
	for n := range 21 {
		status, header := get(t, url+"/v4/images", token)
		want := http.StatusOK
		if n == 20 {
			want = http.StatusTooManyRequests
		}
		if status != want || header.Get("X-Ratelimit-Limit") != "20" {
			t.Fatalf("request %d: status %d, limit %q", n+1, status, header.Get("X-Ratelimit-Limit"))
		}
		if n == 20 && header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After %q, want 60", header.Get("Retry-After"))
		}
	}
	now = now.Add(time.Minute)
	if status, _ := get(t, url+"/v4/images", token); status != http.StatusOK {
		t.Errorf("a minute later: status %d", status)
	}
	if _, header := get(t, url+"/v4/regions", token); header.Get("X-Ratelimit-Remaining") != "199" {
		t.Errorf("regions have %q requests left", header.Get("X-Ratelimit-Remaining"))
	}
}

func TestLostAnswerLeavesAnInstance(t *testing.T) {
	ctx, s := t.Context(), &linode.Server{}
	api := serve(t, s)
	s.Inject(linode.Fault{Method: http.MethodPost, Path: instances, LoseAnswer: true})
	if _, err := api.CreateInstance(ctx, node("sg1")); err == nil {
		t.Fatal("no error from a cut connection")
	}
	list, err := api.ListInstances(ctx, linodego.NewListOptions(0, `{"label":"sg1"}`))
	if err != nil || len(list) != 1 {
		t.Errorf("%d instances of that label, error %v, want 1", len(list), err)
	}
}

func TestHangingConnection(t *testing.T) {
	s := &linode.Server{}
	api := serve(t, s)
	s.Inject(linode.Fault{PathPrefix: instances, Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := api.ListInstances(ctx, nil); err == nil {
		t.Error("an answer from a connection that hangs")
	}
}

func TestSlowAnswerAndSkip(t *testing.T) {
	ctx, s := t.Context(), &linode.Server{}
	api := serve(t, s)
	remove := s.Inject(linode.Fault{Method: http.MethodGet, PathPrefix: "/regions", Skip: 1, Times: -1, Delay: 30 * time.Millisecond})
	took := func() time.Duration {
		began := time.Now()
		if _, err := api.GetRegion(ctx, "ap-south"); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	took()
	if got := took(); got < 30*time.Millisecond {
		t.Errorf("second request took %v", got)
	}
	remove()
	s.Inject(linode.Fault{PathPrefix: "/regions", Status: http.StatusNotFound})
	if _, err := api.GetRegion(ctx, "ap-south"); !linodego.IsNotFound(err) {
		t.Errorf("error %v: the fault that was taken back is still used", err)
	}
}

func TestFailedJob(t *testing.T) {
	ctx, s := t.Context(), &linode.Server{}
	api := serve(t, s)
	s.Inject(linode.Fault{Method: http.MethodPost, Path: instances, FailJob: true})
	poller, err := api.NewEventPollerWithoutEntity(linodego.EntityLinode, linodego.ActionLinodeCreate)
	if err != nil {
		t.Fatal(err)
	}
	made := create(ctx, t, api, "sg1")
	poller.EntityID = made.ID
	if _, err := poller.WaitForFinished(ctx, 10); err == nil {
		t.Error("the event finished")
	}
	got, err := api.GetInstance(ctx, made.ID)
	if err != nil || got.Status != linodego.InstanceOffline {
		t.Errorf("instance %+v, error %v, want it offline", got, err)
	}
}
