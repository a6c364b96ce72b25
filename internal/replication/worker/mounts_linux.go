package worker

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// mounts returns where below a directory anything is mounted.
func mounts(tree string) ([]string, error) { return watch.Mounts(tree) }

// freeze keeps out of a tree, as this process and what it starts see it, what is mounted or unmounted in it from now on: a program that
// reads a directory the moment that something is mounted over it would take what is beneath for deleted. That anything is mounted is still
// to be seen in the list of mounts. It works where the tree is a mount of a namespace of this process' own, as in its unit, and does nothing
// elsewhere.
func freeze(tree string) error {
	canonical, err := filepath.EvalSymlinks(tree)
	if err != nil {
		return err
	}
	list, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if !receives(list, canonical) {
		return nil
	}
	if err := unix.Mount("", canonical, "", unix.MS_PRIVATE, ""); err != nil {
		return &os.PathError{Op: "mount as private", Path: canonical, Err: err}
	}
	return nil
}

// receives tells whether the uppermost mount at a path receives what is mounted in another namespace: whether it is a slave there
// (mount_namespaces(7)).
func receives(list []byte, path string) bool {
	found := false
	lines := bufio.NewScanner(bytes.NewReader(list))
	for lines.Scan() {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:1 - ext3 …: proc_pid_mountinfo(5). Blanks in
		// names are escaped.
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 || fields[4] != escaped(path) {
			continue
		}
		optional := fields[6:]
		if end := slices.Index(optional, "-"); end >= 0 {
			optional = optional[:end]
		}
		found = slices.ContainsFunc(optional, func(field string) bool { return strings.HasPrefix(field, "master:") })
	}
	return found
}

// escaped returns a path as the kernel writes it into its list of mounts.
func escaped(path string) string {
	return strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(path)
}
