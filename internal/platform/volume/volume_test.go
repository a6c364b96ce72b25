package volume_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/platform/volume"
)

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("NOT TESTED: %s is not installed", name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// payload is some content of several clusters.
func payload() []byte {
	b := make([]byte, 70_001)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // content for a test
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// files writes what goes onto the volumes and returns the paths.
func files(t *testing.T) (dir string, paths []string) {
	t.Helper()
	dir = t.TempDir()
	for name, data := range map[string][]byte{
		"atoll.json": payload(), "user-data": []byte("#cloud-config\n"), "meta-data": {}, "a rather long name, Indeed.txt": []byte("x"),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return dir, paths
}

// makeFAT makes a FAT volume by mkfs.vfat and mtools.
func makeFAT(t *testing.T, bits, kib, label string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "fat.img")
	run(t, "mkfs.vfat", "-C", "-F", bits, "-n", label, image, kib)
	_, paths := files(t)
	// A first file that is deleted again leaves a gap and a deleted entry.
	run(t, "mcopy", "-i", image, paths[0], "::/gone.bin")
	run(t, "mmd", "-i", image, "::/folder")
	run(t, "mcopy", append([]string{"-i", image}, append(paths, "::/")...)...)
	run(t, "mdel", "-i", image, "::/gone.bin")
	return image
}

func makeISO(t *testing.T, label string, flags ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "seed.iso")
	dir, _ := files(t)
	run(t, "genisoimage", append(append([]string{"-quiet", "-V", label, "-o", image}, flags...), dir)...)
	return image
}

func open(t *testing.T, image string) (*volume.Volume, *os.File) {
	t.Helper()
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	v, err := volume.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return v, f
}

// TestVolumes reads what the usual tools have made.
func TestVolumes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		image func(t *testing.T) string
		kind  volume.Kind
		label string
	}{
		{"FAT12", func(t *testing.T) string { t.Helper(); return makeFAT(t, "12", "1440", "CIDATA") }, volume.VFAT, "CIDATA"},
		{"FAT16", func(t *testing.T) string { t.Helper(); return makeFAT(t, "16", "16384", "ATOLL") }, volume.VFAT, "ATOLL"},
		{"FAT32", func(t *testing.T) string { t.Helper(); return makeFAT(t, "32", "66000", "ATOLL") }, volume.VFAT, "ATOLL"},
		{"Joliet", func(t *testing.T) string { t.Helper(); return makeISO(t, "cidata", "-J") }, volume.ISO9660, "cidata"},
		{"Rock Ridge", func(t *testing.T) string { t.Helper(); return makeISO(t, "CIDATA", "-r") }, volume.ISO9660, "CIDATA"},
		{"both", func(t *testing.T) string { t.Helper(); return makeISO(t, "CIDATA", "-J", "-r") }, volume.ISO9660, "CIDATA"},
		{"xorriso", func(t *testing.T) string {
			t.Helper()
			image := filepath.Join(t.TempDir(), "seed.iso")
			dir, _ := files(t)
			run(t, "xorriso", "-as", "mkisofs", "-quiet", "-volid", "cidata", "-joliet", "-rock", "-o", image, dir)
			return image
		}, volume.ISO9660, "cidata"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, _ := open(t, tt.image(t))
			if v.Kind != tt.kind || v.Label != tt.label {
				t.Errorf("got %s %q, want %s %q", v.Kind, v.Label, tt.kind, tt.label)
			}
			for name, want := range map[string][]byte{
				"atoll.json": payload(), "USER-DATA": []byte("#cloud-config\n"), "meta-data": {}, "a rather long name, Indeed.txt": []byte("x"),
			} {
				f, err := v.Find(name)
				if err != nil {
					t.Error(err)
					continue
				}
				if got, err := f.Read(); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: got %d bytes and %v, want %d bytes", name, len(got), err, len(want))
				}
			}
			for _, name := range []string{"folder", "gone.bin", "none", ""} {
				if _, err := v.Find(name); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%q: got %v, want ErrNotExist", name, err)
				}
			}
		})
	}
}

// TestLocate overwrites a part of a file in place, on volumes whose files are in several pieces.
func TestLocate(t *testing.T) {
	t.Parallel()
	for name, image := range map[string]func() string{
		"FAT12": func() string { return makeFAT(t, "12", "1440", "X") },
		"ISO":   func() string { return makeISO(t, "X", "-J") },
	} {
		v, device := open(t, image())
		f, err := v.Find("atoll.json")
		if err != nil {
			t.Fatal(err)
		}
		want := payload()
		const offset, length = 1000, 50_000
		copy(want[offset:], bytes.Repeat([]byte{'#'}, length))
		var sum int64
		for _, r := range f.Locate(offset, length) {
			sum += r.Length
			if _, err := device.WriteAt(bytes.Repeat([]byte{'#'}, int(r.Length)), r.Offset); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := f.Read(); sum != length || err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: located %d bytes of %d, content as wanted %v (%v)", name, sum, length, bytes.Equal(got, want), err)
		}
	}
}

func TestNoVolume(t *testing.T) {
	t.Parallel()
	random := make([]byte, 1<<20)
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // content for a test
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "a few bytes": []byte("hello"), "zeros": make([]byte, 1<<20), "noise": random,
		"a partition table": append(make([]byte, 510), append([]byte{0x55, 0xaa}, make([]byte, 1<<16)...)...),
	} {
		if v, err := volume.Open(bytes.NewReader(data)); !errors.Is(err, volume.ErrUnknown) {
			t.Errorf("%s: got %v and %v, want ErrUnknown", name, v, err)
		}
	}
}

// TestDamaged reads volumes that are damaged in ways which other readers follow without end.
func TestDamaged(t *testing.T) {
	t.Parallel()
	image := makeFAT(t, "32", "66000", "ATOLL")
	good, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	table := int(le.Uint16(good[14:])) * 512
	tests := []struct {
		name   string
		damage func(b []byte) []byte
		want   string
	}{
		{"every chain leads back to its beginning", func(b []byte) []byte {
			for i := 2; i < 1000; i++ {
				le.PutUint32(b[table+4*i:], uint32(i)) //nolint:gosec // small
			}
			return b
		}, ""},
		{"every chain leads out of the volume", func(b []byte) []byte {
			for i := 2; i < 1000; i++ {
				le.PutUint32(b[table+4*i:], 0x0ffffff0)
			}
			return b
		}, "does not exist"},
		{"every chain ends at once", func(b []byte) []byte {
			for i := 2; i < 1000; i++ {
				le.PutUint32(b[table+4*i:], 0x0fffffff)
			}
			return b
		}, "not written to the end"},
		{"cut off in the table", func(b []byte) []byte { return b[:table+512] }, "cut off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := tt.damage(bytes.Clone(good))
			got, err := read(b)
			if bytes.Equal(got, payload()) || (tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want))) {
				t.Errorf("got %d bytes and %v, want an error with %q", len(got), err, tt.want)
			}
		})
	}
}

func read(b []byte) ([]byte, error) {
	v, err := volume.Open(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	f, err := v.Find("atoll.json")
	if err != nil {
		return nil, err
	}
	return f.Read()
}

// FuzzOpen gives the reader volumes with bytes changed anywhere in what describes them. It may fail, but must come back.
func FuzzOpen(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint16(20), uint8(seed))
	}
	images := map[uint8][]byte{}
	f.Fuzz(func(t *testing.T, seed uint64, changes uint16, which uint8) {
		which %= 3
		if images[which] == nil {
			path := ""
			switch which {
			case 0:
				path = makeFAT(t, "12", "1440", "A")
			case 1:
				path = makeFAT(t, "16", "8400", "A")
			case 2:
				path = makeISO(t, "A", "-J", "-r")
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			images[which] = data
		}
		b := bytes.Clone(images[which])
		r := rand.New(rand.NewPCG(seed, uint64(changes))) //nolint:gosec // a fuzzer's
		from, size := 0, 1<<16
		if which == 2 {
			from, size = 16*2048, 20*2048
		}
		for range changes % 2000 {
			b[from+r.IntN(size)] = byte(r.Uint32())
		}
		got, err := read(b)
		if err == nil && cmp.Equal(len(got), 0) && changes == 0 {
			t.Error("an undamaged volume has an empty file")
		}
	})
}
