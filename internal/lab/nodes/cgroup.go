//go:build linux

package nodes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where every Debian mounts its control groups: one tree (cgroup2) or one per controller (v1).
const cgroupRoot = "/sys/fs/cgroup"

// labSlice is the folder of all labs in each hierarchy.
const labSlice = "atoll-lab"

// hierarchy is one mounted tree of control groups.
type hierarchy struct {
	path    string
	unified bool
	options []string // mount options, which name a v1 tree's controllers
}

// hierarchies lists the trees that matter to a node: cgroup2, and those v1 trees that measure or contain it.
func hierarchies() ([]hierarchy, error) {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return nil, fmt.Errorf("list control groups: %w", err)
	}
	return parseHierarchies(string(mounts)), nil
}

func parseHierarchies(mounts string) []hierarchy {
	var list []hierarchy
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[1], cgroupRoot) {
			continue
		}
		options := strings.Split(f[3], ",")
		wanted := slices.ContainsFunc(options, func(o string) bool {
			return slices.Contains([]string{"name=systemd", "memory", "freezer", "cpuacct", "pids"}, o)
		})
		if f[2] == "cgroup2" || f[2] == "cgroup" && wanted {
			list = append(list, hierarchy{path: f[1], unified: f[2] == "cgroup2", options: options})
		}
	}
	return list
}

// Cgroup is a node's control group, or a lab's above its nodes': the same path in every mounted hierarchy.
type Cgroup struct{ relative string }

// LabCgroup is the parent of all control groups of a lab.
func LabCgroup(lab string) Cgroup { return Cgroup{filepath.Join(labSlice, lab)} }

// Node is the control group of one node of the lab.
func (c Cgroup) Node(name string) Cgroup { return Cgroup{filepath.Join(c.relative, name)} }

// start enters its control groups before it becomes the command that follows, so that nothing of a node is ever outside
// them.
const start = `for group in "$@"; do
	[ "$group" = -- ] && break
	echo $$ > "$group/cgroup.procs" || exit 1
	shift
done
shift
exec "$@"`

// Enclose makes the control group and returns a command line that enters it and then becomes argv.
func (c Cgroup) Enclose(argv ...string) ([]string, error) {
	groups, err := c.create()
	if err != nil {
		return nil, err
	}
	return slices.Concat([]string{"sh", "-c", start, "sh"}, groups, []string{"--"}, argv), nil
}

// create makes the control group and returns its folder in every hierarchy.
func (c Cgroup) create() ([]string, error) {
	list, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, h := range list {
		dir := filepath.Join(h.path, c.relative)
		if err := MakeShared(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make control group: %w", err)
		}
		if h.unified {
			delegate(h.path, c.relative)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// delegate turns measuring on along the path. Where v1 trees measure, cgroup2 has no controllers and this does nothing.
func delegate(root, relative string) {
	dir := root
	for part := range strings.SplitSeq(filepath.Dir(relative), "/") {
		for _, controller := range []string{"+memory", "+cpu", "+pids"} {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(controller), 0o600)
		}
		dir = filepath.Join(dir, part)
	}
	for _, controller := range []string{"+memory", "+cpu", "+pids"} {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(controller), 0o600)
	}
}

// unified returns the folder in the cgroup2 tree.
func (c Cgroup) unified() (string, error) {
	list, err := hierarchies()
	if err != nil {
		return "", err
	}
	for _, h := range list {
		if h.unified {
			return filepath.Join(h.path, c.relative), nil
		}
	}
	return "", fmt.Errorf("no cgroup2 file system is mounted below %s", cgroupRoot)
}

// payload is where systemd-nspawn puts the processes of the node, next to a place for itself.
func (c Cgroup) payload() (string, error) {
	dir, err := c.unified()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "payload"), nil
}

// Freeze stops every process of the node, or lets them continue, and returns when that is so.
func (c Cgroup) Freeze(ctx context.Context, frozen bool) error {
	dir, err := c.payload()
	if err != nil {
		return err
	}
	want := "0"
	if frozen {
		want = "1"
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte(want), 0o600); err != nil {
		return fmt.Errorf("freeze control group: %w", err)
	}
	return poll(ctx, 10*time.Millisecond, func() (bool, error) {
		events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		return strings.Contains(string(events), "frozen "+want+"\n"), err
	})
}

// Frozen says whether the node's processes stand still.
func (c Cgroup) Frozen() bool {
	dir, err := c.payload()
	if err != nil {
		return false
	}
	events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	return err == nil && strings.Contains(string(events), "frozen 1\n")
}

// Usage is what a node consumes.
type Usage struct {
	MemoryBytes uint64        `json:"memory_bytes"` // resident, without the page cache
	CPU         time.Duration `json:"cpu"`          // since the node was switched on
}

// Usage measures the control group. Values that this machine's hierarchies do not measure are zero.
func (c Cgroup) Usage() (Usage, error) {
	list, err := hierarchies()
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	for _, h := range list {
		dir := filepath.Join(h.path, c.relative)
		switch {
		case h.unified:
			u.MemoryBytes += readField(filepath.Join(dir, "memory.stat"), "anon")
			if u.CPU == 0 {
				u.CPU = time.Duration(readField(filepath.Join(dir, "cpu.stat"), "usage_usec")) * time.Microsecond
			}
		case slices.Contains(h.options, "memory"):
			u.MemoryBytes += readField(filepath.Join(dir, "memory.stat"), "total_rss")
		case slices.Contains(h.options, "cpuacct"):
			u.CPU = time.Duration(readField(filepath.Join(dir, "cpuacct.usage"), ""))
		}
	}
	return u, nil
}

// readField reads one number out of a control group's file; 0 when it is not there.
func readField(path, name string) uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) == 0 || name != "" && f[0] != name {
			continue
		}
		value, err := strconv.ParseUint(f[len(f)-1], 10, 64)
		if err == nil {
			return value
		}
	}
	return 0
}

// Destroy kills every process in the control group and below, and removes it. The inner processes go first, so that
// systemd-nspawn can tidy up after itself.
func (c Cgroup) Destroy(ctx context.Context) error {
	list, err := hierarchies()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	namespaces := map[string]bool{}
	c.kill(list, namespaces, true)
	patience, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	_ = poll(patience, 20*time.Millisecond, func() (bool, error) {
		unstop(namespaces)
		return len(c.processes(list)) == 0, nil
	})
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		c.kill(list, namespaces, false)
		unstop(namespaces)
		var errs []error
		for _, h := range list {
			errs = append(errs, removeTree(filepath.Join(h.path, c.relative)))
		}
		err := errors.Join(errs...)
		if errors.Is(err, unix.EBUSY) {
			return false, nil
		}
		return err == nil, err
	})
}

// kill ends the processes of the group and notes their process namespaces; innerOnly spares systemd-nspawn itself.
func (c Cgroup) kill(list []hierarchy, namespaces map[string]bool, innerOnly bool) {
	mine := pidNamespace(os.Getpid())
	for pid, where := range c.processes(list) {
		if space := pidNamespace(pid); space != "" && space != mine {
			namespaces[space] = true
		}
		if innerOnly && !strings.Contains(where, "/payload/") {
			continue
		}
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// processes lists the processes in the group and below, each with its folder in the cgroup2 tree when it has one there.
func (c Cgroup) processes(list []hierarchy) map[int]string {
	found := map[int]string{}
	for _, h := range list {
		_ = filepath.WalkDir(filepath.Join(h.path, c.relative), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "cgroup.procs" {
				return nil //nolint:nilerr // a group that vanishes while we walk has no processes left
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return nil //nolint:nilerr // the same
			}
			for field := range strings.FieldsSeq(string(data)) {
				pid, err := strconv.Atoi(field)
				if err == nil && pid > 1 && (h.unified || found[pid] == "") {
					found[pid] = path
				}
			}
			return nil
		})
	}
	return found
}

// removeTree removes a folder of control groups, deepest first; one that is not there is fine.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Reverse(dirs)
	for _, d := range dirs {
		if err := unix.Rmdir(d); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove control group %s: %w", d, err)
		}
	}
	return nil
}

// RemoveEmptySlice removes the folder of all labs when no lab is left in it.
func RemoveEmptySlice() error {
	list, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range list {
		err := unix.Rmdir(filepath.Join(h.path, labSlice))
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("remove control group: %w", err)
		}
	}
	return nil
}

// poll asks until the answer is yes, an error, or the context ends.
func poll(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
