package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
)

// copier copies trees. No path is resolved by name from a root: each directory is opened in the one above, without following links, since the tree
// belongs to an account that is not this program's.
type copier struct {
	ctx     context.Context //nolint:containedctx // it lives as long as one call
	exclude *exclude.Set
	// links are where files with several names are in the copy, by what they are in the source.
	links map[inode]link
	// plain tells that files cannot be cloned here.
	plain bool
	done  digest.Totals
	// said is called after each file.
	said func(digest.Totals)
}

type inode struct{ dev, ino uint64 }

// link is a name in a directory of the copy that is open as long as the copier works.
type link struct {
	dir  *os.File
	name string
}

func newCopier(ctx context.Context, leaveOut *exclude.Set, said func(digest.Totals)) *copier {
	return &copier{ctx: ctx, exclude: leaveOut, links: map[inode]link{}, said: said}
}

// close gives back what the copier holds.
func (c *copier) close() {
	for _, l := range c.links {
		_ = l.dir.Close()
	}
}

// openIn opens a directory in another one.
func openIn(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "enter", Path: name, Err: err}
	}
	return fd, nil
}

// openBelow opens a directory below another one, "" for that one itself.
func openBelow(root int, below string) (int, error) {
	fd, err := openIn(root, ".")
	if err != nil || below == "" {
		return fd, err
	}
	for name := range strings.SplitSeq(below, "/") {
		next, err := openIn(fd, name)
		_ = unix.Close(fd) // nothing was written through it
		if err != nil {
			return -1, fmt.Errorf("%q: %w", below, err)
		}
		fd = next
	}
	return fd, nil
}

// names returns what is in a directory.
func names(fd int) ([]string, error) {
	again, err := openIn(fd, ".") // with a position of its own
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(again), ".")
	defer func() { _ = dir.Close() }()
	return dir.Readdirnames(-1)
}

// directory copies everything in a directory, whose path in the tree is at, into another one.
func (c *copier) directory(from, to int, at string) error {
	all, err := names(from)
	if err != nil {
		return fmt.Errorf("copy %q: %w", at, err)
	}
	for _, name := range all {
		below := path.Join(at, name)
		if c.exclude.Match(below) {
			continue
		}
		if err := c.entry(from, name, to, name, below); err != nil && !errors.Is(err, unix.ENOENT) { // gone since
			return err
		}
	}
	return nil
}

// entry copies one name of a directory, with everything below it, whose path in the tree is at.
func (c *copier) entry(from int, name string, to int, as, at string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: at, Err: err}
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = c.file(from, name, to, as)
	case unix.S_IFDIR:
		if err = c.folder(from, name, to, as, at); err == nil {
			c.done.Directories++
		}
		if err != nil {
			return err // it says where
		}
	case unix.S_IFLNK:
		err = symlink(from, name, to, as, &st)
	default:
		return nil // sockets, FIFOs and devices are their node's own
	}
	if err != nil {
		return &os.PathError{Op: "copy", Path: at, Err: err}
	}
	if c.said != nil {
		c.said(c.done)
	}
	return nil
}

func (c *copier) folder(from int, name string, to int, as, at string) error {
	source, err := openIn(from, name)
	if err != nil {
		return err
	}
	defer unix.Close(source) //nolint:errcheck // nothing was written
	if err := unix.Mkdirat(to, as, 0o700); err != nil {
		return &os.PathError{Op: "make", Path: at, Err: err}
	}
	target, err := openIn(to, as)
	if err != nil {
		return err
	}
	defer unix.Close(target) //nolint:errcheck // directories have nothing to flush
	if err := c.directory(source, target, at); err != nil {
		return err
	}
	if err := metadata(source, target, true); err != nil {
		return &os.PathError{Op: "copy", Path: at, Err: err}
	}
	return nil
}

func symlink(from int, name string, to int, as string, st *unix.Stat_t) error {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(from, name, target)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(target[:n]), to, as); err != nil {
		return err
	}
	if err := unix.Fchownat(to, as, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return unix.UtimesNanoAt(to, as, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// file copies a file.
func (c *copier) file(from int, name string, to int, as string) error {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	source, err := unix.Openat(from, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(source) //nolint:errcheck // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.ENOENT // another thing took its place: the digest tells
	}
	c.done.Files++
	id := inode{st.Dev, st.Ino}
	if l, known := c.links[id]; known {
		if err := unix.Linkat(int(l.dir.Fd()), l.name, to, as, 0); !errors.Is(err, unix.EMLINK) {
			return err
		}
	}
	target, err := unix.Openat(to, as, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(c.content(source, target, st.Size), metadata(source, target, false))
	if err := errors.Join(err, unix.Close(target)); err != nil {
		return err
	}
	c.done.Bytes += st.Size
	if st.Nlink > 1 {
		return c.remember(id, to, as)
	}
	return nil
}

// remember keeps where a file is that has more names.
func (c *copier) remember(id inode, dir int, name string) error {
	if _, known := c.links[id]; known || len(c.links) >= mostLinks {
		return nil
	}
	fd, err := openIn(dir, ".")
	if err != nil {
		return err
	}
	c.links[id] = link{os.NewFile(uintptr(fd), name), name}
	return nil
}

// mostLinks is how many files with several names are remembered, each with an open directory: those beyond become files of their own.
const mostLinks = 10_000

// content fills a new file with what is in another one.
func (c *copier) content(source, target int, size int64) error {
	if !c.plain {
		err := unix.IoctlFileClone(target, source)
		if err == nil {
			return nil
		}
		if !noClone(err) {
			return err
		}
		c.plain = true
	}
	buffer := make([]byte, 256<<10)
	for offset := int64(0); offset < size; {
		data, err := unix.Seek(source, offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // the rest is a hole
		}
		end := size
		switch {
		case errors.Is(err, unix.EINVAL): // this file system does not tell
			data = offset
		case err != nil:
			return err
		default:
			if end, err = unix.Seek(source, data, unix.SEEK_HOLE); err != nil {
				return err
			}
		}
		if offset, err = c.copyRange(source, target, data, end, buffer); err != nil {
			return err
		}
		if offset < end {
			break // it became shorter: the digest tells
		}
	}
	return unix.Ftruncate(target, size)
}

func (c *copier) copyRange(source, target int, at, end int64, buffer []byte) (int64, error) {
	for at < end {
		if err := c.ctx.Err(); err != nil {
			return at, err
		}
		n, err := unix.Pread(source, buffer[:min(int64(len(buffer)), end-at)], at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return at, err
		}
		for piece := buffer[:n]; len(piece) > 0; {
			wrote, err := unix.Pwrite(target, piece, at)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return at, err
			}
			wrote = max(wrote, 0)
			at, piece = at+int64(wrote), piece[wrote:]
		}
	}
	return at, nil
}

// noClone tells whether an error says that files cannot be cloned here.
func noClone(err error) bool {
	for _, no := range []error{unix.EOPNOTSUPP, unix.EXDEV, unix.EINVAL, unix.ENOTTY, unix.ENOSYS, unix.EPERM, unix.ETXTBSY} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// metadata gives a file or directory the owner, mode, attributes and times of another one.
func metadata(source, target int, directory bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	if err := unix.Fchown(target, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	// After the owner, whose change takes set-user-ID away.
	if err := unix.Fchmod(target, st.Mode&0o7777); err != nil {
		return err
	}
	if err := attributes(source, target, directory); err != nil {
		return err
	}
	return unix.UtimesNanoAt(target, "", []unix.Timespec{st.Atim, st.Mtim}, unix.AT_EMPTY_PATH)
}

// attributes makes extended attributes of the namespace "user." and ACLs the same.
func attributes(source, target int, directory bool) error {
	want, err := attributesOf(source, directory)
	if err != nil {
		return err
	}
	have, err := attributesOf(target, directory)
	if err != nil {
		return err
	}
	for name := range have {
		if _, kept := want[name]; kept {
			continue
		}
		if err := unix.Fremovexattr(target, name); err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("remove attribute %q: %w", name, err)
		}
	}
	for name, value := range want {
		if now, has := have[name]; has && bytes.Equal(now, value) {
			continue
		}
		if err := unix.Fsetxattr(target, name, value, 0); err != nil {
			return fmt.Errorf("set attribute %q: %w", name, err)
		}
	}
	return nil
}

// attributesOf returns what is kept of the extended attributes.
func attributesOf(fd int, directory bool) (map[string][]byte, error) {
	list, err := grow(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.ENOTSUP) || len(list) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for raw := range bytes.SplitSeq(list, []byte{0}) {
		name := string(raw)
		if !strings.HasPrefix(name, "user.") && name != "system.posix_acl_access" && (name != "system.posix_acl_default" || !directory) {
			continue
		}
		value, err := grow(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue // gone since: the digest tells
		}
		if err != nil {
			return nil, fmt.Errorf("read attribute %q: %w", name, err)
		}
		out[name] = value
	}
	return out, nil
}

// grow calls with a buffer that is large enough: no file system of Linux has more than 64 KiB of a list or a value (XATTR_LIST_MAX, XATTR_SIZE_MAX).
func grow(call func([]byte) (int, error)) ([]byte, error) {
	for _, size := range []int{512, 64 << 10} {
		b := make([]byte, size)
		n, err := call(b)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		return b[:max(n, 0)], err
	}
	return nil, unix.ERANGE
}
