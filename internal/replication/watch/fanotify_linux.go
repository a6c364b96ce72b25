package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// fanotifyMask is every event that may change what a tree holds. Reading causes none of them.
	fanotifyMask = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO | unix.FAN_MODIFY |
		unix.FAN_CLOSE_WRITE | unix.FAN_ATTRIB | unix.FAN_ONDIR
	// mostDirectories bounds the cache of directories' paths.
	mostDirectories = 8192
	// readSize has room for some hundred events.
	readSize = 64 << 10
	// readMost is how many buffers are read before anything else is looked at.
	readMost = 64
)

// fanotify is a group of marks, one for the root's file system and one for each that is mounted below.
type fanotify struct {
	fd      int
	root    string
	options Options
	buffer  []byte
	// places are the directories through which handles are opened, by file system.
	places map[fsid][]string
	// paths of directories, by file system and handle, also of those outside of the tree.
	paths map[string]directory
}

type fsid [2]int32

type directory struct {
	absolute string
	path     string // in the tree, if ok
	ok       bool
}

// openFanotify marks the file systems of root and of what is mounted below; it fails when one of them cannot be
// watched in this way.
func openFanotify(root string, below []string, options Options) (source, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_REPORT_DFID_NAME|unix.FAN_REPORT_TID, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fanotify_init: %w", err)
	}
	f := &fanotify{fd: fd, root: root, options: options, buffer: make([]byte, readSize), places: map[fsid][]string{}, paths: map[string]directory{}}
	for _, place := range append([]string{root}, below...) {
		if err := f.mark(place); err != nil {
			f.close()
			return nil, err
		}
	}
	return f, nil
}

// mark sets the mark of the file system that a directory is on, and tries whether handles can be opened there.
func (f *fanotify) mark(place string) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(place, &stat); err != nil {
		return fmt.Errorf("statfs %s: %w", place, err)
	}
	id := fsid(stat.Fsid.Val)
	f.places[id] = append(f.places[id], place)
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, place, 0)
	if err != nil {
		return fmt.Errorf("the file system of %s has no file handles: %w", place, err)
	}
	if _, err := openHandle(place, handle); err != nil {
		return fmt.Errorf("open a file handle on the file system of %s: %w", place, err)
	}
	if err := unix.FanotifyMark(f.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, fanotifyMask, unix.AT_FDCWD, place); err != nil {
		return fmt.Errorf("fanotify_mark of the file system of %s: %w", place, err)
	}
	return nil
}

// openHandle returns the path that the directory of a handle has now, opened through the mount of place. No descriptor
// is kept: one would stand in the way of unmounting.
func openHandle(place string, handle unix.FileHandle) (string, error) {
	mount, err := unix.Open(place, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(mount) }()
	fd, err := unix.OpenByHandleAt(mount, handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return "", err
	}
	if stat.Nlink == 0 {
		return "", unix.ESTALE // removed; what it was in has an event of its own
	}
	return path, nil
}

func (f *fanotify) descriptor() int { return f.fd }

func (f *fanotify) watches() int { return len(f.places) }

func (f *fanotify) close() { _ = unix.Close(f.fd) }

// intact counts the marks in the kernel's own list (proc_pid_fdinfo(5)).
func (f *fanotify) intact() bool {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(f.fd))
	return err == nil && strings.Count(string(info), "fanotify sdev:") == len(f.places)
}

func (f *fanotify) read(each func(event)) (lost string, err error) {
	for range readMost {
		n, err := unix.Read(f.fd, f.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return lost, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return lost, fmt.Errorf("read fanotify's events: %w", err)
		}
		for rest := f.buffer[:n]; len(rest) > 0; {
			raw, after, err := cutEvent(rest)
			if err != nil {
				return lost, err
			}
			rest = after
			if raw.mask&unix.FAN_Q_OVERFLOW != 0 {
				lost = "the kernel's queue of events overflowed"
				clear(f.paths) // directories may have moved
				continue
			}
			dir := f.directory(raw)
			if raw.mask&unix.FAN_ONDIR != 0 && raw.mask&(unix.FAN_MOVED_FROM|unix.FAN_MOVED_TO) != 0 {
				clear(f.paths) // any of them may be below that directory
				if dir.absolute != "" && beneath(f.root, Join(strings.TrimSuffix(dir.absolute, "/")+"/", raw.name)) {
					lost = "the tree was moved" // and while it was elsewhere, its events were no tree's
				}
			}
			if e, ok := f.event(raw, dir); ok {
				each(e)
			}
		}
	}
	return lost, nil
}

// rawEvent is an event with the record of the directory that it happened in.
type rawEvent struct {
	mask   uint64
	pid    int
	id     fsid
	handle unix.FileHandle
	name   string // in the directory; "." for the directory itself
	key    string // fsid and handle
}

// Sizes in struct fanotify_event_metadata, fanotify_event_info_header, fanotify_event_info_fid and file_handle of
// linux/fanotify.h and open_by_handle_at(2), which fanotify(7) shows together.
const (
	infoHeaderSize = 4
	infoFidSize    = infoHeaderSize + 8 + 8 // and the fsid, and file_handle without its bytes
)

// cutEvent reads the first event in b and returns what comes after it.
func cutEvent(b []byte) (e rawEvent, rest []byte, err error) {
	if len(b) < unix.FAN_EVENT_METADATA_LEN {
		return e, nil, fmt.Errorf("fanotify event of %d bytes", len(b))
	}
	// event_len u32, vers u8, reserved u8, metadata_len u16, mask u64, fd s32, pid s32
	length, head := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint16(b[6:])
	if b[4] != unix.FANOTIFY_METADATA_VERSION || int(head) < unix.FAN_EVENT_METADATA_LEN || int(length) < int(head) || int(length) > len(b) {
		return e, nil, fmt.Errorf("fanotify event of an unknown form (version %d, %d bytes)", b[4], length)
	}
	e.mask = binary.NativeEndian.Uint64(b[8:])
	if fd := int32(binary.NativeEndian.Uint32(b[16:])); fd >= 0 {
		_ = unix.Close(int(fd))
	}
	e.pid = int(int32(binary.NativeEndian.Uint32(b[20:])))
	for info := b[head:length]; len(info) >= infoHeaderSize; {
		// info_type u8, pad u8, len u16
		size := int(binary.NativeEndian.Uint16(info[2:]))
		if size < infoHeaderSize || size > len(info) {
			return e, nil, fmt.Errorf("fanotify record of %d bytes in %d", size, len(info))
		}
		if info[0] == unix.FAN_EVENT_INFO_TYPE_DFID_NAME && size >= infoFidSize {
			record := info[:size]
			e.id = fsid{int32(binary.NativeEndian.Uint32(record[4:])), int32(binary.NativeEndian.Uint32(record[8:]))}
			end := infoFidSize + int(binary.NativeEndian.Uint32(record[12:]))
			if end > len(record) {
				return e, nil, fmt.Errorf("fanotify handle of %d bytes in %d", end-infoFidSize, len(record))
			}
			e.handle = unix.NewFileHandle(int32(binary.NativeEndian.Uint32(record[16:])), record[infoFidSize:end])
			e.key = string(record[4:end])
			name, _, _ := bytes.Cut(record[end:], []byte{0})
			e.name = string(name)
		}
		info = info[size:]
	}
	return e, b[length:], nil
}

// event says what an event means to the tree; ok is false when it is none of the tree's.
func (f *fanotify) event(raw rawEvent, dir directory) (e event, ok bool) {
	if !dir.ok || raw.name == "" {
		return event{}, false
	}
	path := dir.path
	if raw.name != "." {
		path = Join(path, raw.name)
	}
	if skipped(f.options.Skip, path) {
		return event{}, false
	}
	e = event{path: path, own: f.options.Own(raw.pid) && !f.options.Foreign(path)}
	isDir := raw.mask&unix.FAN_ONDIR != 0
	switch {
	case isDir && raw.mask&(unix.FAN_CREATE|unix.FAN_MOVED_TO) != 0:
		e.what = tree
	case raw.mask&(unix.FAN_DELETE|unix.FAN_ATTRIB|unix.FAN_MOVED_FROM|unix.FAN_MOVED_TO) != 0:
		e.what = changed
	case raw.mask&unix.FAN_CLOSE_WRITE != 0:
		e.what = closed
	case raw.mask&unix.FAN_MODIFY != 0:
		e.what = written
	default:
		e.what = created
	}
	return e, true
}

// directory finds the directory that an event happened in; the zero value when it is gone.
func (f *fanotify) directory(raw rawEvent) directory {
	if d, ok := f.paths[raw.key]; ok {
		return d
	}
	var d directory
	for _, place := range f.places[raw.id] {
		path, err := openHandle(place, raw.handle)
		if err != nil {
			continue
		}
		if d = (directory{absolute: path, ok: beneath(path, f.root)}); d.ok {
			d.path = strings.TrimPrefix(strings.TrimPrefix(path, strings.TrimSuffix(f.root, "/")), "/")
			break
		}
	}
	if len(f.paths) >= mostDirectories {
		clear(f.paths)
	}
	f.paths[raw.key] = d
	return d
}

// skipped asks for a path and for the directories that it is in.
func skipped(skip func(string) bool, path string) bool {
	for i := 0; i < len(path); i++ {
		if path[i] == '/' && skip(path[:i]) {
			return true
		}
	}
	return path != "" && skip(path)
}
