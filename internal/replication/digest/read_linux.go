package digest

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// errChanged is a file that changed each time that it was read, or is no file any more.
var errChanged = errors.New("changed while it was read")

// young is how long a file must have been left alone before its content is remembered. Until then it could change again
// without a new time: file systems count in steps of up to 2 s (FAT), the kernel in steps of 10 ms.
const young = 2 * time.Second

// nodesOwn is an entry that is no part of a digest: a socket, a FIFO or a device.
const nodesOwn Kind = "node's own"

// retry repeats a system call that a signal interrupted.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

func openDirectory(fd int, name string) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
}

// openFile opens a file without waiting for anybody, should a FIFO stand in its place, and without moving its access time
// where that is allowed.
func openFile(fd int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	file, err := retry(func() (int, error) { return unix.Openat(fd, name, flags|unix.O_NOATIME, 0) })
	if errors.Is(err, unix.EPERM) {
		return retry(func() (int, error) { return unix.Openat(fd, name, flags, 0) })
	}
	return file, err
}

func fstat(fd int) (st unix.Stat_t, err error) {
	_, err = retry(func() (struct{}, error) { return struct{}{}, unix.Fstat(fd, &st) })
	return st, err
}

// list returns the names in a directory, sorted by bytes.
func (w *walker) list(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, err
	}
	buffer := w.buffers.get()
	defer w.buffers.put(buffer)
	var names []string
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(fd, *buffer) })
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
		_, _, names = unix.ParseDirent((*buffer)[:n], -1, names)
	}
}

// entry looks at one name. One that is gone, or is the node's own, leaves e without a Kind.
func (w *walker) entry(fd int, path, name string, e *Entry) error {
	full := join(path, name)
	for attempt := 1; ; attempt++ {
		*e = Entry{Name: []byte(name), Kind: Unknown}
		err := w.look(fd, e)
		// It is no file, no directory or no link any more: look again at what it is now.
		again := errors.Is(err, errChanged) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EINVAL)
		if err == nil {
			return nil
		}
		if !again || attempt == attempts {
			return w.failed(e, full, err)
		}
	}
}

func (w *walker) look(fd int, e *Entry) error {
	name := string(e.Name)
	var st unix.Stat_t
	if _, err := retry(func() (struct{}, error) {
		return struct{}{}, unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}); err != nil {
		return err
	}
	var meta metadata
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Kind = File
		attributes, err := w.file(fd, name, &st, e)
		if err != nil {
			return err
		}
		meta.attributes = attributes
		if w.options.ModTimes {
			meta.seconds = st.Mtim.Sec
		}
		e.Totals = Totals{Files: 1, Bytes: st.Size}
		w.seen.files.Add(1)
		w.seen.bytes.Add(st.Size)
	case unix.S_IFDIR:
		e.Kind = Folder
		if w.options.Xattrs || w.options.ACLs {
			sub, err := openDirectory(fd, name)
			if err != nil {
				return err
			}
			defer unix.Close(sub) //nolint:errcheck // nothing was written
			if meta.attributes, err = w.attributes(sub); err != nil {
				return err
			}
		}
	case unix.S_IFLNK:
		e.Kind = Symlink
		buffer := w.buffers.get()
		defer w.buffers.put(buffer)
		n, err := retry(func() (int, error) { return unix.Readlinkat(fd, name, *buffer) })
		if err != nil {
			return err
		}
		e.Content = sha256.Sum256((*buffer)[:n])
		e.Totals.Files = 1
		w.seen.files.Add(1)
	default:
		e.Kind = nodesOwn
		return nil
	}
	e.Modified = time.Unix(st.Mtim.Unix())
	if e.Kind != Symlink {
		// A symbolic link's own permissions mean nothing, and tools that keep pairs equal set no owner of one.
		meta.permissions = st.Mode & w.options.Permissions & 0o7777
		meta.owner, meta.group = w.owner(st.Uid, st.Gid)
	}
	e.Meta = meta.sum()
	return nil
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}
}

// file sets the content of a regular file and returns its attributes. st is what it was, and is what it is afterwards.
func (w *walker) file(dir int, name string, st *unix.Stat_t, e *Entry) (attributes Sum, err error) {
	id := inode{st.Dev, st.Ino}
	content, attributes, ok := w.cache.get(id, stampOf(st), w.round)
	if ok {
		e.Content = content
		return attributes, nil
	}
	fd, err := openFile(dir, name)
	if err != nil {
		return Sum{}, err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	for attempt := 1; ; attempt++ {
		began := w.options.Now()
		before, err := fstat(fd)
		if err != nil {
			return Sum{}, err
		}
		if before.Mode&unix.S_IFMT != unix.S_IFREG {
			return Sum{}, errChanged
		}
		var n int64
		if e.Content, n, err = w.content(fd); err != nil {
			return Sum{}, err
		}
		if attributes, err = w.attributes(fd); err != nil {
			return Sum{}, err
		}
		if *st, err = fstat(fd); err != nil {
			return Sum{}, err
		}
		w.read.files.Add(1)
		s := stampOf(st)
		if s != stampOf(&before) || n != s.size {
			if attempt == attempts {
				return Sum{}, errChanged
			}
			continue
		}
		id = inode{st.Dev, st.Ino}
		if old := began.Add(-young).UnixNano(); s.mtime < old && s.ctime < old {
			w.cache.put(id, known{stamp: s, content: e.Content, round: w.round}, attributes)
		} else {
			w.cache.drop(id)
		}
		return attributes, nil
	}
}

// content reads a file from its beginning.
func (w *walker) content(fd int) (sum Sum, size int64, err error) {
	buffer := w.buffers.get()
	defer w.buffers.put(buffer)
	h := sha256.New()
	for {
		if err := w.ctx.Err(); err != nil {
			return Sum{}, 0, err
		}
		n, err := retry(func() (int, error) { return unix.Pread(fd, *buffer, size) })
		if err != nil {
			return Sum{}, 0, err
		}
		if n == 0 {
			h.Sum(sum[:0])
			return sum, size, nil
		}
		h.Write((*buffer)[:n])
		size += int64(n)
		w.read.bytes.Add(int64(n))
	}
}

// owner returns owner and group as far as they count.
func (w *walker) owner(uid, gid uint32) (owner, group string) {
	switch w.options.Owners {
	case OwnersNumeric:
		return strconv.FormatUint(uint64(uid), 10), strconv.FormatUint(uint64(gid), 10)
	case OwnersByName:
		return w.names.user(uid), w.names.group(gid)
	default:
		return "", ""
	}
}

// pool is a sync.Pool of read buffers: 256 KiB is past the point where larger reads are faster.
type pool struct{ sync.Pool }

func (p *pool) get() *[]byte {
	if b, ok := p.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 1<<18)
	return &b
}

func (p *pool) put(b *[]byte) { p.Put(b) }
