package host_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
)

// machine returns a machine with some files and a running unit.
func machine(t *testing.T) *hosttest.Host {
	t.Helper()
	h := hosttest.New()
	for _, name := range []string{"/d/one", "/d/two", "/d/deep/three"} {
		if _, err := h.WriteFile(name, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Units().Ensure(t.Context(), host.Unit{Name: "old.service", Content: []byte("x"), Enabled: true, Running: true}); err != nil {
		t.Fatal(err)
	}
	return h
}

// change does one of everything to a machine.
func change(t *testing.T, sys host.System) {
	t.Helper()
	must := func(changed bool, err error) {
		t.Helper()
		if err != nil || !changed {
			t.Fatalf("changed %t, %v", changed, err)
		}
	}
	same := func(changed bool, err error) {
		t.Helper()
		if err != nil || changed {
			t.Fatalf("changed %t, %v", changed, err)
		}
	}
	same(sys.WriteFile("/d/one", []byte("/d/one"), 0o644))
	must(sys.WriteFile("/d/one", []byte("other"), 0o644))
	same(sys.WriteFile("/d/one", []byte("other"), 0o644))
	must(sys.Remove("/d/two"))
	same(sys.Remove("/d/two"))
	must(sys.Remove("/d/deep"))
	must(sys.WriteFile("/e/new", []byte("new"), 0o600))
	must(sys.WriteFile("/e/passing", nil, 0o600))
	must(sys.Remove("/e/passing"))
	unit := host.Unit{Name: "new.service", Content: []byte("y"), Enabled: true, Running: true}
	must(sys.Units().Ensure(t.Context(), unit))
	same(sys.Units().Ensure(t.Context(), unit))
	unit.Content = []byte("z")
	must(sys.Units().Ensure(t.Context(), unit))
	if err := sys.Units().Signal(t.Context(), "new.service", "HUP"); err != nil {
		t.Fatal(err)
	}
	if err := sys.Units().Stop(t.Context(), "new.service"); err != nil {
		t.Fatal(err)
	}
	must(sys.Units().Remove(t.Context(), "old.service"))
	same(sys.Units().Remove(t.Context(), "old.service"))
	if _, err := sys.Run(t.Context(), host.Command{Name: "ip", Args: []string{"link", "delete", "x"}}); err != nil {
		t.Fatal(err)
	}
}

func TestPlan(t *testing.T) {
	h := machine(t)
	before := h.Text()
	ran := 0
	h.Handle("look", func(host.Command) (host.Output, error) { ran++; return host.Output{Stdout: []byte("seen")}, nil })
	p := host.NewPlan(h)
	change(t, p)
	out, err := p.Run(t.Context(), host.Command{Name: "look", ReadOnly: true})
	if err != nil || string(out.Stdout) != "seen" || ran != 1 {
		t.Errorf("a command that only reads: %q, %v, ran %d times", out.Stdout, err, ran)
	}
	if diff := cmp.Diff(before, h.Text()); diff != "" {
		t.Errorf("the plan changed the machine (-before +after):\n%s", diff)
	}
	want := []string{
		"change /d/one",
		"remove /d/two",
		"remove /d/deep",
		"create /e/new",
		"create /e/passing",
		"remove /e/passing",
		"create /etc/systemd/system/new.service",
		"enable new.service",
		"start new.service",
		"change /etc/systemd/system/new.service",
		"restart new.service",
		"signal HUP new.service",
		"stop new.service",
		"stop and disable old.service",
		"remove /etc/systemd/system/old.service",
		"run ip link delete x",
	}
	if diff := cmp.Diff(want, p.Changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// The plan must read like the machine would after the same changes, or code would plan something else than it does.
func TestPlanReadsLikeTheMachine(t *testing.T) {
	done := machine(t)
	plan := host.NewPlan(machine(t))
	change(t, done)
	change(t, plan)
	for _, name := range []string{"/d/one", "/d/two", "/d/deep/three", "/e/new", "/e/passing", "/nowhere"} {
		want, wantErr := done.ReadFile(name)
		got, gotErr := plan.ReadFile(name)
		if string(want) != string(got) || errors.Is(wantErr, fs.ErrNotExist) != errors.Is(gotErr, fs.ErrNotExist) {
			t.Errorf("file %s: got %q, %v; want %q, %v", name, got, gotErr, want, wantErr)
		}
	}
	for _, name := range []string{"/", "/d", "/d/deep", "/e", "/etc/systemd/system"} {
		want, wantErr := done.ReadDir(name)
		got, gotErr := plan.ReadDir(name)
		if diff := cmp.Diff(want, got); diff != "" || errors.Is(wantErr, fs.ErrNotExist) != errors.Is(gotErr, fs.ErrNotExist) {
			t.Errorf("directory %s: errors %v and %v (-want +got):\n%s", name, wantErr, gotErr, diff)
		}
	}
	for _, name := range []string{"old.service", "new.service"} {
		want, err := done.Units().Status(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := plan.Units().Status(t.Context(), name)
		if err != nil || got.Exists != want.Exists || got.Active != want.Active || got.Enabled != want.Enabled {
			t.Errorf("unit %s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	if !host.Recording(plan) || host.Recording(done) {
		t.Error("Recording cannot tell a plan from a machine")
	}
}
