package e2e_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// secrets are what must not be found anywhere but where it belongs, by a name to report.
type secrets map[string][]byte

// addText adds a secret that is text, such as a token.
func (s secrets) addText(name, text string) { s[name] = []byte(text) }

// addKey adds a binary secret in the forms in which software writes such things down.
func (s secrets) addKey(name string, key []byte) {
	s[name+" (raw)"] = key
	s[name+" (hexadecimal)"] = []byte(hex.EncodeToString(key))
	for form, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64 for URLs": base64.RawURLEncoding} {
		s[name+" ("+form+")"] = []byte(encoding.EncodeToString(key))
		// Inside other data, the same bytes have other letters unless they begin at a multiple of three.
		for skip := 1; skip < 3; skip++ {
			inner := key[skip : skip+(len(key)-skip)/3*3]
			s[fmt.Sprintf("%s (%s, shifted by %d)", name, form, skip)] = []byte(encoding.EncodeToString(inner))
		}
	}
}

// addPEM adds a private key file: each of its lines, and the last 32 bytes, which are an Ed25519 key's seed.
func (s secrets) addPEM(t *testing.T, name string, text []byte) {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s is not PEM", name)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		// The first line of PKCS #8 and of OpenSSH's form is the same for all keys of a type; short ends say nothing.
		if len(line) >= 40 && !strings.HasPrefix(line, "-----") && !strings.HasPrefix(line, "b3BlbnNzaC1rZXktdjE") {
			s[fmt.Sprintf("%s (line %d)", name, i+1)] = []byte(line)
		}
	}
	if seed := len(block.Bytes) - 32; seed >= 0 && block.Type == "PRIVATE KEY" && len(block.Bytes) < 64 {
		s.addKey(name+", seed", block.Bytes[seed:])
	}
}

// ticketKeys match the key of any ticket at all, also of one that a run made and nobody else has seen.
var ticketKeys = regexp.MustCompile(`"?ticket_key\\*"?\s*[:=]\s*\\*"[A-Za-z0-9+/=_-]{40,}`)

// findIn returns the names of the secrets that data holds.
func (s secrets) findIn(data []byte) []string {
	var found []string
	for name, secret := range s {
		if len(secret) >= 8 && bytes.Contains(data, secret) {
			found = append(found, name)
		}
	}
	if ticketKeys.Match(data) {
		found = append(found, "a ticket's key")
	}
	slices.Sort(found)
	return found
}

// findInFile is findIn for a file; what a plan file has packed is unpacked.
func (s secrets) findInFile(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := s.findIn(data)
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return found, nil //nolint:nilerr // it is no archive
	}
	for _, packed := range archive.File {
		r, err := packed.Open()
		if err != nil {
			return found, err
		}
		data, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil {
			return found, err
		}
		found = append(found, s.findIn(data)...)
	}
	return found, nil
}

// findBelow looks through the regular files below dir and returns a line for each finding. Files and folders that do not
// pass the filter are left out.
func (s secrets) findBelow(dir string, filter func(path string, info fs.FileInfo) bool) (findings []string, files int, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreGone(err)
		}
		if passes := filter == nil || path == dir || filter(path, info); entry.IsDir() {
			if !passes {
				return fs.SkipDir
			}
			return nil
		} else if !passes || !entry.Type().IsRegular() {
			return nil
		}
		files++
		found, err := s.findInFile(path)
		for _, name := range found {
			findings = append(findings, path+": "+name)
		}
		return ignoreGone(err)
	})
	return findings, files, err
}

// ignoreGone lets a file vanish while others are being read.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// readableByOthers passes files that somebody without rights can read and folders that he can enter.
func readableByOthers(_ string, info fs.FileInfo) bool {
	if info.IsDir() {
		return info.Mode().Perm()&0o001 != 0
	}
	return info.Mode().Perm()&0o004 != 0
}

// TestSecretsAreFound proves that the search of the end-to-end tests can find what it looks for.
func TestSecretsAreFound(t *testing.T) {
	seed := []byte("0123456789abcdef0123456789ABCDEF")
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: append([]byte("0\x2e\x02\x01\x000\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"), seed...)})
	s := secrets{}
	s.addText("the token", "token-0123456789")
	s.addPEM(t, "the key", key)

	plan := &bytes.Buffer{}
	archive := zip.NewWriter(plan)
	packed, err := archive.Create("tfplan")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := packed.Write(seed); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	for name, planted := range map[string][]byte{
		"text in a line":   []byte("Authorization: Bearer token-0123456789\n"),
		"key file":         append([]byte("x"), key...),
		"seed, raw":        append([]byte{0}, seed...),
		"seed, hex":        []byte(hex.EncodeToString(seed)),
		"seed, base64":     []byte(`"` + base64.StdEncoding.EncodeToString(seed) + `"`),
		"seed within":      []byte(base64.StdEncoding.EncodeToString(append([]byte("x"), seed...))),
		"packed in a plan": plan.Bytes(),
		"unknown ticket":   []byte(`{"ticket_key":"` + base64.StdEncoding.EncodeToString([]byte("another key that nobody has seen")) + `"}`),
		"escaped ticket":   []byte(`"{\"ticket_key\":\"` + base64.StdEncoding.EncodeToString([]byte("another key that nobody has seen")) + `\"}"`),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "file"), planted, 0o644); err != nil { //nolint:gosec // readable on purpose
				t.Fatal(err)
			}
			found, files, err := s.findBelow(dir, readableByOthers)
			if err != nil || files != 1 || len(found) == 0 {
				t.Errorf("got findings %q in %d files, error %v; want at least one finding", found, files, err)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		if found := s.findIn([]byte("ticket_key is missing, token-0, 0123456789abcdef")); len(found) != 0 {
			t.Errorf("got %q, want none", found)
		}
	})
}
