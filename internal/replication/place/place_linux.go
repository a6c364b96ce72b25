package place

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

const (
	// countFor is how long it is counted what a directory holds: 470,000 files take about as long.
	countFor = 3 * time.Second
	// watchesFile holds the limit of inotify(7).
	watchesFile = "/proc/sys/fs/inotify/max_user_watches"
	mountsFile  = "/proc/self/mountinfo"
)

// Look returns the facts of a directory, which need not exist. It takes some seconds at most.
func Look(ctx context.Context, directory string) (Facts, error) {
	if !path.IsAbs(directory) || path.Clean(directory) != directory {
		return Facts{}, fmt.Errorf("look at %q: it is no absolute path in its shortest form", directory)
	}
	var f Facts
	at, info, err := nearest(directory)
	if err != nil {
		return Facts{}, err
	}
	if f.Exists = at == directory; !info.IsDir() {
		f.NoDirectory = true
		at = path.Dir(at)
	}
	// Where mounts are is told by real paths; the tree may be reached by a link above it.
	if at, err = filepath.EvalSymlinks(at); err != nil {
		return Facts{}, err
	}
	mounts, err := os.Open(mountsFile)
	if err != nil {
		return Facts{}, err
	}
	defer func() { _ = mounts.Close() }()
	m, err := mountOf(mounts, at)
	if err != nil {
		return Facts{}, err
	}
	f.FileSystem, f.Mount, f.ReadOnly = m.fileSystem, m.at, m.readOnly
	if f.Hidden = m.hidden; f.Hidden {
		return f, nil
	}
	if err := f.ask(at); err != nil {
		return Facts{}, err
	}
	if f.Counted = true; f.Exists && !f.NoDirectory {
		if f.Mounts, err = watch.Mounts(at); err != nil {
			return Facts{}, err
		}
		f.count(ctx, at)
	}
	return f, nil
}

// nearest returns the directory, or the nearest one above it that is there.
func nearest(directory string) (string, fs.FileInfo, error) {
	for {
		info, err := os.Stat(directory)
		if err == nil || directory == "/" {
			return directory, info, err
		}
		// What hangs in the air is no directory, and neither is what lies below a file.
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return "", nil, err
		}
		directory = path.Dir(directory)
	}
}

// mount is a line of mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	at, fileSystem   string
	readOnly, hidden bool
}

// mountOf returns the mount that a directory is on.
func mountOf(mounts io.Reader, directory string) (mount, error) {
	var found mount
	lines := bufio.NewScanner(mounts)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, source := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(source) < 3 {
			continue
		}
		at := unescape(fields[4])
		// Of two at one place the later one is above.
		if len(at) < len(found.at) || at != "/" && at != directory && !strings.HasPrefix(directory, at+"/") {
			continue
		}
		found = mount{
			at: at, fileSystem: source[0],
			// The agent's own mounts are read-only; what counts is the file system itself.
			readOnly: hasOption(source[2], "ro"),
			// What systemd mounts where a service may not look (ProtectHome=, InaccessiblePaths=).
			hidden: strings.Contains(fields[3], "/systemd/inaccessible/"),
		}
	}
	if err := lines.Err(); err != nil {
		return mount{}, err
	}
	if found.at == "" {
		return mount{}, fmt.Errorf("%s is on no file system that %s knows", directory, mountsFile)
	}
	return found, nil
}

func hasOption(options, name string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if option == name {
			return true
		}
	}
	return false
}

// unescape takes back what the kernel does to blanks in names.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// ask asks the kernel for what a directory's file system is like.
func (f *Facts) ask(at string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(at, &s); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", at, err)
	}
	f.FreeBytes, f.FreeInodes = int64(s.Bavail)*s.Bsize, int64(s.Ffree)
	if s.Files == 0 {
		f.FreeInodes = -1
	}
	f.Attributes, f.ACLs = keeps(at, "user.atoll"), keeps(at, "system.posix_acl_access")
	_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, at, 0)
	f.Handles = err == nil
	if text, err := os.ReadFile(watchesFile); err == nil {
		f.Watches, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	}
	return nil
}

// keeps tells whether a directory's file system has attributes of that name. That this directory has none is another answer.
func keeps(at, attribute string) bool {
	_, err := unix.Getxattr(at, attribute, nil)
	return err == nil || errors.Is(err, unix.ENODATA)
}

// count counts what a directory holds, for as long as that may take.
func (f *Facts) count(ctx context.Context, root string) {
	ctx, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	device := func(info fs.FileInfo) uint64 {
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			return s.Dev
		}
		return 0
	}
	var own uint64
	err := filepath.WalkDir(root, func(p string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return nil //nolint:nilerr // it has gone since, or cannot be read
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		switch {
		case p == root:
			own = device(info)
			f.Directories++
		case !entry.IsDir():
			f.Files++
			f.Bytes += info.Size()
		case device(info) != own:
			return fs.SkipDir
		default:
			f.Directories++
		}
		return nil
	})
	f.Counted = err == nil
}
