//go:build linux

package nodes

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Requirement is a command that the lab runs on this machine and the Debian package that brings it.
type Requirement struct {
	Command string
	Package string
	Purpose string
}

// Requirements lists every command that the lab needs beyond what each Debian machine has.
func Requirements() []Requirement {
	return []Requirement{
		{"systemd-nspawn", "systemd-container", "boot nodes"},
		{"mmdebstrap", "mmdebstrap", "build the nodes' root file system"},
		{"nft", "nftables", "cut and heal paths between nodes"},
		{"ip", "iproute2", "make network namespaces"},
		{"nsenter", "util-linux", "run commands inside nodes and networks"},
		{"ssh", "openssh-client", "reach nodes as an operator does"},
	}
}

// MissingError says what this machine lacks for a lab, and how to get it.
type MissingError struct {
	Packages []string // Debian packages to install
	Others   []string // what no package brings
}

// Error names everything at once, with the remedy.
func (e *MissingError) Error() string {
	var parts []string
	if len(e.Packages) > 0 {
		parts = append(parts, "Debian packages are missing: "+strings.Join(e.Packages, ", ")+
			". Install them with: apt-get update && apt-get install -y "+strings.Join(e.Packages, " "))
	}
	return "this machine cannot run the lab: " + strings.Join(append(parts, e.Others...), "; ")
}

// Check returns a *MissingError when this machine cannot run a lab, or lacks one of the commands that are needed besides.
func Check(besides ...Requirement) error {
	missing := &MissingError{}
	for _, r := range append(Requirements(), besides...) {
		if _, err := exec.LookPath(r.Command); err != nil && !slices.Contains(missing.Packages, r.Package) {
			missing.Packages = append(missing.Packages, r.Package)
		}
	}
	if os.Geteuid() != 0 {
		missing.Others = append(missing.Others, "it needs root: run it with sudo")
	}
	if filesystems, err := os.ReadFile("/proc/filesystems"); err == nil && !strings.Contains(string(filesystems), "\toverlay\n") {
		missing.Others = append(missing.Others, "the kernel has no overlayfs: load it with modprobe overlay")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		missing.Others = append(missing.Others, "there is no /dev/net/tun: load it with modprobe tun")
	}
	if h, err := hierarchies(); err != nil {
		missing.Others = append(missing.Others, err.Error())
	} else if !slices.ContainsFunc(h, func(h hierarchy) bool { return h.unified }) {
		missing.Others = append(missing.Others, fmt.Sprintf("no cgroup2 file system is mounted below %s", cgroupRoot))
	}
	if len(missing.Packages)+len(missing.Others) > 0 {
		return missing
	}
	return nil
}
