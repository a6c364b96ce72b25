package host_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// fakeSystemctl answers "show" from files in the machine's root and notes everything else, so that the real Units can be
// tested where there is no systemd. Enabled and active are the files named so.
const fakeSystemctl = `#!/bin/sh
root=$ROOT
case "$1" in
show)
	for name; do :; done
	load=not-found; stale=no; active=inactive; enabled=disabled; pid=0; since=
	[ -e "$root/etc/systemd/system/$name" ] && load=loaded
	[ -e "$root/active" ] && active=active pid=42 since=@1700000000
	[ -e "$root/enabled" ] && enabled=enabled
	[ -e "$root/stale" ] && stale=yes
	printf 'LoadState=%s\nActiveState=%s\nUnitFileState=%s\nMainPID=%s\nActiveEnterTimestamp=%s\n' $load $active $enabled $pid "$since"
	echo NeedDaemonReload=$stale
	exit ;;
daemon-reload) rm -f "$root/stale" ;;
enable) touch "$root/enabled" ;;
disable) rm -f "$root/enabled"; [ "$2" = --now ] && rm -f "$root/active" ;;
restart) touch "$root/active" ;;
stop) rm -f "$root/active" ;;
esac
echo "$@" >>"$root/calls"
`

func TestUnits(t *testing.T) {
	root := t.TempDir()
	bin := t.TempDir()
	if _, err := host.Within(bin).WriteFile("/systemctl", []byte(fakeSystemctl), 0o755); err != nil {
		t.Fatal(err)
	}
	sys := host.Within(root, "env", "ROOT="+root, fmt.Sprintf("PATH=%s:/usr/bin:/bin", bin))
	units := sys.Units()
	calls := func() string {
		data, err := sys.ReadFile("/calls")
		if err != nil {
			return ""
		}
		if _, err := sys.Remove("/calls"); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
	unit := func(content string, enabled, running bool) host.Unit {
		return host.Unit{Name: "a.service", Content: []byte(content), Enabled: enabled, Running: running}
	}
	steps := []struct {
		name    string
		unit    host.Unit
		changed bool
		calls   string
	}{
		{"new", unit("one", true, true), true, "daemon-reload\nenable a.service\nrestart a.service"},
		{"the same", unit("one", true, true), false, ""},
		{"other content", unit("two", true, true), true, "daemon-reload\nrestart a.service"},
		{"not at boot", unit("two", false, true), true, "disable a.service"},
		{"not now", unit("two", false, false), true, "stop a.service"},
		{"still not", unit("two", false, false), false, ""},
		{"at boot and now", unit("two", true, true), true, "enable a.service\nrestart a.service"},
	}
	for _, step := range steps {
		changed, err := units.Ensure(t.Context(), step.unit)
		if err != nil || changed != step.changed {
			t.Errorf("%s: changed %t, %v; want %t", step.name, changed, err, step.changed)
		}
		if diff := cmp.Diff(step.calls, calls()); diff != "" {
			t.Errorf("%s: calls of systemctl (-want +got):\n%s", step.name, diff)
		}
	}
	// The agent died after it wrote the file.
	if _, err := sys.WriteFile("/stale", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"daemon-reload\nrestart a.service", ""} {
		if changed, err := units.Ensure(t.Context(), unit("two", true, true)); err != nil || changed != (want != "") {
			t.Errorf("stale: changed %t, %v", changed, err)
		}
		if diff := cmp.Diff(want, calls()); diff != "" {
			t.Errorf("stale: calls of systemctl (-want +got):\n%s", diff)
		}
	}
	status := func() host.UnitStatus {
		st, err := units.Status(t.Context(), "a.service")
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	want := host.UnitStatus{Exists: true, Enabled: true, Active: true, State: "active", MainPID: 42, Since: time.Unix(1700000000, 0)}
	if diff := cmp.Diff(want, status()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	for _, do := range []error{units.Reload(t.Context(), "a.service"), units.Signal(t.Context(), "a.service", "HUP"), units.Stop(t.Context(), "a.service")} {
		if do != nil {
			t.Error(do)
		}
	}
	if diff := cmp.Diff("reload a.service\nkill --kill-whom=main --signal=HUP a.service\nstop a.service", calls()); diff != "" {
		t.Errorf("calls of systemctl (-want +got):\n%s", diff)
	}
	for _, removed := range []bool{true, false} {
		if got, err := units.Remove(t.Context(), "a.service"); err != nil || got != removed {
			t.Errorf("removed %t, %v; want %t", got, err, removed)
		}
	}
	if diff := cmp.Diff("disable --now a.service\ndaemon-reload", calls()); diff != "" {
		t.Errorf("calls of systemctl (-want +got):\n%s", diff)
	}
	if err := units.Stop(t.Context(), "a.service"); err != nil || calls() != "" {
		t.Errorf("stop of a unit that is not there: %v", err)
	}
	if diff := cmp.Diff(host.UnitStatus{State: "inactive"}, status()); diff != "" {
		t.Errorf("status of a unit that is not there (-want +got):\n%s", diff)
	}
}
