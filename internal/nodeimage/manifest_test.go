package nodeimage_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func facts() nodeimage.Facts {
	return nodeimage.Facts{
		Format: 1, Version: "0.1.0", Wire: 1, Architecture: "amd64", Debian: "trixie", Databases: []string{"mysql", "galera"},
		Built: time.Date(2026, time.November, 21, 6, 0, 0, 0, time.UTC), Packages: 287,
	}
}

// rootFS returns what begins as an ext4 file system does.
func rootFS() []byte {
	raw := make([]byte, 10_000)
	raw[1024+56], raw[1024+57] = 0x53, 0xef
	return raw
}

func gzipped(t *testing.T, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t *testing.T, raw []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithWindowSize(zstd.MaxWindowSize))
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(raw, nil)
}

// build writes an image with all its files and returns its folder and manifest.
func build(t *testing.T) (dir string, m nodeimage.Manifest) {
	t.Helper()
	dir = t.TempDir()
	names := map[nodeimage.Kind]string{}
	for kind, file := range map[nodeimage.Kind]struct {
		name string
		data []byte
	}{
		nodeimage.KindQCOW2:  {"n.qcow2", []byte("QFI\xfb disk")},
		nodeimage.KindRaw:    {"n.raw.zst", zstandard(t, []byte("disk"))},
		nodeimage.KindLinode: {"n.linode.img.gz", gzipped(t, rootFS())},
		nodeimage.KindSBOM:   {"n.sbom.cdx.json", []byte("{}")},
	} {
		names[kind] = file.name
		if err := os.WriteFile(filepath.Join(dir, file.name), file.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, path, err := nodeimage.Write(t.Context(), dir, facts(), names)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "atoll-node-0.1.0-amd64.manifest.json"); path != want {
		t.Errorf("the manifest is %s, want %s", path, want)
	}
	return dir, m
}

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	dir, written := build(t)
	read, where, err := nodeimage.Read(filepath.Join(dir, nodeimage.CurrentFile))
	if err != nil {
		t.Fatal(err)
	}
	if where, _ = filepath.EvalSymlinks(where); where == "" {
		t.Error("the folder is not there")
	}
	if diff := cmp.Diff(written, read); diff != "" {
		t.Errorf("written and read differ:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"galera", "mysql"}, read.Databases); diff != "" {
		t.Errorf("the engines are not sorted:\n%s", diff)
	}
	raw := read.Files[nodeimage.KindRaw]
	if raw.UncompressedSize != 4 || raw.UncompressedSHA256 == raw.SHA256 || read.Files[nodeimage.KindLinode].UncompressedSize != 10_000 {
		t.Errorf("got %+v", read.Files)
	}
	if err := read.Verify(t.Context(), dir); err != nil {
		t.Errorf("verify: %v", err)
	}
	sums, err := os.ReadFile(filepath.Join(dir, nodeimage.ChecksumsFile))
	if err != nil || strings.Count(string(sums), "\n") != 5 || !strings.Contains(string(sums), raw.SHA256+"  n.raw.zst\n") {
		t.Errorf("got sums %q, error %v", sums, err)
	}
	// A second build takes the place of the first and leaves nothing else behind.
	if _, _, err := nodeimage.Write(t.Context(), dir, facts(), map[nodeimage.Kind]string{nodeimage.KindQCOW2: "n.qcow2"}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 7 {
		t.Errorf("got %v, error %v; want 4 files, manifest, sums and link", entries, err)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	dir, m := build(t)
	if err := os.WriteFile(filepath.Join(dir, "n.raw.zst"), []byte("cut off"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "n.qcow2")); err != nil {
		t.Fatal(err)
	}
	err := m.Verify(t.Context(), dir)
	var changed *nodeimage.ChangedError
	if !errors.As(err, &changed) || filepath.Base(changed.Path) != "n.raw.zst" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	_, m := build(t)
	good, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ old, new, want string }{
		"newer":                   {`"atoll_image": 1`, `"atoll_image": 2, "flavour": "new"`, "version 2, this software knows version 1"},
		"no manifest":             {`"atoll_image": 1,`, ``, "not a manifest"},
		"unknown key":             {`"wire"`, `"flavour": 1, "wire"`, "flavour"},
		"no version":              {`"version": "0.1.0"`, `"version": ""`, "version"},
		"no wire":                 {`"wire": 1`, `"wire": 0`, "wire is 0"},
		"architecture":            {`"architecture": "amd64"`, `"architecture": "x86"`, "architecture"},
		"release":                 {`"trixie"`, `"Debian 13"`, "debian"},
		"engine":                  {`"mysql"`, `"My SQL"`, "databases"},
		"no time":                 {`"2026-11-21T06:00:00Z"`, `"0001-01-01T00:00:00Z"`, "built is missing"},
		"file elsewhere":          {`"n.qcow2"`, `"../n.qcow2"`, "files.qcow2.name"},
		"unknown kind":            {`"qcow2"`, `"vmdk"`, `unknown kind "vmdk"`},
		"no hash":                 {m.Files[nodeimage.KindQCOW2].SHA256, "00", "files.qcow2.sha256"},
		"no uncompressed size":    {`"uncompressed_size": 4`, `"uncompressed_size": 0`, "files.raw.uncompressed_size"},
		"something behind":        {"}\n}\n", "}\n}\n{}", "invalid character"},
		"something whole behind":  {"}\n}\n", "}\n} x", "invalid character"},
		"cut off":                 {"}\n}\n", "}\n", "unexpected end"},
		"another type than known": {`"packages": 287`, `"packages": "many"`, "packages"},
	}
	for name, tt := range tests {
		bad := strings.Replace(string(good), tt.old, tt.new, 1)
		if bad == string(good) {
			t.Fatalf("%s: the manifest has no %q", name, tt.old)
		}
		if _, err := nodeimage.Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, tt.want)
		}
	}
	if _, err := nodeimage.Parse(good); err != nil {
		t.Error(err)
	}
}

func TestFactsInsideTheImage(t *testing.T) {
	t.Parallel()
	data, err := facts().Encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := nodeimage.ParseFacts(data)
	if err != nil || read.Version != "0.1.0" || len(read.Databases) != 2 {
		t.Errorf("got %+v, error %v", read, err)
	}
	if _, err := nodeimage.ParseFacts([]byte(`{"atoll_image":1,"files":{}}`)); err == nil {
		t.Error("a manifest was read as facts")
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir, m := build(t)
	partitioned := make([]byte, 9000)
	partitioned[510], partitioned[511] = 0x55, 0xaa
	huge := make([]byte, 2<<20)
	for name, data := range map[string][]byte{
		"bare.img.gz": gzipped(t, rootFS()), "disk.img.gz": gzipped(t, partitioned), "qemu.gz": gzipped(t, []byte("QFI\xfb and so on")),
		"text.gz": gzipped(t, []byte("text")), "plain.img": rootFS(), "cut.img.gz": gzipped(t, rootFS())[:20],
		"old.manifest.json": []byte(`{"atoll_image": 7}`), "large.manifest.json": append([]byte("{"), huge...),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func(name string) (nodeimage.Source, error) {
		return nodeimage.Open(t.Context(), filepath.Join(dir, name), nodeimage.KindLinode)
	}
	linode := m.Files[nodeimage.KindLinode]
	for _, name := range []string{nodeimage.CurrentFile, "n.linode.img.gz"} {
		s, err := open(name)
		if err != nil || filepath.Base(s.Path) != linode.Name || s.SHA256 != linode.SHA256 || s.Size != linode.Size {
			t.Errorf("%s: got %+v, error %v", name, s, err)
		}
		if known := name == nodeimage.CurrentFile; known != (s.Facts != nil) || known != (s.UncompressedSize == 10_000) {
			t.Errorf("%s: got facts %+v and size %d", name, s.Facts, s.UncompressedSize)
		}
	}
	for name, want := range map[string]string{
		"disk.img.gz": "partitions", "qemu.gz": "QEMU disk", "text.gz": "no ext file system", "plain.img": "not compressed by gzip",
		"cut.img.gz": "damaged", "old.manifest.json": "version 7", "large.manifest.json": "not a manifest", "gone": "no such file",
	} {
		if _, err := open(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, linode.Name), gzipped(t, append(rootFS(), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	var changed *nodeimage.ChangedError
	if _, err := open(nodeimage.CurrentFile); !errors.As(err, &changed) {
		t.Errorf("got %v for a file that its manifest does not describe", err)
	}
	if _, _, err := nodeimage.Write(t.Context(), dir, facts(), map[nodeimage.Kind]string{nodeimage.KindQCOW2: "n.qcow2"}); err != nil {
		t.Fatal(err)
	}
	var missing *nodeimage.MissingKindError
	if _, err := open(nodeimage.CurrentFile); !errors.As(err, &missing) {
		t.Errorf("got %v for an image without a file for Linode", err)
	}
}

func TestSumStopsWithItsContext(t *testing.T) {
	t.Parallel()
	dir, _ := build(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := nodeimage.SumFile(ctx, filepath.Join(dir, "n.qcow2")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	f := facts()
	if err := errors.Join(f.CheckWire(), f.CheckArchitecture("amd64")); err != nil {
		t.Error(err)
	}
	f.Wire = spec.WireVersion + 1
	var misfit *nodeimage.MismatchError
	if err := f.CheckWire(); !errors.As(err, &misfit) || misfit.What != "wire" {
		t.Errorf("got %v", err)
	}
	if err := f.CheckArchitecture("arm64"); !errors.As(err, &misfit) || misfit.Want != "arm64" {
		t.Errorf("got %v", err)
	}
}

// TestTags demands tags that Linode takes (3 to 100 characters) and that say the same again.
func TestTags(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("0123456789abcdef", 4)
	tags := append(facts().Tags(), nodeimage.ContentTag(sum), "web", "atoll-holder:x")
	for _, tag := range tags {
		if len(tag) < 3 || len(tag) > 100 {
			t.Errorf("%q has %d characters", tag, len(tag))
		}
	}
	got := nodeimage.ReadTags(tags)
	if got.SHA256 != sum || got.Version != "0.1.0" || got.Architecture != "amd64" || got.Wire != 1 || got.Debian != "trixie" {
		t.Errorf("got %+v", got)
	}
	if got := nodeimage.ReadTags([]string{"atoll-wire:many", "web"}); got.Wire != 0 || got.SHA256 != "" {
		t.Errorf("got %+v", got)
	}
}
