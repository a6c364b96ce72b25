package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

var errRefused = errors.New("refused")

// service answers with one status after the other, the last one for ever, and counts the requests.
type service struct {
	url   string
	asked atomic.Int64
}

func newService(t *testing.T, statuses ...int) *service {
	t.Helper()
	s := &service{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := int(s.asked.Add(1))
		status := statuses[min(n, len(statuses))-1]
		if status == 0 { // hangs
			<-r.Context().Done()
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func client(change func(*rest.Transport)) *http.Client {
	window := rest.NewWindow(100, time.Second)
	t := &rest.Transport{
		Window: func(*http.Request) *rest.Window { return window }, Try: time.Second, Pause: time.Millisecond, Tries: 3,
		Judge: func(_ *http.Request, resp *http.Response, _ []byte, err error) rest.Verdict {
			if err == nil && resp.StatusCode == http.StatusOK {
				return rest.Verdict{}
			}
			return rest.Verdict{Err: errRefused, Again: true}
		},
	}
	if change != nil {
		change(t)
	}
	return &http.Client{Transport: t}
}

// send posts "hello" and returns the answer and what the transport made of it.
func send(ctx context.Context, c *http.Client, url string) (string, error) {
	watched, last := rest.Watch(ctx)
	r, err := http.NewRequestWithContext(watched, http.MethodPost, url, strings.NewReader("hello"))
	if err != nil {
		return "", err
	}
	resp, err := c.Do(r)
	if err != nil {
		return "", last()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	return string(body), last()
}

func TestTries(t *testing.T) {
	t.Parallel()
	const busy = http.StatusServiceUnavailable
	passing := func(tr *rest.Transport) {
		judge := tr.Judge
		tr.Judge = func(r *http.Request, resp *http.Response, body []byte, err error) rest.Verdict {
			v := judge(r, resp, body, err)
			v.Passing = true
			return v
		}
	}
	tests := []struct {
		name     string
		statuses []int
		change   func(*rest.Transport)
		asked    int64
		want     error
	}{
		{"at once", []int{200}, nil, 1, nil},
		{"second try", []int{busy, 200}, nil, 2, nil},
		{"a try that hangs", []int{0, 200}, func(tr *rest.Transport) { tr.Try = 500 * time.Millisecond }, 2, nil},
		{"too often", []int{busy}, nil, 3, errRefused},
		{"not again", []int{busy}, func(tr *rest.Transport) {
			tr.Judge = func(*http.Request, *http.Response, []byte, error) rest.Verdict { return rest.Verdict{Err: errRefused} }
		}, 1, errRefused},
		{"passing", []int{busy, busy, busy, busy, busy, 200}, passing, 6, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, tt.statuses...)
			body, err := send(t.Context(), client(tt.change), s.url)
			if !errors.Is(err, tt.want) || s.asked.Load() != tt.asked {
				t.Errorf("got error %v after %d requests, want %v after %d", err, s.asked.Load(), tt.want, tt.asked)
			}
			if body != "hello" {
				t.Errorf("the service got %q", body)
			}
		})
	}
}

// TestWaitBeyondDeadline does not wait for what cannot come in time, neither in this request nor in the next.
func TestWaitBeyondDeadline(t *testing.T) {
	t.Parallel()
	s := newService(t, http.StatusTooManyRequests)
	var waited atomic.Bool
	c := client(func(tr *rest.Transport) {
		tr.Judge = func(_ *http.Request, _ *http.Response, _ []byte, err error) rest.Verdict {
			var wait *rest.WaitError
			if errors.As(err, &wait) {
				waited.Store(true)
				return rest.Verdict{Err: err}
			}
			return rest.Verdict{Err: errRefused, Again: true, After: time.Hour, Everything: true}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	if _, err := send(ctx, c, s.url); !errors.Is(err, errRefused) {
		t.Errorf("got error %v, want what the service said", err)
	}
	if _, err := send(ctx, c, s.url); !errors.Is(err, context.DeadlineExceeded) || !waited.Load() {
		t.Errorf("got error %v, want that there is no time", err)
	}
	if s.asked.Load() != 1 {
		t.Errorf("the service was asked %d times", s.asked.Load())
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %s to find out that there is no time", took)
	}
}
