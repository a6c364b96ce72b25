package platform_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

func compress(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func cloudConfig(t *testing.T, payload []byte) []byte {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, payload, "  ", "  "); err != nil {
		t.Fatal(err)
	}
	// JSON is YAML, so this is how a payload is put into a cloud-config by hand.
	return []byte("#cloud-config\npackages: [tinc]\natoll:\n  " + indented.String() + "\n")
}

// multiPart returns user-data as Terraform's cloudinit provider makes it: a script and content.
func multiPart(content []byte, encoded bool) []byte {
	header, text := "Content-Transfer-Encoding: 7bit", string(content)
	if encoded {
		header, text = "Content-Transfer-Encoding: base64", base64.StdEncoding.EncodeToString(content)
	}
	return []byte("Content-Type: multipart/mixed; boundary=\"MIMEBOUNDARY\"\nMIME-Version: 1.0\r\n\r\n" +
		"--MIMEBOUNDARY\r\nContent-Type: text/x-shellscript\r\n\r\n#!/bin/sh\n\r\n" +
		"--MIMEBOUNDARY\r\n" + header + "\r\nContent-Type: text/cloud-config\r\n\r\n" + text + "\r\n--MIMEBOUNDARY--\r\n")
}

func TestExtract(t *testing.T) {
	payload, _ := newPayload(t)
	tests := []struct {
		name  string
		in    []byte
		found bool
		fails string
	}{
		{"bare", payload, true, ""},
		{"bare with space around", append([]byte("\n "), append(payload, '\n')...), true, ""},
		{"compressed", compress(t, payload), true, ""},
		{"cloud-config", cloudConfig(t, payload), true, ""},
		{"compressed cloud-config", compress(t, cloudConfig(t, payload)), true, ""},
		{"a template", append([]byte("## template: jinja\n"), cloudConfig(t, payload)...), true, ""},
		{"a part", multiPart(payload, false), true, ""},
		{"a part in base64", multiPart(cloudConfig(t, payload), true), true, ""},
		{"a compressed message", compress(t, multiPart(compress(t, payload), true)), true, ""},
		{"somebody's message", multiPart([]byte("#cloud-config\n{}\n"), false), false, ""},
		{"a message in one part", []byte("Content-Type: text/cloud-config\n\n#cloud-config\n"), false, ""},
		{"a message that is cut off", multiPart(payload, false)[:300], false, "cut off"},
		{"nothing", nil, false, ""},
		{"somebody's script", []byte("#!/bin/sh\necho hello\n"), false, ""},
		{"somebody's cloud-config", []byte("#cloud-config\npackages: [nginx]\n"), false, ""},
		{"somebody's JSON", []byte(`{"ignition":{"version":"3.4.0"}}`), false, ""},
		{"cut off", payload[:len(payload)-10], false, "cut off"},
		{"cloud-config that is no YAML", []byte("#cloud-config\natoll: {\n"), false, "no valid YAML"},
		{"cloud-config with a text", []byte("#cloud-config\natoll: hello\n"), false, "no mapping"},
		{"damaged compression", compress(t, payload)[:40], false, "decompress"},
		{"a bomb", compress(t, bytes.Repeat([]byte(" "), 100*platform.MaxPayload)), false, "bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, found, err := platform.Extract(tt.in)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("got error %v, want one with %q", err, tt.fails)
				}
				return
			}
			if err != nil || found != tt.found {
				t.Fatalf("got found %v and error %v, want found %v", found, err, tt.found)
			}
			if !found {
				return
			}
			want, err := platform.ParsePayload(payload)
			if err != nil {
				t.Fatal(err)
			}
			got, err := platform.ParsePayload(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("payload changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFile(t *testing.T) {
	payload, _ := newPayload(t)
	path := filepath.Join(t.TempDir(), "first-boot.json")
	f := platform.File{Path: path}
	if _, found, err := f.Fetch(t.Context()); found || err != nil {
		t.Errorf("no file: got found %v and error %v, want neither", found, err)
	}
	if err := os.WriteFile(path, payload, 0o600); err != nil {
		t.Fatal(err)
	}
	got, found, err := f.Fetch(t.Context())
	if err != nil || !found || string(got) != string(payload) {
		t.Errorf("got found %v, error %v and the same content %v, want it back", found, err, string(got) == string(payload))
	}
	for range 2 {
		if err := f.Forget(t.Context(), sum(payload)); err != nil {
			t.Errorf("forget: %v", err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there (%v)", err)
	}
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Fetch(t.Context()); err == nil {
		t.Error("a file without a payload gave no error")
	}
}

// metadata is Linode's metadata service as VENDOR documentation describes it.
type metadata struct {
	userData []byte
	// fail makes the first requests fail with this status.
	fail     int
	failures atomic.Int32
	puts     atomic.Int32
}

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.failures.Add(-1) >= 0 {
		w.WriteHeader(m.fail)
		return
	}
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/v1/token" && r.Header.Get("Metadata-Token-Expiry-Seconds") != "":
		m.puts.Add(1)
		_, _ = w.Write([]byte("tok\n"))
	case r.Header.Get("Metadata-Token") != "tok":
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet && r.URL.Path == "/v1/user-data" && m.userData != nil:
		_, _ = w.Write([]byte(base64.StdEncoding.EncodeToString(m.userData)))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestLinode(t *testing.T) {
	payload, _ := newPayload(t)
	tests := []struct {
		name     string
		userData []byte
		fail     int
		failures int32
		found    bool
		fails    string
	}{
		{"user-data", payload, 0, 0, true, ""},
		{"compressed", compress(t, payload), 0, 0, true, ""},
		{"cloud-config", cloudConfig(t, payload), 0, 0, true, ""},
		{"none", nil, 0, 0, false, ""},
		{"somebody else's", []byte("#!/bin/sh\n"), 0, 0, false, ""},
		{"after failures", payload, http.StatusServiceUnavailable, 2, true, ""},
		{"after too many requests", payload, http.StatusTooManyRequests, 1, true, ""},
		{"forbidden", payload, http.StatusForbidden, 100, false, "403"},
		{"always failing", payload, http.StatusInternalServerError, 1 << 20, false, "500"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := &metadata{userData: tt.userData, fail: tt.fail}
			m.failures.Store(tt.failures)
			server := httptest.NewServer(m)
			defer server.Close()
			data, found, err := platform.Linode{URLs: []string{server.URL}, Patience: time.Second}.Fetch(t.Context())
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("got error %v, want one with %q", err, tt.fails)
				}
				return
			}
			if err != nil || found != tt.found {
				t.Fatalf("got found %v and error %v, want found %v", found, err, tt.found)
			}
			if found {
				if _, err := platform.ParsePayload(data); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestLinodeTriesTheSecondAddress(t *testing.T) {
	payload, _ := newPayload(t)
	m := &metadata{userData: payload}
	server := httptest.NewServer(m)
	defer server.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, found, err := platform.Linode{URLs: []string{gone.URL, server.URL}, Patience: time.Second}.Fetch(t.Context())
	if err != nil || !found {
		t.Errorf("got found %v and error %v, want the user-data of the second address", found, err)
	}
}

// TestLinodeSaysBothInOneLine: a console message has one.
func TestLinodeSaysBothInOneLine(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	urls := []string{gone.URL + "/a", gone.URL + "/b"}
	_, _, err := platform.Linode{URLs: urls, Patience: time.Millisecond}.Fetch(t.Context())
	if err == nil {
		t.Fatal("got no error")
	}
	first, second := strings.Index(err.Error(), "/a/v1"), strings.Index(err.Error(), "/b/v1")
	if strings.Contains(err.Error(), "\n") || first < 0 || second < first {
		t.Errorf("got error %q, want both addresses in their order and in one line", err)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the cause of %q is lost", err)
	}
}

func TestMachineSources(t *testing.T) {
	// The order is a contract: what somebody gave this machine on purpose comes before what is merely around it.
	common := []string{
		"file /etc/atoll/first-boot.json", "systemd credential atoll.first-boot", "kernel command line",
		"seed volume ATOLL", "seed volume CIDATA", "EFI system partition, atoll.json",
	}
	onLinode := append(slices.Clone(common), "Linode metadata")
	tests := []struct {
		name  string
		files map[string]string
		want  []string
		fails bool
	}{
		{"nothing", nil, common, false},
		{"Akamai", map[string]string{"sys/class/dmi/id/sys_vendor": "Akamai\n"}, onLinode, false},
		{"Linode", map[string]string{"sys/class/dmi/id/sys_vendor": "Linode\n"}, onLinode, false},
		{"another vendor", map[string]string{"sys/class/dmi/id/sys_vendor": "Dell Inc.\n"}, common, false},
		{"named", map[string]string{"etc/atoll/platform": "linode\n"}, onLinode, false},
		{"named none on a Linode", map[string]string{"etc/atoll/platform": "none", "sys/class/dmi/id/sys_vendor": "Linode"}, common, false},
		{"unknown name", map[string]string{"etc/atoll/platform": "mars"}, common, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for path, content := range tt.files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			sources, err := platform.Machine{Root: root}.Sources()
			if (err != nil) != tt.fails {
				t.Errorf("got error %v, want one: %v", err, tt.fails)
			}
			var got []string
			for _, s := range sources {
				got = append(got, strings.Replace(s.Name(), root, "", 1))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sources (-want +got):\n%s", diff)
			}
		})
	}
}

// memory is a source for tests.
type memory struct {
	name string
	data []byte
	err  error
}

func (m memory) Name() string { return m.name }

func (m memory) Fetch(context.Context) ([]byte, bool, error) { return m.data, m.data != nil, m.err }

func (m memory) Forget(context.Context, string) error { return nil }

func TestLook(t *testing.T) {
	payload, ticket := newPayload(t)
	found, findings := platform.Look(t.Context(), []platform.Source{
		memory{name: "empty"},
		memory{name: "broken", err: errors.New("no route")},
		memory{name: "wrong", data: []byte(`{"atoll":1,"x":2}`)},
		memory{name: "good", data: payload},
		memory{name: "never looked at", data: payload},
	})
	if found == nil || found.Source.Name() != "good" || found.Payload.Node != "hk1" {
		t.Fatalf("got %v, want the payload of source good", found)
	}
	if len(findings) != 4 {
		t.Fatalf("got %d findings, want 4", len(findings))
	}
	if f := findings[0]; f != (platform.Finding{Source: "empty"}) {
		t.Errorf("empty: got %v", f)
	}
	if f := findings[1]; f.Problem != "no route" {
		t.Errorf("broken: got %v", f)
	}
	if f := findings[2]; !strings.Contains(f.Problem, `"x"`) || f.SHA256 == "" {
		t.Errorf("wrong: got %v, want the key named and a checksum", f)
	}
	if f := findings[3]; f.SHA256 != found.SHA256 || f.Problem != "" {
		t.Errorf("good: got %v", f)
	}
	text, err := json.Marshal(findings)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), base64.StdEncoding.EncodeToString(ticket.Key)) {
		t.Error("the findings show the secret")
	}
}
