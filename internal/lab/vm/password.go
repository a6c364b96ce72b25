//go:build linux

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// shadow is the file of passwords.
const shadow = "/etc/shadow"

// inodeGroup is in what debugfs says of an inode.
var inodeGroup = regexp.MustCompile(`Group: +(\d+)`)

// SetRootPassword writes a password of root's into the disk of a machine that has no partitions and has not booted yet, as
// Linode does when it makes a machine.
func (v *VM) SetRootPassword(ctx context.Context, password string) error {
	hash := exec.CommandContext(ctx, "openssl", "passwd", "-6", "-stdin")
	hash.Stdin = strings.NewReader(password + "\n")
	out, err := output(hash)
	if err != nil {
		return fmt.Errorf("set root's password: %w", err)
	}
	f := filesystem{disk: v.Disk()}
	accounts, err := f.read(ctx, shadow)
	if err != nil {
		return fmt.Errorf("set root's password: %w", err)
	}
	var said bytes.Buffer
	if err := f.debugfs(ctx, &said, "stat", shadow); err != nil {
		return fmt.Errorf("set root's password: %w", err)
	}
	group := inodeGroup.FindStringSubmatch(said.String())
	changed, ok := withPassword(accounts, bytes.TrimSpace(out))
	if !ok || group == nil {
		return errors.New("set root's password: the disk has no account root")
	}
	file := filepath.Join(v.places.dir, "shadow")
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		return fmt.Errorf("set root's password: %w", err)
	}
	defer func() { _ = os.Remove(file) }()
	write := exec.CommandContext(ctx, "debugfs", "-w", f.disk)
	write.Stdin = strings.NewReader(fmt.Sprintf("rm %[1]s\nwrite %[2]s %[1]s\nsif %[1]s mode 0100640\nsif %[1]s uid 0\nsif %[1]s gid %[3]s\n",
		shadow, file, group[1]))
	if _, err := output(write); err != nil {
		return fmt.Errorf("set root's password: %w", err)
	}
	// debugfs exits with 0 whatever happens.
	if got, err := f.read(ctx, shadow); err != nil || !bytes.Equal(got, changed) {
		return errors.Join(errors.New("set root's password: the disk did not take it"), err)
	}
	return nil
}

// withPassword replaces the second field of root's line.
func withPassword(accounts, hash []byte) (changed []byte, ok bool) {
	for line := range bytes.Lines(accounts) {
		if rest, root := bytes.CutPrefix(line, []byte("root:")); root {
			if _, after, found := bytes.Cut(rest, []byte(":")); found {
				line, ok = fmt.Appendf(nil, "root:%s:%s", hash, after), true
			}
		}
		changed = append(changed, line...)
	}
	return changed, ok
}
