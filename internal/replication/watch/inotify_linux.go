package watch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// inotifyMask is every event that may change what a directory holds. Reading causes none of them.
const inotifyMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MODIFY |
	unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK

// limitFile says how many watches a user may have.
const limitFile = "/proc/sys/fs/inotify/max_user_watches"

// inotify has a watch for each directory of the tree.
type inotify struct {
	fd      int
	root    string
	options Options
	buffer  []byte
	paths   map[int32]string
	wds     map[string]int32
	gone    bool // a file system was unmounted below a watch
}

// openInotify watches every directory below root.
func openInotify(ctx context.Context, root string, options Options) (source, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: inotify_init1: %w", root, err)
	}
	n := &inotify{fd: fd, root: root, options: options, buffer: make([]byte, readSize), paths: map[int32]string{}, wds: map[string]int32{}}
	if err := n.addTree(ctx, ""); err != nil {
		n.close()
		return nil, err
	}
	if len(n.paths) == 0 {
		n.close()
		return nil, fmt.Errorf("watch %s: %w", root, os.ErrNotExist)
	}
	return n, nil
}

// addTree watches a directory and all below it. Each is listed after its watch is set, so that none is missed.
func (n *inotify) addTree(ctx context.Context, path string) error {
	queue := []string{path}
	var limit *LimitError
	for len(queue) > 0 {
		dir := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("watch %s: %w", n.root, err)
		}
		if limit != nil {
			limit.Directories++ // it goes on to say how many are needed
		} else if err := n.add(dir); errors.Is(err, unix.ENOSPC) {
			limit = &LimitError{Root: n.root, Directories: len(n.wds) + 1, Watched: len(n.wds), Limit: watchLimit()}
		} else if err != nil {
			// One that has gone since is no loss. One that cannot be entered would be.
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
				continue
			}
			return fmt.Errorf("watch %s: %w", n.full(dir), err)
		}
		names, err := os.ReadDir(n.full(dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("watch %s: %w", n.full(dir), err)
		}
		for _, entry := range names {
			if below := Join(dir, entry.Name()); entry.IsDir() && !n.options.Skip(below) {
				queue = append(queue, below)
			}
		}
	}
	if limit != nil {
		return limit
	}
	return nil
}

func (n *inotify) full(path string) string { return Join(strings.TrimSuffix(n.root, "/")+"/", path) }

// add sets the watch of a directory.
func (n *inotify) add(path string) error {
	wd, err := unix.InotifyAddWatch(n.fd, n.full(path), inotifyMask)
	if err != nil {
		return err
	}
	// The kernel gives a directory that was moved, or is mounted twice, the watch that it has.
	if old, ok := n.paths[int32(wd)]; ok && old != path && n.wds[old] == int32(wd) {
		delete(n.wds, old)
	}
	n.paths[int32(wd)], n.wds[path] = path, int32(wd)
	return nil
}

// removeTree gives up the watches of a directory and of all below it.
func (n *inotify) removeTree(path string) {
	for dir, wd := range n.wds {
		if dir == path || strings.HasPrefix(dir, path+"/") {
			_, _ = unix.InotifyRmWatch(n.fd, uint32(wd)) // it goes by itself with a directory that was removed
			delete(n.wds, dir)
			delete(n.paths, wd)
		}
	}
}

func (n *inotify) descriptor() int { return n.fd }

func (n *inotify) watches() int { return len(n.wds) }

func (n *inotify) intact() bool { return !n.gone }

func (n *inotify) close() { _ = unix.Close(n.fd) }

func (n *inotify) read(each func(event)) (lost string, err error) {
	for range readMost {
		size, err := unix.Read(n.fd, n.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return lost, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return lost, fmt.Errorf("read inotify's events: %w", err)
		}
		for rest := n.buffer[:size]; len(rest) >= unix.SizeofInotifyEvent; {
			// struct inotify_event of inotify(7): wd s32, mask u32, cookie u32, len u32, name
			wd, mask := int32(binary.NativeEndian.Uint32(rest)), binary.NativeEndian.Uint32(rest[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
			if end > len(rest) {
				return lost, fmt.Errorf("inotify event of %d bytes in %d", end, len(rest))
			}
			name, _, _ := bytes.Cut(rest[unix.SizeofInotifyEvent:end], []byte{0})
			rest = rest[end:]
			if mask&unix.IN_Q_OVERFLOW != 0 {
				// Directories may have come that nobody watches.
				lost = "the kernel's queue of events overflowed"
				if err := n.addTree(context.Background(), ""); err != nil {
					return lost, err
				}
				continue
			}
			if err := n.event(wd, mask, string(name), each); err != nil {
				return lost, err
			}
		}
	}
	return lost, nil
}

// event says what an event means to the tree, and keeps the watches in step with it.
func (n *inotify) event(wd int32, mask uint32, name string, each func(event)) error {
	dir, ok := n.paths[wd]
	if !ok {
		return nil // of a watch that was given up
	}
	if mask&unix.IN_UNMOUNT != 0 {
		n.gone = true
		return errors.New("a file system was unmounted")
	}
	if mask&unix.IN_IGNORED != 0 {
		delete(n.paths, wd)
		if n.wds[dir] == wd {
			delete(n.wds, dir)
		}
		return nil
	}
	path := Join(dir, name)
	if path != "" && n.options.Skip(path) {
		return nil
	}
	e := event{path: path}
	isDir := mask&unix.IN_ISDIR != 0
	switch {
	case isDir && mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		e.what = tree
		if err := n.addTree(context.Background(), path); err != nil {
			return err
		}
	case mask&(unix.IN_DELETE|unix.IN_ATTRIB|unix.IN_MOVED_FROM|unix.IN_MOVED_TO) != 0:
		e.what = changed
		if isDir && mask&unix.IN_MOVED_FROM != 0 {
			n.removeTree(path)
		}
	case mask&unix.IN_CLOSE_WRITE != 0:
		e.what = closed
	case mask&unix.IN_MODIFY != 0:
		e.what = written
	default:
		e.what = created
	}
	each(e)
	return nil
}

// watchLimit is the lower of the two limits that apply, 0 when neither can be read.
func watchLimit() int {
	limit := 0
	for _, file := range []string{limitFile, "/proc/sys/user/max_inotify_watches"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && (limit == 0 || n < limit) {
			limit = n
		}
	}
	return limit
}
