//go:build linux

package nodes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/images"
)

// CacheVariable names the folder for what is built once and used by every lab.
const CacheVariable = "ATOLL_CACHE"

// DefaultCacheDir is where builds are kept unless CacheVariable says otherwise.
func DefaultCacheDir() string {
	if dir := os.Getenv(CacheVariable); dir != "" {
		return dir
	}
	return "/var/cache/atoll"
}

// Cache keeps built root file systems. Several processes may use one cache at once.
type Cache struct {
	Dir string // DefaultCacheDir when empty
	Log *slog.Logger
}

// Ensure returns the root file system of an image and builds it first when it is not there: about a minute and the
// size of its packages to download. It is complete or absent, never half built. progress is told what is going on.
func (c Cache) Ensure(ctx context.Context, i Image, progress func(string)) (string, error) {
	dir := c.Dir
	if dir == "" {
		dir = DefaultCacheDir()
	}
	dir = filepath.Join(dir, "rootfs")
	final := filepath.Join(dir, i.Key())
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // apt's unprivileged user downloads into it
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	lock, err := acquire(ctx, filepath.Join(dir, i.Key()+".lock"), func() {
		progress("another process builds the node root file system; waiting for it")
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	temporary := final + ".building"
	// With the lock held, this can only be the remains of a build that was killed.
	if err := os.RemoveAll(temporary); err != nil {
		return "", fmt.Errorf("remove an unfinished build: %w", err)
	}
	started := time.Now()
	progress(fmt.Sprintf("building the node root file system (Debian %s, %d packages); this is done once", i.Suite, len(i.Packages)+len(i.Unstable)))
	if err := build(ctx, i, temporary, lock, progress); err != nil {
		return "", errors.Join(fmt.Errorf("build the node root file system: %w", err), os.RemoveAll(temporary))
	}
	if err := os.Rename(temporary, final); err != nil {
		return "", errors.Join(fmt.Errorf("keep the node root file system: %w", err), os.RemoveAll(temporary))
	}
	progress(fmt.Sprintf("built the node root file system in %s", time.Since(started).Round(time.Second)))
	return final, nil
}

// acquire takes an exclusive lock on a file, calling waiting once when it cannot have it at once.
func acquire(ctx context.Context, path string, waiting func()) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for first := true; ; first = false {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-tick.C:
		}
	}
}

// preferences has apt take packages of unstable only when they are asked for, as on a disk (scripts/20-packages.sh).
const preferences = `set -eu
mkdir -p "$1/etc/apt/preferences.d"
printf 'Package: *\nPin: release n=sid\nPin-Priority: 50\n' >"$1/etc/apt/preferences.d/mysql"`

// install installs them, with what they need, in the fresh system, $1.
const install = `set -eu
APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -qq --yes -o Dpkg::Use-Pty=0 -o DPkg::Chroot-Directory="$1" \
  -o APT::Install-Recommends=false --target-release sid install $ATOLL_UNSTABLE >&2`

// provision runs the description of a node inside the fresh system, $1, as Packer does on a disk.
const provision = `set -eu
mkdir "$1/var/tmp/atoll"
cp -r "$ATOLL_DESCRIPTION/." "$1/var/tmp/atoll"
chroot "$1" env ATOLL_TARGET=container sh /var/tmp/atoll/build.sh >&2
rm -r "$1/var/tmp/atoll"`

// build runs mmdebstrap into target and makes the result fit for a node.
func build(ctx context.Context, i Image, target string, lock *os.File, progress func(string)) error {
	uri, err := mirror(ctx)
	if err != nil {
		return err
	}
	settings, err := transport(ctx)
	if err != nil {
		return err
	}
	options, err := os.CreateTemp("", "atoll-apt-*.conf")
	if err != nil {
		return fmt.Errorf("write apt's settings: %w", err)
	}
	defer func() { _ = options.Close(); _ = os.Remove(options.Name()) }()
	if _, err := options.WriteString(settings + "Acquire::Languages \"none\";\n"); err != nil {
		return fmt.Errorf("write apt's settings: %w", err)
	}
	description, err := os.MkdirTemp("", "atoll-image-*")
	if err != nil {
		return fmt.Errorf("write the description of a node: %w", err)
	}
	defer func() { _ = os.RemoveAll(description) }()
	if err := os.CopyFS(description, images.Description()); err != nil {
		return fmt.Errorf("write the description of a node: %w", err)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--variant=minbase", "--mode=root",
		"--include="+strings.Join(i.Packages, ","), "--aptopt="+options.Name(),
		"--dpkgopt="+filepath.Join(description, "rootfs/etc/dpkg/dpkg.cfg.d/atoll"))
	sources := fmt.Sprintf("deb %s %s main\n", uri, i.Suite)
	if len(i.Unstable) > 0 {
		// Unstable is signed for a week; a mirror that stands still for longer is good enough for a lab.
		sources += fmt.Sprintf("deb [check-valid-until=no] %s sid main\n", uri)
		cmd.Args = append(cmd.Args, "--setup-hook="+preferences, "--customize-hook="+install)
	}
	cmd.Args = append(cmd.Args, "--customize-hook="+provision, i.Suite, target, "-")
	cmd.Env = append(os.Environ(), "ATOLL_DESCRIPTION="+description, "ATOLL_UNSTABLE="+strings.Join(i.Unstable, " "))
	// The mirror goes in by standard input: it may carry a password, too.
	cmd.Stdin = strings.NewReader(sources)
	// The build holds the lock itself: should this process be killed, nobody starts a second build next to it.
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start mmdebstrap: %w", err)
	}
	last := relay(said, len(i.Unstable) > 0, progress)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("mmdebstrap: %w: %s", err, strings.Join(last, " | "))
	}
	return finish(target)
}

// relay reports mmdebstrap's stages and keeps its last lines for an error.
func relay(r io.Reader, unstable bool, progress func(string)) []string {
	var last []string
	installed := !unstable
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		line := scanner.Text()
		if stage, ok := strings.CutPrefix(line, "I: "); ok {
			switch {
			case strings.HasPrefix(stage, "running --setup-hook"):
				stage = "naming where packages come from..."
			case strings.HasPrefix(stage, "running --customize-hook") && !installed:
				stage = "installing what comes from unstable..."
				installed = true
			case strings.HasPrefix(stage, "running --customize-hook"):
				stage = "making it a node..."
			}
			progress("  " + stage)
			continue
		}
		if last = append(last, line); len(last) > 8 {
			last = last[1:]
		}
	}
	return last
}

// finish turns a fresh Debian tree into a node's: nothing of the build machine, nothing that only real hardware needs.
func finish(target string) error {
	root, err := os.OpenRoot(target)
	if err != nil {
		return fmt.Errorf("open the root file system: %w", err)
	}
	defer func() { _ = root.Close() }()
	keys, err := filepath.Glob(filepath.Join(target, "etc/ssh/ssh_host_*"))
	if err != nil {
		return err
	}
	remove := []string{"etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/apt/sources.list", "etc/resolv.conf"}
	for _, k := range keys {
		remove = append(remove, filepath.Join("etc/ssh", filepath.Base(k))) // each machine gets its own
	}
	for _, path := range remove {
		if err := root.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clean the root file system: %w", err)
		}
	}
	for path, text := range map[string]string{
		"etc/apt/sources.list": "# The lab's internet has no Debian mirror.\n",
		"etc/resolv.conf":      "# The lab's internet has no name servers.\n",
		// Fresh caches need no rebuilding at each machine's first boot.
		"etc/.updated": "", "var/.updated": "",
	} {
		if err := root.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	// These only work on real hardware, or touch the kernel that all nodes share.
	for _, unit := range []string{
		"systemd-modules-load.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
		"dev-hugepages.mount", "apt-daily.timer", "apt-daily-upgrade.timer",
		"e2scrub_all.timer", "fstrim.timer", "dpkg-db-backup.timer",
	} {
		if err := root.Symlink("/dev/null", filepath.Join("etc/systemd/system", unit)); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("mask %s: %w", unit, err)
		}
	}
	return nil
}
