//go:build linux

package nodes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Command prepares a command that runs as root inside the node, with an environment of its own.
func (n *Node) Command(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	pid, err := n.PID()
	if err != nil {
		return nil, err
	}
	return Enter(ctx, pid, argv...), nil
}

// inside runs a command in the process namespace that its children get. nsenter must not fork it itself: it stops along
// with its child, which a shutting down systemd stops before it kills, and a stopped parent keeps the dead child, and so
// the whole node, from ending.
const inside = `"$@"
exit $?`

// Enter prepares a command inside the node whose PID 1 is given.
func Enter(ctx context.Context, pid int, argv ...string) *exec.Cmd {
	args := []string{
		"--no-fork", "--target=" + strconv.Itoa(pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd", "--",
		"sh", "-c", inside, "sh",
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
			if len(f) > 1 && f[0] == "State:" && f[1] == "Z" {
				break
			}
			if len(f) > 2 && f[0] == "NSpid:" && f[len(f)-1] == "1" {
				pid, _ := strconv.Atoi(field)
				return pid
			}
		}
	}
	return 0
}

// pidNamespace identifies the process namespace of a process; "" when it is gone.
func pidNamespace(pid int) string {
	id, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return ""
	}
	return id
}

// unstop continues stopped processes outside of the given process namespaces that have children in one, such as a command
// that somebody suspended at a terminal: until its parent takes note of a dead child, the child's namespace cannot end.
func unstop(namespaces map[string]bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		children, err := os.Readlink("/proc/" + e.Name() + "/ns/pid_for_children")
		if err != nil || !namespaces[children] {
			continue
		}
		status, err := os.ReadFile("/proc/" + e.Name() + "/status")
		if err == nil && strings.Contains(string(status), "\nState:\tT") {
			_ = unix.Kill(pid, unix.SIGCONT)
		}
	}
}
