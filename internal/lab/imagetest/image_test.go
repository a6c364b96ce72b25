//go:build linux

package imagetest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
)

// everyNode are the nodes of the stack, which are also the names of their machines.
var everyNode = []string{"hk1", "hk3", "sg1"}

// TestImage brings a cluster of the image up once and then looks at it from all sides and does to it what the world does.
func TestImage(t *testing.T) {
	s := newSite(t, "stack")
	// The order gives them the addresses of the configuration. They boot at the same time.
	if err := s.Add(t.Context(), lab.Machine{Name: "hk1", Site: "hk-colo"}); err != nil {
		t.Fatal(err)
	}
	s.addSeeded(t)
	if err := s.WaitSSH(t.Context(), "hk1"); err != nil {
		t.Fatal(err)
	}
	for _, scenario := range []struct {
		name string
		run  func(*testing.T, *site)
	}{
		{"the image is small", isSmall},
		{"a machine that has not joined shows SSH and its health alone", onlySSHAndHealth},
		{"apply brings the cluster up", applyBringsUp},
		{"a second plan is empty", planIsEmpty},
		{"the user's own cloud-config has run", userConfigRan},
		{"machines are running, each with an identity of its own", areThemselves},
		{"nobody logs in with a password", noPasswords},
		{"files cross", filesCross},
		{"a database begins, and what one node writes the others read", databaseBegins},
		{"only the expected ports are open", onlyExpectedPorts},
		{"the agent is confined", agentIsConfined},
		{"reboots and power cuts are survived", survives},
		{"destroy leaves nothing", destroyLeavesNothing},
	} {
		if !t.Run(scenario.name, func(t *testing.T) { scenario.run(t, s) }) {
			t.Fatalf("the cluster is not what the next scenario expects after %q", scenario.name)
		}
	}
}

// settling is how long nodes may take to boot and to agree. A machine without hardware help that has to wait for a processor
// misses heartbeats, and its peers say so, truly.
const settling = 10 * time.Minute

func applyBringsUp(t *testing.T, s *site) {
	s.mustRun(t, "apply", "-auto-approve")
	s.wantHealthy(t, settling, everyNode...)
}

func planIsEmpty(t *testing.T, s *site) {
	if r, err := s.run(t, "plan", "-detailed-exitcode"); err != nil {
		t.Errorf("the plan is not empty (exit code %d):\n%s", r.Code, r.Output)
	}
}

// survives has three nodes go at once: one reboots in order and one loses its power, both with the boot loader's configuration
// as the first new kernel leaves it, and one is switched off and its seed taken out. Boot loaders read no journal: the image
// sees to it that they find that configuration even when the power goes as soon as it is written. The database has no member left
// then, and comes back by itself with all that was written; so do the files of the two that lose their power at once.
func survives(t *testing.T, s *site) {
	s.exec(t, "hk1", "update-grub")
	// The ticket on the seed is used up, for whoever finds the stick.
	s.exec(t, seeded, "grep", "-aqE", `"ticket_key": ?"usedused`, "/dev/sdb")
	boots := map[string]string{}
	for _, n := range everyNode {
		boots[n] = s.exec(t, n, "cat", "/proc/sys/kernel/random/boot_id")
	}
	lasts := func() string {
		return s.exec(t, seeded, "sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub /etc/machine-id; hostname; ip -br addr show eth0")
	}
	before := lasts()
	content := s.written(t)
	s.exec(t, "sg1", "runuser", "-u", "www-data", "--", "sh", "-ec", "echo before >/srv/uploads/before; sync")
	s.exec(t, "hk1", "systemctl", "--no-block", "reboot")
	s.exec(t, "sg1", "update-grub")
	if err := s.Kill(t.Context(), "sg1"); err != nil {
		t.Fatal(err)
	}
	if err := s.PowerOn(t.Context(), "sg1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context(), seeded); err != nil {
		t.Fatal(err)
	}
	if err := s.Insert(t.Context(), seeded, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.PowerOn(t.Context(), seeded); err != nil {
		t.Fatal(err)
	}
	s.wantHealthy(t, settling, everyNode...)
	s.wantWritten(t, content)
	s.wantFile(t, "hk1", "before", "before")
	s.wantFilesCross(t)
	for n, boot := range boots {
		if s.exec(t, n, "cat", "/proc/sys/kernel/random/boot_id") == boot {
			t.Errorf("%s did not boot again", n)
		}
	}
	if after := lasts(); after != before || !strings.Contains(after, seededAddress) {
		t.Errorf("without its seed %s is\n%s\nand it was\n%s", seeded, after, before)
	}
	if line := s.exec(t, "hk1", "cat", "/proc/cmdline"); !strings.Contains(line, "=/boot/vmlinuz-") {
		t.Errorf("hk1 was not booted by what update-grub wrote: %s", line)
	}
	if line := s.exec(t, "sg1", "cat", "/proc/cmdline"); !strings.Contains(line, "root=UUID=") {
		t.Errorf("sg1 was not booted by what update-grub wrote: %s", line)
	}
}

func destroyLeavesNothing(t *testing.T, s *site) {
	s.mustRun(t, "destroy", "-auto-approve")
	if nodes := s.Nodes(); len(nodes) != 2 {
		t.Errorf("the lab has the machines %v, want those that no API made", nodes)
	}
	if images := s.images(t); len(images) != 0 {
		t.Errorf("the cloud still has the images %v", images)
	}
}
