//go:build linux

package nodes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Command prepares a command that runs as root inside the node, with an environment of its own.
func (n *Node) Command(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	pid, err := n.PID()
	if err != nil {
		return nil, err
	}
	return Enter(ctx, pid, argv...), nil
}

// Enter prepares a command inside the node whose PID 1 is given.
func Enter(ctx context.Context, pid int, argv ...string) *exec.Cmd {
	args := []string{
		"--target=" + strconv.Itoa(pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd", "--",
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(args, argv...)...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM"),
	}
	return cmd
}

// initOf finds the child of systemd-nspawn that is PID 1 of a process namespace of its own; 0 when there is none.
func initOf(nspawn int) int {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	if err != nil {
		return 0
	}
	for field := range strings.FieldsSeq(string(children)) {
		status, err := os.ReadFile("/proc/" + field + "/status")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			f := strings.Fields(line)
			if len(f) > 2 && f[0] == "NSpid:" && f[len(f)-1] == "1" {
				pid, _ := strconv.Atoi(field)
				return pid
			}
		}
	}
	return 0
}
