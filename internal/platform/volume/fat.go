package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// fat is the root directory of a FAT12, FAT16 or FAT32 volume.
type fat struct {
	r io.ReaderAt
	// bits is the width of an entry in the allocation table.
	bits     int
	cluster  int64
	clusters uint32
	table    int64
	data     int64
	// rootAt and rootSize are the fixed directory of FAT12 and FAT16; rootCluster begins that of FAT32.
	rootAt, rootSize int64
	rootCluster      uint32
}

const (
	fatEntrySize  = 32
	attrVolume    = 0x08
	attrDirectory = 0x10
	attrLongName  = 0x0f
)

func openFAT(r io.ReaderAt) (*Volume, error) {
	b := make([]byte, 512)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, ErrUnknown
		}
		return nil, err
	}
	f, label, ok := parseBPB(b)
	if !ok {
		return nil, ErrUnknown
	}
	f.r = r
	// The label in the directory is the one that tools show; that of the boot sector may be an older one.
	err := f.entries(func(e []byte) bool {
		if e[11]&attrLongName == attrLongName || e[11]&attrVolume == 0 {
			return true
		}
		label = dosText(e[:11])
		return false
	})
	if err != nil {
		return nil, fmt.Errorf("read the label of a FAT volume: %w", err)
	}
	return &Volume{Kind: VFAT, Label: label, r: r, root: f}, nil
}

// parseBPB reads the boot sector. Ok is false when it is not one of FAT: a boot sector has no magic number that others do
// not have as well, so everything in it must make sense.
func parseBPB(b []byte) (f *fat, label string, ok bool) {
	le := binary.LittleEndian
	jump := b[0] == 0xeb && b[2] == 0x90 || b[0] == 0xe9
	sector, perCluster := int64(le.Uint16(b[11:])), int64(b[13])
	reserved, tables, rootEntries := int64(le.Uint16(b[14:])), int64(b[16]), int64(le.Uint16(b[17:]))
	total, perTable := int64(le.Uint16(b[19:])), int64(le.Uint16(b[22:]))
	if total == 0 {
		total = int64(le.Uint32(b[32:]))
	}
	wide := perTable == 0
	if wide {
		perTable = int64(le.Uint32(b[36:]))
	}
	media := b[21] == 0xf0 || b[21] >= 0xf8
	if !jump || !media || !powerOfTwo(sector, 512, 4096) || !powerOfTwo(perCluster, 1, 128) || reserved == 0 ||
		tables == 0 || tables > 2 || perTable == 0 {
		return nil, "", false
	}
	rootSectors := (rootEntries*fatEntrySize + sector - 1) / sector
	dataSector := reserved + tables*perTable + rootSectors
	clusters := (total - dataSector) / perCluster
	if total <= dataSector || clusters < 1 || clusters > 0x0fffffff {
		return nil, "", false
	}
	f = &fat{
		cluster: sector * perCluster, clusters: uint32(clusters), //nolint:gosec // checked above
		table: reserved * sector, data: dataSector * sector,
		rootAt: (reserved + tables*perTable) * sector, rootSize: rootEntries * fatEntrySize,
	}
	// The number of clusters decides alone, says the specification.
	extended := 38
	switch {
	case wide:
		f.bits, f.rootCluster, extended = 32, le.Uint32(b[44:]), 66
	case clusters < 4085:
		f.bits = 12
	default:
		f.bits = 16
	}
	if b[extended] == 0x29 {
		label = dosText(b[extended+5 : extended+16])
	}
	if label == "NO NAME" {
		label = ""
	}
	return f, label, wide == (rootEntries == 0)
}

func powerOfTwo(n, least, most int64) bool { return n >= least && n <= most && n&(n-1) == 0 }

func dosText(b []byte) string { return strings.TrimRight(string(b), " \x00") }

// entries calls f with each used directory entry until f returns false.
func (f *fat) entries(each func(e []byte) bool) error {
	visit := func(at, size int64) (more bool, err error) {
		b := make([]byte, size)
		if err := readAt(f.r, b, at); err != nil {
			return false, err
		}
		for ; len(b) >= fatEntrySize; b = b[fatEntrySize:] {
			if b[0] == 0 {
				return false, nil
			}
			if b[0] != 0xe5 && !each(b[:fatEntrySize]) {
				return false, nil
			}
		}
		return true, nil
	}
	if f.bits != 32 {
		_, err := visit(f.rootAt, min(f.rootSize, maxDirectory))
		return err
	}
	cluster := f.rootCluster
	for read := int64(0); read < maxDirectory; read += f.cluster {
		at, err := f.offset(cluster)
		if err != nil {
			return err
		}
		more, err := visit(at, f.cluster)
		if err != nil || !more {
			return err
		}
		next, end, err := f.next(cluster)
		if err != nil || end {
			return err
		}
		cluster = next
	}
	return errors.New("the directory has no end: the volume is damaged")
}

func (f *fat) walk(each func(entry) bool) error {
	var long longName
	return f.entries(func(e []byte) bool {
		if e[11]&attrLongName == attrLongName {
			long.add(e)
			return true
		}
		name := long.take(e)
		if e[11]&(attrVolume|attrDirectory) != 0 {
			return true
		}
		short := dosText(e[:8])
		if ext := dosText(e[8:11]); ext != "" {
			short += "." + ext
		}
		le := binary.LittleEndian
		at := uint32(le.Uint16(e[26:]))
		if f.bits == 32 {
			at |= uint32(le.Uint16(e[20:])) << 16
		}
		return each(entry{names: []string{short, name}, size: int64(le.Uint32(e[28:])), at: at})
	})
}

func (f *fat) ranges(e entry) ([]Range, error) {
	var out []Range
	cluster := e.at
	for left := e.size; left > 0; left -= f.cluster {
		at, err := f.offset(cluster)
		if err != nil {
			return nil, err
		}
		if n := len(out) - 1; n >= 0 && out[n].Offset+out[n].Length == at {
			out[n].Length += f.cluster
		} else {
			out = append(out, Range{Offset: at, Length: f.cluster})
		}
		if left <= f.cluster {
			break
		}
		next, end, err := f.next(cluster)
		if err != nil {
			return nil, err
		}
		if end {
			// Read says that the file is shorter than it should be.
			break
		}
		cluster = next
	}
	return out, nil
}

func (f *fat) offset(cluster uint32) (int64, error) {
	if cluster < 2 || cluster-2 >= f.clusters {
		return 0, fmt.Errorf("cluster %d does not exist: the volume is damaged", cluster)
	}
	return f.data + int64(cluster-2)*f.cluster, nil
}

// next returns the cluster that follows in a chain. A cluster that offset has refused is never asked for.
func (f *fat) next(cluster uint32) (next uint32, end bool, err error) {
	b := make([]byte, 4)
	at, width := f.table+int64(cluster)*int64(f.bits)/8, (f.bits+7)/8
	if err := readAt(f.r, b[:width], at); err != nil {
		return 0, false, err
	}
	next = binary.LittleEndian.Uint32(b)
	switch f.bits {
	case 12:
		if cluster%2 == 1 {
			next >>= 4
		}
		next &= 0xfff
		return next, next >= 0xff8, nil
	case 16:
		return next, next >= 0xfff8, nil
	default:
		next &= 0x0fffffff
		return next, next >= 0x0ffffff8, nil
	}
}

// longName collects the entries of a long name, which come last part first and before the entry that they belong to.
type longName struct {
	sum   byte
	parts [][]byte
}

func (l *longName) add(e []byte) {
	if e[0]&0x40 != 0 {
		l.parts, l.sum = nil, e[13]
	}
	if len(l.parts) < 20 {
		l.parts = append(l.parts, append([]byte{}, e...))
	}
}

// take returns the long name of the short entry e, "" when it has none, and begins anew.
func (l *longName) take(e []byte) string {
	parts := l.parts
	l.parts = nil
	sum := byte(0)
	for _, c := range e[:11] {
		sum = sum>>1 | sum<<7
		sum += c
	}
	if sum != l.sum {
		return ""
	}
	var units []uint16
	for i := len(parts) - 1; i >= 0; i-- {
		for _, piece := range [][]byte{parts[i][1:11], parts[i][14:26], parts[i][28:32]} {
			for ; len(piece) > 0; piece = piece[2:] {
				units = append(units, binary.LittleEndian.Uint16(piece))
			}
		}
	}
	for i, u := range units {
		if u == 0 {
			units = units[:i]
			break
		}
	}
	return string(utf16.Decode(units))
}
