//go:build linux

package imagetest_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// areThemselves looks at what first boot made of each machine.
func areThemselves(t *testing.T, s *site) {
	seen := map[string]string{}
	for _, n := range everyNode {
		if state := s.exec(t, n, "systemctl", "is-system-running", "--wait"); state != "running" {
			t.Errorf("%s is %s:\n%s", n, state, s.exec(t, n, "systemctl", "--failed", "--no-legend", "--no-pager"))
		}
		for what, argv := range map[string][]string{
			"machine-id":       {"cat", "/etc/machine-id"},
			"SSH host key":     {"cat", "/etc/ssh/ssh_host_ed25519_key.pub"},
			"host name":        {"hostname"},
			"random seed":      {"sha256sum", "/var/lib/systemd/random-seed"},
			"cloud-init's own": {"cat", "/var/lib/cloud/data/instance-id"},
		} {
			got := s.exec(t, n, argv...)
			if other, taken := seen[what+got]; taken || got == "" {
				t.Errorf("%s and %s have the same %s: %q", n, other, what, got)
			}
			seen[what+got] = n
		}
		if got := s.exec(t, n, "sh", "-c", `stat -Lc %i /usr/local/bin/atolld "/proc/$(systemctl show --property=MainPID --value atolld.service)/exe" | uniq | wc -l`); got != "1" {
			t.Errorf("%s runs another agent than the one that is installed", n)
		}
		if status, err := s.Exec(t.Context(), n, "cloud-init", "status", "--wait", "--long"); err != nil {
			t.Errorf("%s: cloud-init complains: %v\n%s", n, err, status)
		}
		if complaints := s.exec(t, n, "sh", "-c", "journalctl -k --no-pager -o cat | grep -E 'sr0.*(unaligned|FAILED|I/O error)' | head -3"); complaints != "" {
			t.Errorf("%s: somebody reads a drive without a disc:\n%s", n, complaints)
		}
		fs, err := strconv.ParseInt(s.exec(t, n, "findmnt", "-bnro", "SIZE", "/"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		disk, err := strconv.ParseInt(s.exec(t, n, "blockdev", "--getsize64", "/dev/sda"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if fs < disk*9/10 {
			t.Errorf("the root file system of %s has %d of the disk's %d bytes: it has not grown", n, fs, disk)
		}
	}
}

// noPasswords tries to log in without a key, and looks for accounts that have a password.
func noPasswords(t *testing.T, s *site) {
	for _, n := range everyNode {
		machine, err := s.Node(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range []string{"root", "debian", "admin"} {
			out, err := s.OperatorCommand(t.Context(), "ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
				"-o", "PubkeyAuthentication=no", "-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=0", user+"@"+machine.IPv4, "true").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "Permission denied (publickey).") {
				t.Errorf("%s offers %s more than a key: %v\n%s", n, user, err, out)
			}
		}
		accounts := s.exec(t, n, "cat", "/etc/shadow")
		for line := range strings.Lines(accounts) {
			if f := strings.Split(line, ":"); len(f) > 1 && !strings.HasPrefix(f[1], "*") && !strings.HasPrefix(f[1], "!") {
				t.Errorf("%s has an account with a password, or with none: %s", n, f[0])
			}
		}
		var people []string
		for line := range strings.Lines(s.exec(t, n, "cat", "/etc/passwd")) {
			if f := strings.Split(strings.TrimSpace(line), ":"); len(f) > 6 && strings.HasSuffix(f[6], "sh") {
				people = append(people, f[0])
			}
		}
		if !slices.Equal(people, []string{"root"}) {
			t.Errorf("these can log in on %s: %v, want root alone", n, people)
		}
	}
}

// exposure is the summary of systemd-analyze security.
var exposure = regexp.MustCompile(`Overall exposure level for atolld\.service: ([0-9.]+)`)

// mostExposed is what systemd may at most say of the agent, from 0 (confined) to 10.
const mostExposed = 3.0

func agentIsConfined(t *testing.T, s *site) {
	for _, n := range everyNode {
		out := s.exec(t, n, "systemd-analyze", "security", "--no-pager", "atolld.service")
		found := exposure.FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("%s: systemd-analyze says no level:\n%s", n, out)
		}
		level, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: exposure level %.1f", n, level)
		if level > mostExposed {
			t.Errorf("the exposure level of atolld on %s is %.1f, want at most %.1f:\n%s", n, level, mostExposed, out)
		}
	}
}
