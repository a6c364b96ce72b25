package load_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/load"
)

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	return web.URL
}

func run(t *testing.T, p load.Plan) *load.Report {
	t.Helper()
	r, err := load.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRateAndNodes(t *testing.T) {
	var n atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "www.example.com" {
			t.Errorf("host %s", r.Host)
		}
		_, _ = io.WriteString(w, []string{"sg1\nmore", "jp1\nmore"}[n.Add(1)%2])
	})
	r := run(t, load.Plan{URL: url, Host: "www.example.com", Rate: 100, Duration: 500 * time.Millisecond})
	if r.Requests != 50 || r.Failed != 0 || r.Duration < 400*time.Millisecond {
		t.Errorf("%d requests, %d failed, in %v", r.Requests, r.Failed, r.Duration)
	}
	if diff := cmp.Diff(map[string]int{"sg1": 25, "jp1": 25}, r.Nodes); diff != "" {
		t.Errorf("nodes (-want +got)\n%s", diff)
	}
	if r.Half <= 0 || r.Most < r.Half || r.Slowest < r.Most {
		t.Errorf("times %v, %v, %v", r.Half, r.Most, r.Slowest)
	}
}

func TestMethod(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.FormValue("text") != "a note" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	r := run(t, load.Plan{URL: url + "/?text=a+note", Method: http.MethodPost, Rate: 100, Duration: 50 * time.Millisecond})
	if r.Requests != 5 || r.Failed != 0 {
		t.Errorf("%d requests, %d failed", r.Requests, r.Failed)
	}
	if _, err := load.Run(t.Context(), load.Plan{URL: url, Method: "NO METHOD", Rate: 1}); err == nil {
		t.Error("what is no method was taken")
	}
}

func TestFailures(t *testing.T) {
	var n atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 5 {
		case 1:
			w.WriteHeader(521)
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			<-r.Context().Done()
		case 4:
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusNotFound) // an answer as good as any
		}
	})
	r := run(t, load.Plan{URL: url, Rate: 100, Duration: 200 * time.Millisecond, Timeout: 100 * time.Millisecond})
	want := map[string]int{"521": 4, "connection closed": 4, "timeout": 4, "cut short": 4}
	if diff := cmp.Diff(want, r.Failures); diff != "" || r.Failed != 16 || r.Requests != 20 {
		t.Errorf("failures (-want +got)\n%s", diff)
	}
	if r.FirstFailure > 50*time.Millisecond || r.LastFailure < 200*time.Millisecond {
		t.Errorf("failures from %v to %v", r.FirstFailure, r.LastFailure)
	}
	r.Note(0, "nothing")
	r.Note(time.Hour, "all")
	if r.Events[0].Failed != 16 || r.Events[0].Recovered != r.LastFailure || r.Events[1].Failed != 0 {
		t.Errorf("events %+v", r.Events)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"20 requests in ", "16 failed", "521", "after all at 1h0m0s: 0 failed\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, &text)
		}
	}
}

func TestRefused(t *testing.T) {
	refuse := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: io.ErrClosedPipe}
	}
	r := run(t, load.Plan{URL: "http://192.0.2.1", Rate: 100, Duration: 50 * time.Millisecond, Dial: refuse})
	if diff := cmp.Diff(map[string]int{"dial: io: read/write on closed pipe": 5}, r.Failures); diff != "" {
		t.Errorf("failures (-want +got)\n%s", diff)
	}
}

// TestSessions: visitors keep their cookies, and whose node changes is counted.
func TestSessions(t *testing.T) {
	var visitors, requests atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("id")
		if err != nil {
			visitors.Add(1)
			cookie = &http.Cookie{Name: "id", Value: []string{"a", "b", "c", "d"}[(visitors.Load()-1)%4]}
			http.SetCookie(w, cookie)
		}
		node := "old"
		if cookie.Value == "a" && requests.Add(1) > 3 {
			node = "new"
		}
		w.Header().Set("Node", node)
		if cookie.Value == "b" && requests.Load() > 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	r := run(t, load.Plan{URL: url, Rate: 100, Duration: 400 * time.Millisecond, Sessions: 4, NodeHeader: "Node"})
	if visitors.Load() != 4 || r.Sessions != 4 || r.Moved != 1 || r.Hurt != 1 {
		t.Errorf("%d visitors came, %+v", visitors.Load(), r)
	}
}

// TestLogin: visitors log in before they ask for anything, and who is logged out has failed.
func TestLogin(t *testing.T) {
	var asked atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		switch {
		case r.Method == http.MethodPost && r.URL.Path == "/login":
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "good", Path: "/"})
		case err != nil || cookie.Value != "good" || asked.Add(1)%10 == 0:
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	var began time.Time
	r := run(t, load.Plan{
		URL: url + "/account", Login: "/login", Rate: 100, Duration: 300 * time.Millisecond, Sessions: 3, Began: func(at time.Time) { began = at },
	})
	if diff := cmp.Diff(map[string]int{"401": 3}, r.Failures); diff != "" || r.Requests != 30 || began.IsZero() {
		t.Errorf("%d requests, began %v, failures (-want +got)\n%s", r.Requests, began, diff)
	}
	r.Note(0, "the beginning")
	r.Note(150*time.Millisecond, "the middle")
	if e := r.Events; e[0].Requests != 30 || e[0].Until > e[0].Recovered || e[1].Requests >= 30 || e[1].Slowest > r.Slowest {
		t.Errorf("events %+v", e)
	}
	_, err := load.Run(t.Context(), load.Plan{URL: url, Login: "/nowhere", Rate: 1, Sessions: 1})
	if login := (*load.LoginError)(nil); !errors.As(err, &login) || login.Failure != "401" {
		t.Errorf("a login that is refused: %v", err)
	}
}

func TestProgressAndInterruption(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	ctx, cancel := context.WithCancel(t.Context())
	var seconds []load.Second
	r, err := load.Run(ctx, load.Plan{URL: url, Rate: 50, Progress: func(s load.Second) {
		seconds = append(seconds, s)
		cancel()
	}})
	if err != nil || len(seconds) == 0 || seconds[0].Good < 25 || r.Requests < seconds[0].Good || r.Failed != 0 {
		t.Errorf("seconds %+v, report %+v, error %v", seconds, r, err)
	}
}

func TestBadPlans(t *testing.T) {
	for _, p := range []load.Plan{{URL: "http://x"}, {URL: "http://x", Rate: 1, Sessions: -1}, {URL: "http://x", Rate: 1, Login: "/login"}, {URL: "://", Rate: 1}} {
		if _, err := load.Run(t.Context(), p); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}
