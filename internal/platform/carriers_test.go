package platform_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// fetched checks what a fetch gave: the payload, nothing, or an error with a text.
func fetched(t *testing.T, s platform.Source, want []byte, fails string) {
	t.Helper()
	data, found, err := s.Fetch(t.Context())
	switch {
	case fails != "":
		if err == nil || !strings.Contains(err.Error(), fails) {
			t.Errorf("%s: got error %v, want one with %q", s.Name(), err, fails)
		}
	case err != nil:
		t.Errorf("%s: %v", s.Name(), err)
	case found != (want != nil) || string(data) != string(want):
		t.Errorf("%s: got found %v and %d bytes, want %d bytes", s.Name(), found, len(data), len(want))
	}
}

// stays checks that a source says that it cannot forget, and what to do.
func stays(t *testing.T, s platform.Source) {
	t.Helper()
	var err *platform.StaysError
	if got := s.Forget(t.Context(), ""); !errors.As(got, &err) || err.Remedy == "" || err.Err != nil {
		t.Errorf("%s: forget gave %v, want a StaysError with a remedy", s.Name(), got)
	}
}

func TestCredential(t *testing.T) {
	payload, _ := newPayload(t)
	dir := t.TempDir()
	c := platform.Credential{Dir: dir}
	fetched(t, c, nil, "")
	write(t, filepath.Join(dir, "atoll.first-boot"), payload)
	fetched(t, c, payload, "")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	fetched(t, platform.Credential{}, payload, "")
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	fetched(t, platform.Credential{}, nil, "")
	write(t, filepath.Join(dir, "atoll.first-boot"), []byte("hello"))
	fetched(t, c, nil, "no Atoll payload")
	stays(t, c)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCommandLine(t *testing.T) {
	payload, _ := newPayload(t)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hk1.json":
			_, _ = w.Write(payload)
		case "/page":
			_, _ = w.Write([]byte("<html>"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	address := "atoll.first_boot=" + server.URL
	tests := []struct {
		name, line string
		want       []byte
		fails      string
	}{
		{"none", "BOOT_IMAGE=/vmlinuz root=LABEL=rootfs ro quiet", nil, ""},
		{"base64", "quiet atoll.first_boot=" + base64.StdEncoding.EncodeToString(payload) + " ro", payload, ""},
		{"base64 for addresses", "atoll.first_boot=" + base64.RawURLEncoding.EncodeToString(payload), payload, ""},
		{"compressed", "atoll.first_boot=" + base64.StdEncoding.EncodeToString(compress(t, payload)), payload, ""},
		{"cut off", "atoll.first_boot=" + base64.StdEncoding.EncodeToString(payload)[:801], nil, "cut off"},
		{"something else", "atoll.first_boot=aGVsbG8=", nil, "no Atoll payload"},
		{"an address", address + "/hk1.json atoll.first_boot_sha256=" + sum(payload), payload, ""},
		{"an address without a checksum", address + "/hk1.json", nil, "atoll.first_boot_sha256"},
		{"an address with another checksum", address + "/hk1.json atoll.first_boot_sha256=" + sum(nil), nil, "checksum"},
		{"an address that is gone", address + "/none atoll.first_boot_sha256=" + sum(nil), nil, "404"},
		{"an address of something else", address + "/page atoll.first_boot_sha256=" + sum([]byte("<html>")), nil, "no Atoll payload"},
		{"an address in the clear", "atoll.first_boot=http://192.0.2.1/hk1.json atoll.first_boot_sha256=" + sum(nil), nil, "https"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cmdline")
			write(t, path, []byte(tt.line+"\n"))
			fetched(t, platform.CommandLine{Path: path, Client: server.Client()}, tt.want, tt.fails)
		})
	}
	stays(t, platform.CommandLine{})
	fetched(t, platform.CommandLine{Path: "/nowhere"}, nil, "")
}

// computer is a machine with block devices that are image files.
type computer struct {
	t    *testing.T
	root string
}

// plug makes a FAT volume by mkfs.vfat and mtools and plugs it in.
func (c computer) plug(device, label string, files map[string][]byte) {
	c.t.Helper()
	path := filepath.Join(c.root, "dev", device)
	write(c.t, path, nil)
	if err := os.Remove(path); err != nil {
		c.t.Fatal(err)
	}
	c.tool("mkfs.vfat", "-C", "-n", label, path, "1440")
	for name, data := range files {
		from := filepath.Join(c.t.TempDir(), name)
		write(c.t, from, data)
		c.tool("mcopy", "-i", path, from, "::/")
	}
	write(c.t, filepath.Join(c.root, "sys/class/block", device, "size"), []byte("2880\n"))
}

func (c computer) tool(name string, args ...string) {
	c.t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		c.t.Skipf("NOT TESTED: %s is not installed", name)
	}
	if out, err := exec.CommandContext(c.t.Context(), name, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (c computer) source(label string) platform.Seed {
	return platform.Seed{Label: label, Root: c.root}
}

func TestSeed(t *testing.T) {
	payload, _ := newPayload(t)
	other, _ := newPayload(t)
	type stick struct {
		device, label string
		files         map[string][]byte
	}
	json := map[string][]byte{"atoll.json": payload}
	tests := []struct {
		name         string
		sticks       []stick
		atoll, cloud []byte
		failsAtoll   string
		failsCloud   string
	}{
		{"nothing plugged in", nil, nil, nil, "", ""},
		{"own label", []stick{{"sdb1", "ATOLL", json}}, payload, nil, "", ""},
		{"cloud-init's label", []stick{{"vdb", "CIDATA", json}}, nil, payload, "", ""},
		{"in small letters", []stick{{"sr0", "cidata", json}}, nil, payload, "", ""},
		{"in user-data", []stick{{"sdb", "CIDATA", map[string][]byte{"user-data": payload, "meta-data": nil}}}, nil, payload, "", ""},
		{"somebody's cloud-init", []stick{{"sdb", "CIDATA", map[string][]byte{"user-data": []byte("#cloud-config\n")}}}, nil, nil, "", ""},
		{"somebody's stick", []stick{{"sdb", "PHOTOS", json}}, nil, nil, "", ""},
		{"of a driver that brings no seeds", []stick{{"dm-0", "ATOLL", json}}, nil, nil, "", ""},
		{"the same twice", []stick{{"sdb", "ATOLL", json}, {"sdb1", "ATOLL", json}}, payload, nil, "", ""},
		{"two", []stick{{"sdb", "ATOLL", json}, {"sdc", "ATOLL", map[string][]byte{"atoll.json": other}}}, nil, nil, "dev/sdc (node \"hk1\"", ""},
		{"one of each label", []stick{{"sdb", "ATOLL", json}, {"sdc", "CIDATA", map[string][]byte{"atoll.json": other}}}, payload, other, "", ""},
		{"empty, own label", []stick{{"sdb", "ATOLL", nil}}, nil, nil, "no atoll.json", ""},
		{"cut off", []stick{{"sdb", "ATOLL", map[string][]byte{"atoll.json": payload[:200]}}}, nil, nil, "cut off", ""},
		{"something else", []stick{{"sdb", "CIDATA", map[string][]byte{"atoll.json": []byte("hello")}}}, nil, nil, "", "no Atoll payload"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := computer{t, t.TempDir()}
			for _, s := range tt.sticks {
				c.plug(s.device, s.label, s.files)
			}
			fetched(t, c.source("ATOLL"), tt.atoll, tt.failsAtoll)
			fetched(t, c.source("CIDATA"), tt.cloud, tt.failsCloud)
		})
	}
}

// TestSeedBesideADamagedOne has a stick that cannot be used beside one that can.
func TestSeedBesideADamagedOne(t *testing.T) {
	payload, _ := newPayload(t)
	c := computer{t, t.TempDir()}
	c.plug("sdb", "ATOLL", map[string][]byte{"atoll.json": payload[:100]})
	c.plug("sdc", "ATOLL", map[string][]byte{"atoll.json": payload})
	fetched(t, c.source("ATOLL"), payload, "")
}

// TestSeedForgets blots the key out and keeps everything else.
func TestSeedForgets(t *testing.T) {
	payload, ticket := newPayload(t)
	other, _ := newPayload(t)
	key := base64.StdEncoding.EncodeToString(ticket.Key)
	config := cloudConfig(t, payload)
	for name, files := range map[string]map[string][]byte{
		"bare":      {"atoll.json": payload, "user-data": []byte("#cloud-config\n")},
		"in a text": {"user-data": config},
	} {
		t.Run(name, func(t *testing.T) {
			c := computer{t, t.TempDir()}
			c.plug("sdb", "CIDATA", files)
			path := filepath.Join(c.root, "dev/sdb")
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := c.source("CIDATA")
			data, _, err := s.Fetch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Forget(t.Context(), sum(other)); err != nil {
				t.Error(err)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != string(before) {
				t.Errorf("forgetting another payload changed the volume (%v)", err)
			}
			for range 2 {
				if err := s.Forget(t.Context(), sum(data)); err != nil {
					t.Error(err)
				}
			}
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(string(before), key, strings.Repeat("used", len(key)/4))
			if !strings.Contains(string(before), key) || string(after) != want {
				t.Error("the volume is not what it was with the key overwritten")
			}
			fetched(t, s, nil, "is used and was deleted")
			c.plug("sdc", "CIDATA", map[string][]byte{"atoll.json": other})
			fetched(t, s, other, "")
		})
	}
}

// TestSeedThatCannotForget has a key that is not there in the clear.
func TestSeedThatCannotForget(t *testing.T) {
	payload, _ := newPayload(t)
	c := computer{t, t.TempDir()}
	c.plug("sdb", "CIDATA", map[string][]byte{"user-data": compress(t, payload)})
	s := c.source("CIDATA")
	fetched(t, s, payload, "")
	var err *platform.StaysError
	if got := s.Forget(t.Context(), sum(payload)); !errors.As(got, &err) || !strings.Contains(err.Error(), "sdb") {
		t.Errorf("got %v, want a StaysError that names the device", got)
	}
}

func TestFileKeepsWhatReplacedIt(t *testing.T) {
	payload, _ := newPayload(t)
	other, _ := newPayload(t)
	f := platform.File{Path: filepath.Join(t.TempDir(), "first-boot.json")}
	write(t, f.Path, other)
	if err := f.Forget(t.Context(), sum(payload)); err != nil {
		t.Error(err)
	}
	fetched(t, f, other, "")
}

// TestESP has the partition mounted and not.
func TestESP(t *testing.T) {
	payload, _ := newPayload(t)
	other, _ := newPayload(t)
	c := computer{t, t.TempDir()}
	s := platform.ESP{Root: c.root}
	fetched(t, s, nil, "")
	c.plug("sda15", "ESP", nil)
	fetched(t, s, nil, "")
	c.plug("sda15", "ESP", map[string][]byte{"atoll.json": payload})
	fetched(t, s, payload, "")
	if err := s.Forget(t.Context(), sum(payload)); err != nil {
		t.Error(err)
	}
	fetched(t, s, nil, "is used and was deleted")

	file := filepath.Join(c.root, "boot/efi/atoll.json")
	write(t, file, other)
	fetched(t, s, other, "")
	if err := s.Forget(t.Context(), sum(payload)); err != nil {
		t.Error(err)
	}
	fetched(t, s, other, "")
	if err := s.Forget(t.Context(), sum(other)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there (%v)", err)
	}
}
