package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// run runs the program with arguments and returns what it printed.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// healthAt serves body as the health endpoint and returns its port.
func healthAt(t *testing.T, code int, body string) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = fmt.Fprint(w, body)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestVersion(t *testing.T) {
	out, err := run(t, "version")
	if err != nil || !strings.HasPrefix(out, "atolld ") {
		t.Errorf("got %q and %v", out, err)
	}
}

func TestVersionForABillOfMaterials(t *testing.T) {
	out, err := run(t, "version", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var facts struct {
		Wire    int
		Modules []struct{ Path, Version string }
	}
	if err := json.Unmarshal([]byte(out), &facts); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if facts.Wire != spec.WireVersion || len(facts.Modules) == 0 || facts.Modules[0].Path != "stdlib" {
		t.Errorf("got %+v", facts)
	}
}

func TestStatus(t *testing.T) {
	state := t.TempDir()
	tests := []struct {
		name, port string
		want       string
		err        error
	}{
		{"healthy", healthAt(t, http.StatusOK, `{"healthy":true,"state":"joined","parts":{"mesh":"ok"}}`), "member: of no cluster\nstate: joined\nmesh: ok\n", nil},
		{
			"waiting", healthAt(t, http.StatusServiceUnavailable, `{"healthy":false,"state":"waiting","waiting":"no data"}`),
			"member: of no cluster\nstate: waiting\nwaiting: no data\n", exitUnhealthy,
		},
		{"silent", "1", "member: of no cluster\n", api.ErrUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := run(t, "status", "--state-dir", state, "--port", tt.port)
			if out != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q and %v, want %q and %v", out, err, tt.want, tt.err)
			}
		})
	}
}

func TestPlanNeedsAMember(t *testing.T) {
	if _, err := run(t, "plan", "--state-dir", t.TempDir()); !errors.Is(err, agent.ErrNotJoined) {
		t.Errorf("got %v, want ErrNotJoined", err)
	}
}

func TestHardwareDecisionsNeedAMember(t *testing.T) {
	for _, verb := range []string{"moved", "copied"} {
		if _, err := run(t, verb, "--state-dir", t.TempDir()); !errors.Is(err, agent.ErrNotJoined) {
			t.Errorf("%s: got %v, want ErrNotJoined", verb, err)
		}
	}
}

func TestInstallRefusesToStartAnImage(t *testing.T) {
	if out, err := run(t, "install", "--root", t.TempDir(), "--start"); err == nil {
		t.Errorf("it was accepted: %q", out)
	}
	if _, err := run(t, "uninstall", "--root", t.TempDir(), "--purge"); err == nil {
		t.Error("purging an image was accepted")
	}
}
