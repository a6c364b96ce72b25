package appcheck_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/appcheck"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// portOf returns the port that a server listens on.
func portOf(t *testing.T, addr net.Addr) int {
	t.Helper()
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		t.Fatalf("%s is no TCP address", addr)
	}
	return tcp.Port
}

// closedPort returns a port that nobody listens on.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(t, l.Addr())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

// application answers as its paths say.
func application(t *testing.T) int {
	t.Helper()
	release := make(chan struct{})
	mux := http.NewServeMux()
	for path, code := range map[string]int{"/{$}": 200, "/moved": 302, "/teapot": 418, "/broken": 500, "/gone": 404} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/broken")
			w.WriteHeader(code)
		})
	}
	mux.HandleFunc("/host", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "www.example.com" && r.Host != "other.example" {
			w.WriteHeader(http.StatusMisdirectedRequest)
		}
	})
	mux.HandleFunc("/other-host", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "other.example" {
			w.WriteHeader(http.StatusMisdirectedRequest)
		}
	})
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { <-release })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 8<<10)); err != nil {
				return
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		close(release)
		server.Close()
	})
	return portOf(t, server.Listener.Addr())
}

func TestProbe(t *testing.T) {
	port := application(t)
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	http := func(path string) spec.ApplicationCheck {
		return spec.ApplicationCheck{Type: spec.CheckHTTP, Path: path}
	}
	status := func(path string, code int) spec.ApplicationCheck {
		c := http(path)
		c.Status = code
		return c
	}
	otherHost := http("/other-host")
	otherHost.HostHeader = "other.example"
	elsewhere := http("")
	elsewhere.Port = port
	tests := []struct {
		name  string
		port  int
		check spec.ApplicationCheck
		want  string // the reason, empty for well
	}{
		{"a page", port, http(""), ""},
		{"a redirect, which is not followed", port, http("/moved"), ""},
		{"the load balancer's host", port, http("/host"), ""},
		{"a host of its own", port, otherHost, ""},
		{"the check's own port", closedPort(t), elsewhere, ""},
		{"a page without end", port, http("/endless"), ""},
		{"an error", port, http("/broken"), "answers 500"},
		{"a page that is not there", port, http("/gone"), "answers 404"},
		{"the status that is wanted", port, status("/teapot", 418), ""},
		{"another status than wanted", port, status("", 204), "answers 200, not 204"},
		{"too slow", port, http("/slow"), "does not answer within 1s"},
		{"takes connections and says nothing", portOf(t, silent.Addr()), http(""), "does not answer within 1s"},
		{"nobody there", closedPort(t), http(""), "does not accept connections"},
		{"tcp", port, spec.ApplicationCheck{Type: spec.CheckTCP}, ""},
		{"tcp, nobody there", closedPort(t), spec.ApplicationCheck{Type: spec.CheckTCP}, "does not accept connections"},
		{"a type of a newer version", port, spec.ApplicationCheck{Type: "grpc"}, `the check's type "grpc" is unknown to this agent: update it`},
		{"a command where none can be run", port, spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/bin/true"}}, "this agent cannot run commands"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := appcheck.NewProber(appcheck.Target{Hostname: "www.example.com", Port: tt.port}, tt.check, nil)
			got := p.Probe(t.Context())
			if got.Well != (tt.want == "") || got.Reason != tt.want {
				t.Errorf("got %+v, want reason %q", got, tt.want)
			}
			if !strings.HasPrefix(got.Detail, got.Reason) {
				t.Errorf("detail %q does not begin with the reason %q", got.Detail, got.Reason)
			}
		})
	}
}

// TestProbeAddresses asks an application that listens on IPv6 alone, and one at an address of its own.
func TestProbeAddresses(t *testing.T) {
	for _, tt := range []struct {
		name, listen string
		addresses    []string
		well         bool
	}{
		{"loopback, IPv6", "[::1]:0", nil, true},
		{"an address of its own", "127.77.0.1:0", []string{"127.77.0.1"}, true},
		{"an address of its own, asked for elsewhere", "127.77.0.2:0", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", tt.listen)
			if err != nil {
				t.Skipf("THIS CASE DID NOT RUN: %v", err)
			}
			defer func() { _ = l.Close() }()
			p := appcheck.NewProber(appcheck.Target{Port: portOf(t, l.Addr()), Addresses: tt.addresses}, spec.ApplicationCheck{Type: spec.CheckTCP}, nil)
			if got := p.Probe(t.Context()); got.Well != tt.well {
				t.Errorf("got %+v, want well: %t", got, tt.well)
			}
		})
	}
}

// program is what a command does when it is run.
type program func(ctx context.Context, name string, argv, env []string) (int, string, error)

func (p program) RunApart(ctx context.Context, name string, argv, env []string) (int, string, error) {
	return p(ctx, name, argv, env)
}

func TestProbeCommand(t *testing.T) {
	noisy := "cannot open\n\tthe\x00 book\x1b[31m " + strings.Repeat("ä", 400)
	tests := []struct {
		name   string
		ends   program
		want   string
		detail string
	}{
		{"well", func(context.Context, string, []string, []string) (int, string, error) { return 0, "fine", nil }, "", ""},
		{
			"fails and says why", func(context.Context, string, []string, []string) (int, string, error) { return 3, noisy, nil },
			"the check's command ends with exit code 3", "cannot open the book[31m ä",
		},
		{
			"takes too long", func(ctx context.Context, _ string, _, _ []string) (int, string, error) {
				<-ctx.Done()
				return 0, "waiting", ctx.Err()
			},
			"the check's command does not end within 1s", "waiting",
		},
		{
			"is not there", func(context.Context, string, []string, []string) (int, string, error) {
				return 0, "", errors.New("no such file /opt/secret")
			},
			"the check's command cannot be run", "no such file /opt/secret",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check := spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/bin/check", "$HOME"}}
			var ran [][]string
			run := program(func(ctx context.Context, name string, argv, env []string) (int, string, error) {
				ran = append(ran, []string{name}, argv, env)
				return tt.ends(ctx, name, argv, env)
			})
			got := appcheck.NewProber(appcheck.Target{Hostname: "www.example.com", Port: 8080}, check, run).Probe(t.Context())
			if got.Reason != tt.want || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("got %+v, want %q with %q", got, tt.want, tt.detail)
			}
			// Strangers read the reason, and every node keeps the detail.
			if strings.Contains(got.Reason, "secret") || len(got.Detail) > 400 {
				t.Errorf("reason %q, detail of %d bytes", got.Reason, len(got.Detail))
			}
			want := [][]string{{"www.example.com"}, {"/bin/check", "$HOME"}, {"ATOLL_HOSTNAME=www.example.com", "ATOLL_PORT=8080"}}
			if diff := cmp.Diff(want, ran); diff != "" {
				t.Errorf("what ran (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWatch follows an application that goes and comes back.
func TestWatch(t *testing.T) {
	results := make(chan int)
	run := program(func(ctx context.Context, _ string, _, _ []string) (int, string, error) {
		select {
		case code := <-results:
			return code, "", nil
		case <-ctx.Done():
			return 0, "", ctx.Err()
		}
	})
	check := spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/bin/check"}, Fall: 1, Rise: 1, Timeout: 60}
	changed := make(chan struct{}, 10)
	w := appcheck.Watch(t.Context(), appcheck.NewProber(appcheck.Target{}, check, run), appcheck.State{}, func() { changed <- struct{}{} })
	if s := w.State(); s.Known {
		t.Errorf("before the first look: %+v", s)
	}
	for _, code := range []int{0, 1, 0} {
		results <- code
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatal("no change told")
		}
		if s := w.State(); !s.Known || s.Well != (code == 0) {
			t.Errorf("after exit code %d: %+v", code, s)
		}
	}
	w.Stop()
	select {
	case results <- 1:
		t.Error("it looks although it was stopped")
	default:
	}
}
