//go:build unix

package store_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// signer signs what this version would not.
type signer struct {
	key ed25519.PrivateKey
	id  string
}

func (s signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(s.key, data), nil
}
func (s signer) KeyID() (string, error) { return s.id, nil }

// ofNewer returns the content of a record's file that an Atoll of the next wire version wrote.
func (o operator) ofNewer(t *testing.T, file string) []byte {
	t.Helper()
	var content struct {
		Record store.Record `json:"record"`
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &content); err != nil {
		t.Fatal(err)
	}
	var payload map[string]any
	if err := json.Unmarshal(trust.Payload(*content.Record.Object), &payload); err != nil {
		t.Fatal(err)
	}
	payload["wire"], payload["flavour"] = spec.WireVersion+1, "new"
	if data, err = json.Marshal(payload); err != nil {
		t.Fatal(err)
	}
	text, err := o.key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		t.Fatalf("the signing key is a %T", key)
	}
	s, err := dsse.NewEnvelopeSigner(signer{private, o.key.Public().Fingerprint()})
	if err != nil {
		t.Fatal(err)
	}
	if content.Record.Object, err = s.SignPayload(t.Context(), trust.PayloadObject, data); err != nil {
		t.Fatal(err)
	}
	if data, err = json.Marshal(content); err != nil {
		t.Fatal(err)
	}
	return data
}

// TestDowngrade has a record that a newer Atoll wrote: it is reported and kept through restarts and through a record of the
// same key that this version takes.
func TestDowngrade(t *testing.T) {
	op := newOperator(t)
	dir := filled(t, op)
	path := filepath.Join(dir, "node.n1.json")
	written := op.ofNewer(t, path)
	if err := os.WriteFile(path, written, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		look, err := store.Open(dir, op.root(), store.Options{Now: noon, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		s := op.open(t, dir)
		for _, snap := range []*store.Snapshot{look.Snapshot(), s.Snapshot()} {
			if len(snap.Damaged) != 1 || !strings.HasPrefix(snap.Damaged[0], "node.n1.json: ") || !strings.Contains(snap.Damaged[0], "wire version") {
				t.Errorf("start %d: damaged = %q, want node.n1.json and its wire version", i, snap.Damaged)
			}
		}
		merge(t, s, []store.Record{op.node("n1", at(i), "hk", trust.PublicKey{})}, store.Accepted)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile(path + ".newer")
		if err != nil || string(kept) != string(written) {
			t.Fatalf("start %d: the record of the newer version is not kept as it was (%v)", i, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "quarantine")); !os.IsNotExist(err) {
		t.Errorf("something is in quarantine (%v)", err)
	}
}

// TestUpgradeAgain finds a record that was kept for this version: it counts by its generation, as if it had just come.
func TestUpgradeAgain(t *testing.T) {
	op := newOperator(t)
	tests := []struct {
		name       string
		generation uint64
		alone      bool
		want       uint64
	}{
		{"alone", at(1), true, at(1)},
		{"newer than what came meanwhile", at(3), false, at(3)},
		{"older than what came meanwhile", at(1), false, at(2)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			path := filepath.Join(dir, "node.n1.json")
			s := op.open(t, dir)
			merge(t, s, []store.Record{op.node("n1", tt.generation, "hk", trust.PublicKey{})}, store.Accepted)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path, path+".newer"); err != nil {
				t.Fatal(err)
			}
			if !tt.alone {
				// Made elsewhere, so that nothing looks at what is kept here.
				other := filepath.Join(t.TempDir(), "store")
				s = op.open(t, other)
				merge(t, s, []store.Record{op.node("n1", at(2), "hk", trust.PublicKey{})}, store.Accepted)
				if err := os.Rename(filepath.Join(other, "node.n1.json"), path); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 2 {
				s = op.open(t, dir)
				if got := s.Snapshot(); got.Generations[ref(spec.KindNode, "n1")] != tt.want || len(got.Damaged) > 0 {
					t.Errorf("start %d: generations %v, damaged %q, want generation %d", i, got.Generations, got.Damaged, tt.want)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			found, err := filepath.Glob(filepath.Join(dir, "[a-z]*"))
			if diff := cmp.Diff([]string{path}, found); diff != "" || err != nil {
				t.Errorf("files (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

// TestQuarantineIsBounded has many files in quarantine from earlier starts: the newest stay, and whatever one start finds is
// kept whole.
func TestQuarantineIsBounded(t *testing.T) {
	op := newOperator(t)
	dir := filled(t, op)
	quarantine := filepath.Join(dir, "quarantine")
	if err := os.MkdirAll(quarantine, 0o700); err != nil {
		t.Fatal(err)
	}
	var last time.Time
	for i := range 20 {
		// The names go against the time, and the time of the content says nothing.
		path := filepath.Join(quarantine, fmt.Sprintf("node.n%02d.json", 99-i))
		writeLater(t, path, last)
		old := noon().Add(-time.Duration(i) * time.Hour)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		last = changed(t, path)
	}
	const spoilt = 18
	for i := range spoilt {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("link.a%d.b.json", i)), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := op.open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	earlier, err := filepath.Glob(filepath.Join(quarantine, "node.*"))
	if err != nil || len(earlier) != 16 || filepath.Base(earlier[15]) != "node.n95.json" {
		t.Errorf("of earlier starts there are %v (%v), want the 16 newest, n80 to n95", earlier, err)
	}
	now, err := filepath.Glob(filepath.Join(quarantine, "link.*"))
	if err != nil || len(now) != spoilt {
		t.Errorf("of this start there are %d files (%v), want all %d", len(now), err, spoilt)
	}
}

// writeLater makes a file that the file system dates after a time: its clock is coarser than the machine's.
func writeLater(t *testing.T, path string, after time.Time) {
	t.Helper()
	for {
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		if changed(t, path).After(after) {
			return
		}
	}
}

// changed returns when the inode of a file was last changed.
func changed(t *testing.T, path string) time.Time {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return time.Unix(st.Ctim.Unix())
}
