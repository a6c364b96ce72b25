package unison_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/unison"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil { //nolint:gosec // as the repository's folders are
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it with -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func uploads() replication.Pair {
	return replication.Pair{
		Name: "uploads", Node: "hk1", Peer: "sg1", Leads: true, Path: "/srv/uploads", PeerPath: "/srv/all uploads", Owner: "www-data", Group: "www-data",
		Exclude: append(exclude.Defaults(), "cache/**", "/import"),
		Limits:  spec.PairLimits{Nice: 10, IO: spec.IOIdle, Memory: 256},
		Dial:    func(context.Context) (io.ReadWriteCloser, error) { return nil, errors.New("nobody is there") },
	}
}

func TestProfile(t *testing.T) {
	c := worker.Config{Pair: "uploads", Node: "hk1", Peer: "sg1", Path: "/srv/uploads", PeerPath: "/srv/all uploads", Exclude: uploads().Exclude}
	for name, attributes := range map[string]bool{"profile": true, "profile-2.52": false} {
		text, err := unison.Profile(c, "/run/atoll-pair-uploads/tunnel.sock", attributes, nil)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, string(text))
	}
	for _, test := range []struct {
		thorough, behind bool
		want             string
	}{
		{want: "atoll"},
		{thorough: true, want: "atoll -ignorearchives"},
		{behind: true, want: "atoll -prefer socket://{/run/tunnel.sock}//srv/all uploads"},
		{thorough: true, behind: true, want: "atoll -ignorearchives -prefer socket://{/run/tunnel.sock}//srv/all uploads"},
	} {
		if got := strings.Join(unison.Arguments(c, "/run/tunnel.sock", test.thorough, test.behind), " "); got != test.want {
			t.Errorf("arguments: %q, want %q", got, test.want)
		}
	}
	apart, err := unison.Profile(c, "/run/tunnel.sock", true, []string{"2026/03/01", "a[*\nb/2026/03/02"})
	for _, want := range []string{"ignore = Regex 2026/03/01\n", "ignore = Regex 2026/03/01/.+\n", "ignore = Regex a\\[\\*"} {
		if err != nil || !strings.Contains(string(apart), want) {
			t.Errorf("directories that one node alone has moved: %v, no %q in\n%s", err, want, apart)
		}
	}
	c.Exclude = []string{"[broken"}
	var wrong *exclude.PatternError
	if _, err := unison.Profile(c, "/run/tunnel.sock", true, nil); !errors.As(err, &wrong) {
		t.Errorf("a pattern that is none: %v", err)
	}
}

func newDriver(t *testing.T, h *hosttest.Host) *unison.Driver {
	t.Helper()
	d := unison.NewWith(h, slog.New(slog.DiscardHandler), unison.Options{
		Program: "/usr/local/bin/atolld",
		Dial:    func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrNotExist },
	})
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func apply(t *testing.T, d *unison.Driver, pairs ...replication.Pair) {
	t.Helper()
	if err := d.Apply(t.Context(), pairs); err != nil {
		t.Fatal(err)
	}
}

func TestApply(t *testing.T) {
	h := hosttest.New()
	empty := h.Text()
	d := newDriver(t, h)
	apply(t, d)
	if diff := cmp.Diff(empty, h.Text()); diff != "" {
		t.Errorf("nothing to do, and yet (-before +after):\n%s", diff)
	}
	code := uploads()
	code.Name, code.Leads, code.Path, code.PeerPath, code.Limits, code.Exclude = "code", false, "/srv/code", "/srv/code", spec.PairLimits{}, nil
	apply(t, d, uploads(), code)
	both := h.Text()
	golden(t, "apply", both)
	apply(t, newDriver(t, h), uploads(), code)
	if diff := cmp.Diff(both, h.Text()); diff != "" {
		t.Errorf("the same again (-before +after):\n%s", diff)
	}
	apply(t, d, uploads())
	if text := h.Text(); strings.Contains(text, "/srv/code") || !strings.Contains(text, "/srv/uploads") {
		t.Errorf("one of two was removed:\n%s", text)
	}
	apply(t, d)
	if diff := cmp.Diff(empty, h.Text()); diff != "" {
		t.Errorf("left (-untouched +after):\n%s", diff)
	}
}

// TestRefused has one wrong pair keep no other from being applied.
func TestRefused(t *testing.T) {
	for name, spoil := range map[string]func(*replication.Pair){
		"a folder above":      func(p *replication.Pair) { p.Name = "../../etc" },
		"the system":          func(p *replication.Pair) { p.Path = "/etc" },
		"a line too many":     func(p *replication.Pair) { p.PeerPath = "/srv/a\nforce = newer" },
		"root":                func(p *replication.Pair) { p.Owner = "root" },
		"a pattern that none": func(p *replication.Pair) { p.Exclude = []string{"[broken"} },
		"another node's name": func(p *replication.Pair) { p.Peer = "sg1\nX=1" },
		"no group":            func(p *replication.Pair) { p.Group = "" },
		"a relative path":     func(p *replication.Pair) { p.PeerPath = "srv" },
	} {
		t.Run(name, func(t *testing.T) {
			h := hosttest.New()
			d := newDriver(t, h)
			apply(t, d, uploads())
			alone := h.Text()
			bad := uploads()
			bad.Name = "bad"
			spoil(&bad)
			if err := d.Apply(t.Context(), []replication.Pair{bad, uploads()}); err == nil {
				t.Error("it is taken")
			}
			if diff := cmp.Diff(alone, h.Text()); diff != "" {
				t.Errorf("it changed something (-before +after):\n%s", diff)
			}
		})
	}
}

func TestStatusWithoutWorker(t *testing.T) {
	h := hosttest.New()
	d := newDriver(t, h)
	status := func() replication.Status {
		st, err := d.Status(t.Context(), "uploads")
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if st := status(); st.State != spec.PairStarting || !st.Started.IsZero() {
		t.Errorf("before the first Apply: %+v", st)
	}
	apply(t, d, uploads())
	h.Kill("atoll-pair-uploads.service")
	if st := status(); st.State != spec.PairFailed || !strings.Contains(st.Problem, "journalctl -u atoll-pair-uploads.service") {
		t.Errorf("after its death: %+v", st)
	}
}
