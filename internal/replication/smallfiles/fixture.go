package smallfiles

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strconv"
)

// perFolder is how many files are in a directory, as applications that spread uploads have them.
const perFolder = 100

// markSize is how many bytes at a file's beginning tell it from all others.
const markSize = 8

// fixture is the tree that is written: the same for every run with the same options.
type fixture struct {
	files, mean int
	random      []byte
}

func newFixture(files, mean int) *fixture {
	f := &fixture{files: files, mean: mean, random: make([]byte, 2*(spread*mean+markSize))}
	// Nothing that a file system could compress or share.
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(f.random) // it never fails
	return f
}

// spread is the largest size as a multiple of the mean.
const spread = 8

// size is a file's: an exponential distribution, as real trees have many smaller and few larger ones than their mean.
func (f *fixture) size(i int) int64 {
	// A value from 0 to 1 that depends on i alone, by the finalizer of SplitMix64.
	z := (uint64(i) + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	u := float64((z^z>>31)>>11) / (1 << 53)
	return int64(min(max(-math.Log(1-u)*float64(f.mean), markSize), float64(f.largest())))
}

// bytes is the sum of all sizes.
func (f *fixture) bytes() (sum int64) {
	for i := range f.files {
		sum += f.size(i)
	}
	return sum
}

// largest is the size of the largest file that there may be.
func (f *fixture) largest() int { return spread*f.mean + markSize }

// content returns a file's content, made in the buffer.
func (f *fixture) content(i int, buffer []byte) []byte {
	n := int(f.size(i)) - markSize
	from := i * 4099 % (len(f.random) - n + 1)
	buffer = binary.BigEndian.AppendUint64(buffer[:0], uint64(i))
	return append(buffer, f.random[from:from+n]...)
}

// marked tells whether a file's first bytes are those of file i.
func (f *fixture) marked(i int, first []byte) bool {
	return len(first) >= markSize && binary.BigEndian.Uint64(first) == uint64(i)
}

func (f *fixture) folders() int { return (f.files + perFolder - 1) / perFolder }

func (f *fixture) folder(d int) string {
	return strconv.Itoa(d/perFolder) + "/" + strconv.Itoa(d%perFolder)
}

func (f *fixture) name(i int) string { return strconv.Itoa(i) + ".jpg" }
