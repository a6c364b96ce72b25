package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountTable is this process' view of what is mounted at the root of a tree, below and above it.
type mountTable struct {
	fd   int    // not an os.File: Go's runtime would poll it, too, and the kernel tells of a change once a descriptor
	root string // without symbolic links
	last string
}

// openMounts opens the table; poll(2) reports POLLPRI on it when anything is mounted or unmounted anywhere.
func openMounts() (*mountTable, error) {
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read what is mounted: %w", err)
	}
	return &mountTable{fd: fd}, nil
}

func (t *mountTable) close() error { return unix.Close(t.fd) }

func (t *mountTable) descriptor() int { return t.fd }

// note takes things as they are.
func (t *mountTable) note(root string) (err error) {
	t.root = root
	t.last, err = t.read()
	return err
}

// changed reports whether anything else is mounted than at the last note, and when that cannot be told.
func (t *mountTable) changed() bool {
	now, err := t.read()
	return err != nil || now != t.last
}

// below returns where in the tree, its root left out, something is mounted.
func (t *mountTable) below() []string {
	var targets []string
	for line := range strings.Lines(t.last) {
		target := unescape(strings.Fields(line)[1])
		if target != t.root && beneath(target, t.root) {
			targets = append(targets, target)
		}
	}
	return targets
}

// read returns a line for each mount that matters: its identity (unique as long as it is mounted) and where it is.
func (t *mountTable) read() (string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("read what is mounted: %w", err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime …: proc_pid_mountinfo(5)
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if target := unescape(fields[4]); beneath(target, t.root) || beneath(t.root, target) {
			b.WriteString(fields[0] + "," + fields[2] + " " + fields[4] + "\n")
		}
	}
	return b.String(), nil
}

// Mounts returns where below a directory, itself left out, anything is mounted, as paths from it, sorted. A path at which several file systems
// are mounted, one over the other, is there once.
func Mounts(root string) ([]string, error) {
	canonical, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, err
	}
	t := &mountTable{}
	if err := t.note(canonical); err != nil {
		return nil, err
	}
	below := t.below()
	for i, target := range below {
		below[i] = strings.TrimPrefix(strings.TrimPrefix(target, canonical), "/")
	}
	slices.Sort(below)
	return slices.Compact(below), nil
}

// beneath reports whether an absolute path is dir or below it.
func beneath(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(dir, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// unescape undoes the kernel's \040 for a blank, and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
