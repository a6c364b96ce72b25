package agent_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
)

// TestMetadataGuardHolds loads the rules into a real kernel: a network namespace is the machine, another one a container on
// its bridge, a third one the metadata service.
func TestMetadataGuardHolds(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: needs root, for network namespaces")
	}
	names := map[string]string{}
	for _, who := range []string{"machine", "container", "service"} {
		names[who] = fmt.Sprintf("atoll-guard-%d-%s", os.Getpid(), who)
		command(t, "ip", "netns", "add", names[who])
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", names[who]).Run() }) //nolint:noctx // the test's context is over by then
	}
	in := func(who string, args ...string) {
		t.Helper()
		command(t, "ip", append([]string{"-n", names[who]}, args...)...)
	}
	for _, l := range []struct{ who, there, here, theirs, ours, theirs6, ours6 string }{
		{"container", "eth0", "bridge", "172.17.0.2/24", "172.17.0.1/24", "fd17::2/64", "fd17::1/64"},
		{"service", "eth0", "uplink", "169.254.169.254/24", "169.254.169.1/24", "fd00:a9fe:a9fe::1/64", "fd00:a9fe:a9fe::2/64"},
	} {
		in("machine", "link", "add", l.here, "type", "veth", "peer", "name", l.there, "netns", names[l.who])
		for who, link := range map[string]string{"machine": l.here, l.who: l.there} {
			in(who, "link", "set", link, "up")
		}
		in("machine", "address", "add", l.ours, "dev", l.here)
		in("machine", "address", "add", l.ours6, "dev", l.here, "nodad")
		in(l.who, "address", "add", l.theirs, "dev", l.there)
		in(l.who, "address", "add", l.theirs6, "dev", l.there, "nodad")
	}
	in("container", "route", "add", "default", "via", "172.17.0.1")
	in("container", "route", "add", "default", "via", "fd17::1")
	in("service", "route", "add", "172.17.0.0/24", "via", "169.254.169.1")
	in("service", "route", "add", "fd17::/64", "via", "fd00:a9fe:a9fe::2")
	within := func(who string, args ...string) []string {
		return append([]string{"netns", "exec", names[who]}, args...)
	}
	command(t, "ip", within("machine", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")...)

	const root, nobody = "0", "65534"
	reaches := func(who, user, address string) bool {
		t.Helper()
		// The service has nobody listening: whoever gets through is refused by it, by name.
		script := fmt.Sprintf("exec 3<>/dev/tcp/%s/80", address)
		args := within(who, "setpriv", "--reuid", user, "--clear-groups", "timeout", "5", "bash", "-c", script)
		out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput()
		if err == nil {
			t.Fatalf("%s: somebody listens", args)
		}
		return strings.Contains(string(out), "Connection refused")
	}
	v4, v6 := "169.254.169.254", "fd00:a9fe:a9fe::1"
	for _, address := range []string{v4, v6} {
		for _, who := range []string{"machine", "container"} {
			if !reaches(who, nobody, address) {
				t.Fatalf("without the guard %s does not reach %s, so the test says nothing", who, address)
			}
		}
	}

	h := hosttest.New()
	h.Handle("nft", func(c host.Command) (host.Output, error) {
		cmd := exec.CommandContext(t.Context(), "ip", within("machine", append([]string{"nft"}, c.Args...)...)...)
		cmd.Stdin = strings.NewReader(string(c.Stdin))
		out, err := cmd.Output()
		if err != nil {
			return host.Output{}, &host.CommandError{Command: c.String(), ExitCode: 1, Err: err}
		}
		return host.Output{Stdout: out}, nil
	})
	machine := onPlatform(t, "linode")
	for range 2 {
		if err := agent.ReconcileGuard(t.Context(), h, machine); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := h.Text(), "run nft -f -\n"; got != want {
		t.Errorf("two runs did %q, want %q: the second one must find the rules as it wants them", got, want)
	}
	for _, address := range []string{v4, v6} {
		for _, tt := range []struct {
			who, user string
			want      bool
		}{{"machine", root, true}, {"machine", nobody, false}, {"container", root, false}, {"container", nobody, false}} {
			if got := reaches(tt.who, tt.user, address); got != tt.want {
				t.Errorf("user %s of the %s reaches %s: %t, want %t", tt.user, tt.who, address, got, tt.want)
			}
		}
	}
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}
