package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

const (
	isoBlock = 2048
	// isoDescriptors is the block of the first descriptor, maxDescriptors how many are looked at.
	isoDescriptors = 16
	maxDescriptors = 32
)

// iso is the root directory of an ISO 9660 volume, read by its Joliet names where it has some.
type iso struct {
	r io.ReaderAt
	// roots are directories that name the same files: the primary one and that of Joliet.
	roots []isoRoot
}

type isoRoot struct {
	at, size uint32
	joliet   bool
}

func openISO(r io.ReaderAt) (*Volume, error) {
	d := &iso{r: r}
	label := ""
	for i := range int64(maxDescriptors) {
		b := make([]byte, isoBlock)
		if err := readAt(r, b, (isoDescriptors+i)*isoBlock); err != nil || string(b[1:6]) != "CD001" {
			if i == 0 {
				// A device of fewer bytes, or something else.
				return nil, ErrUnknown
			}
			return nil, errors.New("the descriptors of the ISO 9660 volume have no end: it is damaged")
		}
		le := binary.LittleEndian
		root := isoRoot{at: le.Uint32(b[156+2:]), size: le.Uint32(b[156+10:])}
		switch b[0] {
		case 1:
			if size := le.Uint16(b[128:]); size != isoBlock {
				return nil, fmt.Errorf("the ISO 9660 volume has blocks of %d bytes; only %d are known", size, isoBlock)
			}
			label = strings.TrimRight(string(b[40:72]), " \x00")
			d.roots = append(d.roots, root)
		case 2:
			if b[88] == '%' && b[89] == '/' {
				root.joliet = true
				d.roots = append(d.roots, root)
			}
		case 255:
			if len(d.roots) == 0 {
				return nil, errors.New("the ISO 9660 volume has no directory: it is damaged")
			}
			return &Volume{Kind: ISO9660, Label: label, r: r, root: d}, nil
		}
	}
	return nil, errors.New("the descriptors of the ISO 9660 volume have no end: it is damaged")
}

func (d *iso) walk(each func(entry) bool) error {
	for _, root := range d.roots {
		b := make([]byte, min(int64(root.size), maxDirectory))
		if err := readAt(d.r, b, int64(root.at)*isoBlock); err != nil {
			return err
		}
		for at := 0; at < len(b); {
			size := int(b[at])
			if size == 0 {
				// Records do not cross blocks.
				at += isoBlock - at%isoBlock
				continue
			}
			if size < 34 || at+size > len(b) || 33+int(b[at+32]) > size {
				return errors.New("an entry is damaged")
			}
			record := b[at : at+size]
			at += size
			if record[25]&2 != 0 {
				continue
			}
			e := entry{
				names: isoNames(record, root.joliet),
				size:  int64(binary.LittleEndian.Uint32(record[10:])), at: binary.LittleEndian.Uint32(record[2:]),
			}
			if !each(e) {
				return nil
			}
		}
	}
	return nil
}

// isoNames returns the names of a record: the plain one without its version, and the one of Rock Ridge.
func isoNames(record []byte, joliet bool) []string {
	n := int(record[32])
	raw := record[33 : 33+n]
	name := string(raw)
	if joliet {
		var units []uint16
		for ; len(raw) > 1; raw = raw[2:] {
			units = append(units, binary.BigEndian.Uint16(raw))
		}
		name = string(utf16.Decode(units))
	}
	name, _, _ = strings.Cut(name, ";")
	names := []string{strings.TrimSuffix(name, ".")}
	// The system use area begins at an even offset.
	area := record[33+n:]
	if n%2 == 0 && len(area) > 0 {
		area = area[1:]
	}
	var rock strings.Builder
	for len(area) >= 4 && int(area[2]) >= 4 && int(area[2]) <= len(area) {
		if string(area[:2]) == "NM" && area[2] >= 5 {
			rock.Write(area[5:area[2]])
		}
		area = area[area[2]:]
	}
	if rock.Len() > 0 {
		names = append(names, rock.String())
	}
	return names
}

func (d *iso) ranges(e entry) ([]Range, error) {
	return []Range{{Offset: int64(e.at) * isoBlock, Length: e.size}}, nil
}
