package digest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The extended attributes in which Linux keeps POSIX ACLs, see acl(5).
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// attributes is the sum of what counts of a file's or directory's extended attributes, the zero Sum for none.
func (w *walker) attributes(fd int) (Sum, error) {
	if !w.options.Xattrs && !w.options.ACLs {
		return Sum{}, nil
	}
	list, err := grow(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return Sum{}, nil
	}
	if err != nil || len(list) == 0 {
		return Sum{}, err
	}
	var names []string
	for raw := range bytes.SplitSeq(list, []byte{0}) {
		name := string(raw)
		if w.options.Xattrs && strings.HasPrefix(name, "user.") || w.options.ACLs && (name == accessACL || name == defaultACL) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b []byte
	for _, name := range names {
		value, err := grow(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue // gone since; the change of ctime shows
		}
		if err != nil {
			return Sum{}, err
		}
		b = appendBytes(appendBytes(b, name), value)
	}
	if len(b) == 0 {
		return Sum{}, nil
	}
	return sha256.Sum256(b), nil
}

// grow calls with a buffer that is large enough.
func grow(call func([]byte) (int, error)) ([]byte, error) {
	// No file system of Linux takes more than 64 KiB of one value or list (XATTR_SIZE_MAX, XATTR_LIST_MAX).
	for size := 512; ; size *= 8 {
		b := make([]byte, size)
		n, err := retry(func() (int, error) { return call(b) })
		if errors.Is(err, unix.ERANGE) && size < 1<<17 {
			continue
		}
		if err != nil {
			return nil, err
		}
		return b[:n], nil
	}
}
