package linode_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// direct sends requests to a server in this process, without a network, so that time can be a bubble's.
type direct struct {
	server *emulated.Server

	mu      sync.Mutex
	answers map[int]int
	refused []string
}

// RoundTrip implements http.RoundTripper.
func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	arrived := r.Clone(r.Context())
	if arrived.Body == nil {
		arrived.Body = http.NoBody
	}
	d.server.ServeHTTP(answer, arrived)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[answer.Code]++
	if answer.Code == http.StatusTooManyRequests {
		d.refused = append(d.refused, r.Method+" "+r.URL.String())
	}
	return answer.Result(), nil
}

func newDirect(t *testing.T) (*direct, *linode.Client) {
	t.Helper()
	d := &direct{server: &emulated.Server{Token: "right", Instant: true}, answers: map[int]int{}}
	t.Cleanup(d.server.Close)
	c, err := linode.New(linode.Config{Token: "right", URL: "http://api.example", Transport: d})
	if err != nil {
		t.Fatal(err)
	}
	return d, c
}

// TestLimitsAreKept sends more of each kind of request than the vendor takes in its window, all at once, to an API that has
// the vendor's limits. None is refused, and none waits much longer than it must.
func TestLimitsAreKept(t *testing.T) {
	t.Parallel()
	const made = 45
	for _, tt := range []struct {
		name  string
		times int
		do    func(ctx context.Context, c *linode.Client, n int) error
		// least is how long the vendor's window makes the last of them wait, most what is too long.
		least, most time.Duration
	}{
		{"create", made, func(ctx context.Context, c *linode.Client, n int) error {
			in := wanted()
			in.Label = fmt.Sprintf("web-%d", n)
			_, adopted, err := c.CreateInstance(ctx, in)
			if err == nil && adopted {
				err = fmt.Errorf("instance %s was there", in.Label)
			}
			return err
		}, 30 * time.Second, 45 * time.Second},
		{"list", 401, func(ctx context.Context, c *linode.Client, _ int) error {
			_, _, err := c.FindInstance(ctx, "web-0")
			return err
		}, 2 * time.Minute, 3 * time.Minute},
		{"list images", 41, func(ctx context.Context, c *linode.Client, _ int) error {
			_, err := c.TaggedImages(ctx, "node")
			return err
		}, 2 * time.Minute, 3 * time.Minute},
		{"read", 1601, func(ctx context.Context, c *linode.Client, _ int) error {
			_, err := c.Image(ctx, "private/1")
			return err
		}, time.Minute, 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, c := newDirect(t)
				begin := time.Now()
				var work sync.WaitGroup
				errs := make([]error, tt.times)
				for n := range tt.times {
					work.Go(func() { errs[n] = tt.do(t.Context(), c, n) })
				}
				work.Wait()
				took := time.Since(begin)
				if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
					t.Errorf("number %d: %v", i, errs[i])
				}
				if len(d.refused) > 0 {
					t.Errorf("%d requests were refused, the first was %s", len(d.refused), d.refused[0])
				}
				if d.answers[http.StatusOK] < tt.times {
					t.Errorf("%d requests were answered, want %d at least", d.answers[http.StatusOK], tt.times)
				}
				if took < tt.least || took > tt.most {
					t.Errorf("took %v, want between %v and %v", took, tt.least, tt.most)
				}
			})
		})
	}
}

// TestRetryAfterIsWaitedFor has the API ask for a longer pause than the client would make by itself.
func TestRetryAfterIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, ask := range []time.Duration{time.Second, 20 * time.Second} {
		t.Run(ask.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, _ := newDirect(t)
				c, err := linode.New(linode.Config{Token: "right", URL: "http://api.example", Transport: d, Pause: time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				d.server.Inject(emulated.Fault{Method: http.MethodPost, Status: http.StatusTooManyRequests, RetryAfter: ask})
				begin := time.Now()
				if _, _, err := c.CreateInstance(t.Context(), wanted()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took < ask || took > ask+5*time.Second {
					t.Errorf("took %v, want %v", took, ask)
				}
				if d.answers[http.StatusTooManyRequests] != 1 {
					t.Errorf("got answers %v, want one 429", d.answers)
				}
			})
		})
	}
}
