//go:build linux

package replicationtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

// accessList is an access control list that lets the user with id 1000 read a file, as Linux keeps it (acl(5), linux/posix_acl_xattr.h).
func accessList() []byte {
	const nobody = ^uint32(0)
	out := binary.LittleEndian.AppendUint32(nil, 2)
	for _, entry := range []struct {
		tag, may uint16
		id       uint32
	}{{0x01, 6, nobody}, {0x02, 4, 1000}, {0x04, 4, nobody}, {0x10, 4, nobody}, {0x20, 0, nobody}} {
		out = binary.LittleEndian.AppendUint16(out, entry.tag)
		out = binary.LittleEndian.AppendUint16(out, entry.may)
		out = binary.LittleEndian.AppendUint32(out, entry.id)
	}
	return out
}

// attributes changes what a file has beside its mode and content.
func (r *run) attributes(t *testing.T) {
	for _, s := range r.sides() {
		s.write(t, "attributes", "of "+s.Name)
		r.awaitSynced(t, long)
		for name, value := range map[string][]byte{"user.origin": []byte("of " + s.Name), "system.posix_acl_access": accessList()} {
			if err := unix.Setxattr(s.file("attributes"), name, value, 0); err != nil {
				t.Fatalf("set %s: %v", name, err)
			}
			await.NoError(t, name+" is on the other side", long, func(context.Context) error { return hasAttribute(r.other(s), name, value) })
		}
		if err := errors.Join(unix.Removexattr(s.file("attributes"), "system.posix_acl_access"), unix.Removexattr(s.file("attributes"), "user.origin")); err != nil {
			t.Fatal(err)
		}
		await.NoError(t, "its removal is on the other side", long, func(context.Context) error { return hasAttribute(r.other(s), "user.origin", nil) })
		r.awaitSynced(t, long)
	}
}

func hasAttribute(s *side, name string, want []byte) error {
	got := make([]byte, 256)
	n, err := unix.Getxattr(s.file("attributes"), name, got)
	if errors.Is(err, unix.ENODATA) {
		n, err = 0, nil
	}
	if err == nil && !bytes.Equal(got[:n], want) {
		err = fmt.Errorf("%s has %x", s.Name, got[:n])
	}
	return err
}
