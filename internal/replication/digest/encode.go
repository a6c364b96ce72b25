package digest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// version is part of every digest: it changes when the meaning of one does.
const version = "atoll tree digest 1"

// settings is the digest of what must be the same on both sides.
func (o *Options) settings() Sum {
	patterns := o.Exclude.Patterns()
	slices.Sort(patterns)
	return sha256.Sum256(fmt.Appendf(nil, "%s\npermissions %o\nowners %s\nxattrs %t\nacls %t\nmodtimes %t\nexclude %q\n",
		version, o.Permissions, o.Owners, o.Xattrs, o.ACLs, o.ModTimes, slices.Compact(patterns)))
}

// metadata is the digest of what counts of an entry beside its name, kind and content.
type metadata struct {
	permissions  uint32
	owner, group string
	seconds      int64
	attributes   Sum
}

func (m *metadata) sum() Sum {
	b := make([]byte, 0, 128)
	b = binary.AppendUvarint(b, uint64(m.permissions))
	b = appendBytes(b, m.owner)
	b = appendBytes(b, m.group)
	b = binary.AppendVarint(b, m.seconds)
	b = append(b, m.attributes[:]...)
	return sha256.Sum256(b)
}

// appendBytes writes a string with its length, so that no two lists of strings look alike.
func appendBytes[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// sumOf is the digest of a directory's entries, sorted by name, and what is below it.
func sumOf(settings Sum, entries []Entry) (Sum, Totals) {
	var totals Totals
	h := sha256.New()
	h.Write(settings[:])
	b := make([]byte, 0, 512)
	for i := range entries {
		e := &entries[i]
		b = appendBytes(b[:0], e.Name)
		b = appendBytes(b, string(e.Kind))
		b = append(b, e.Content[:]...)
		b = append(b, e.Meta[:]...)
		if e.Kind == Folder {
			totals.Directories++
		} else {
			b = binary.AppendVarint(b, e.Totals.Bytes)
		}
		h.Write(b)
		totals.add(e.Totals)
	}
	return Sum(h.Sum(nil)), totals
}

// never is a sum that no other is equal to: what could not be read must not look like anything.
func never() Sum {
	var s Sum
	_, _ = rand.Read(s[:]) // it never fails: crypto/rand ends the program instead
	return s
}
