//go:build linux

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
)

// grubConfig is where Debian's GRUB, and a cloud that brings its own, look for what to boot.
const grubConfig = "/boot/grub/grub.cfg"

// maxLinks bounds how many symbolic links lead to a file.
const maxLinks = 8

// filesystem reads files out of an ext file system on an unpartitioned disk without mounting it, as a boot loader does: a
// journal that waits to be replayed changes nothing.
type filesystem struct{ disk string }

// bootEntry is the first entry of a GRUB configuration.
type bootEntry struct {
	kernel    string
	initrds   []string
	arguments string
}

// grubRoot is the device that may precede a path, such as ($root).
var grubRoot = regexp.MustCompile(`^\([^)]*\)`)

// parseGrub reads the first entry's kernel, command line and initial RAM disks. It knows no variables besides the device in
// front of a path: Debian's entries, written by update-grub or by hand, have none.
func parseGrub(text string) (bootEntry, error) {
	var e bootEntry
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "linux", "linux16", "linuxefi":
			if e.kernel != "" {
				return e, nil // the next entry
			}
			e.kernel, e.arguments = grubRoot.ReplaceAllString(f[1], ""), strings.Join(f[2:], " ")
		case "initrd", "initrd16", "initrdefi":
			if e.kernel != "" && e.initrds == nil {
				for _, p := range f[1:] {
					e.initrds = append(e.initrds, grubRoot.ReplaceAllString(p, ""))
				}
			}
		}
	}
	if e.kernel == "" {
		return e, fmt.Errorf("%s names no kernel", grubConfig)
	}
	return e, nil
}

// load takes what the disk's first boot entry starts out of it.
func (f filesystem) load(ctx context.Context, to places) (*kernel, error) {
	text, err := f.read(ctx, grubConfig)
	if err != nil {
		return nil, err
	}
	entry, err := parseGrub(string(text))
	if err != nil {
		return nil, err
	}
	k := &kernel{image: to.kernel(), arguments: entry.arguments}
	if err := f.extract(ctx, k.image, entry.kernel); err != nil {
		return nil, err
	}
	if len(entry.initrds) == 0 {
		return k, nil
	}
	k.initrd = to.initrd()
	return k, f.extract(ctx, k.initrd, entry.initrds...)
}

// extract copies files out of the file system, one after another into the same file.
func (f filesystem) extract(ctx context.Context, target string, paths ...string) error {
	out, err := os.OpenFile(target, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("take %s out of the disk: %w", paths[0], err)
	}
	for _, p := range paths {
		if err := f.copy(ctx, out, p); err != nil {
			return errors.Join(err, out.Close())
		}
	}
	return out.Close()
}

func (f filesystem) read(ctx context.Context, name string) ([]byte, error) {
	var b bytes.Buffer
	err := f.copy(ctx, &b, name)
	return b.Bytes(), err
}

// copy writes a file's content, following symbolic links.
func (f filesystem) copy(ctx context.Context, to io.Writer, name string) error {
	target, err := f.resolve(ctx, name)
	if err != nil {
		return err
	}
	return f.debugfs(ctx, to, "cat", target)
}

// linkTarget and the type of file are in what debugfs says of an inode.
var (
	linkTarget = regexp.MustCompile(`(?m)^Fast link dest: "(.*)"$`)
	inodeType  = regexp.MustCompile(`Type: (\w+)`)
)

// resolve follows symbolic links to a file.
func (f filesystem) resolve(ctx context.Context, name string) (string, error) {
	at := name
	for range maxLinks {
		var said bytes.Buffer
		if err := f.debugfs(ctx, &said, "stat", at); err != nil {
			return "", err
		}
		kind := inodeType.FindStringSubmatch(said.String())
		if kind == nil {
			return "", fmt.Errorf("read %s on %s: debugfs does not say what it is", at, f.disk)
		}
		if kind[1] == "regular" {
			return at, nil
		}
		link := linkTarget.FindStringSubmatch(said.String())
		if kind[1] != "symlink" || link == nil {
			return "", fmt.Errorf("read %s on %s: it is no file but a %s", at, f.disk, kind[1])
		}
		if path.IsAbs(link[1]) {
			at = path.Clean(link[1])
		} else {
			at = path.Join(path.Dir(at), link[1])
		}
	}
	return "", fmt.Errorf("read %s on %s: more than %d symbolic links lead to it", name, f.disk, maxLinks)
}

// catastrophic is what debugfs always says in the mode of that name.
const catastrophic = "catastrophic mode - not reading inode or group bitmaps"

// debugfs runs one request. It exits with 0 whatever happens: what it says apart from its version and mode is the error. It
// must not read bitmaps (-c): after a power cut they do not fit their checksums until the journal is replayed.
func (f filesystem) debugfs(ctx context.Context, out io.Writer, request, name string) error {
	if strings.ContainsAny(name, "\"\n") {
		return fmt.Errorf("read %q on %s: debugfs cannot be asked for such a name", name, f.disk)
	}
	cmd := exec.CommandContext(ctx, "debugfs", "-c", "-R", request+` "`+name+`"`, f.disk)
	var complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &complaint
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PAGER=cat", "DEBUGFS_PAGER=cat")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("read %s on %s: %w: %s", name, f.disk, err, strings.TrimSpace(complaint.String()))
	}
	for line := range strings.Lines(complaint.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "debugfs 1.") && !strings.HasSuffix(line, catastrophic) {
			return fmt.Errorf("read %s on %s: %s", name, f.disk, line)
		}
	}
	return nil
}
