package trust_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func TestSigningKeyRoundTrip(t *testing.T) {
	op := newOperator(t, "web")
	data, err := op.key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := trust.ParseSigningKey(data)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Public(), op.key.Public(); got != want {
		t.Errorf("public key = %s, want %s", got, want)
	}
	id := newIdentity(t)
	if data, err = id.MarshalPEM(); err != nil {
		t.Fatal(err)
	}
	idAgain, err := trust.ParseIdentity(data)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := idAgain.Public(), id.Public(); got != want {
		t.Errorf("identity = %s, want %s", got, want)
	}
}

func TestParseSigningKeyRefuses(t *testing.T) {
	good, err := newOperator(t, "web").key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		in   string
		want string
	}{
		{"empty", "", "not PEM"},
		{"not PEM", "hunter2 is my password", "not PEM"},
		{"two keys", string(good) + string(good), "more than one"},
		{"cut short", string(good[:60]) + "\n-----END PRIVATE KEY-----\n", "is not"},
		{"another algorithm", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "not an Ed25519 key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := trust.ParseSigningKey([]byte(tt.in))
			if got, want := trust.ReasonOf(err), trust.ReasonMalformed; got != want {
				t.Fatalf("reason = %q (%v), want %q", got, err, want)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q quotes the key", err)
			}
		})
	}
}

func TestSigningKeyFromEnvironment(t *testing.T) {
	op := newOperator(t, "web")
	data, err := op.key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		env  map[string]string
		want error
	}{
		{"the key itself", map[string]string{trust.EnvSigningKey: string(data)}, nil},
		{"a file", map[string]string{trust.EnvSigningKeyFile: path}, nil},
		{"nothing", nil, trust.ErrNoSigningKey},
		{"a file that is missing", map[string]string{trust.EnvSigningKeyFile: path + ".gone"}, fs.ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := trust.SigningKeyFromEnvironment(func(name string) string { return tt.env[name] })
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if err == nil && k.Public() != op.key.Public() {
				t.Errorf("public key = %s, want %s", k.Public(), op.key.Public())
			}
		})
	}
	if _, err := trust.SigningKeyFromEnvironment(func(string) string { return "both" }); trust.ReasonOf(err) != trust.ReasonMalformed {
		t.Errorf("both variables set: error = %v, want a refusal", err)
	}
}

func TestPublicKeyText(t *testing.T) {
	k := newOperator(t, "web").key.Public()
	data, err := json.Marshal(map[string]trust.PublicKey{"k": k, "none": {}})
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]trust.PublicKey
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back["k"] != k || !back["none"].IsZero() {
		t.Errorf("read back %v from %s", back, data)
	}
	text := k.String()
	for _, bad := range []string{"", text[8:], "ed25519:", text + "AAAA", text[:len(text)-1], "rsa:" + text[8:], strings.ToUpper(text)} {
		if _, err := trust.ParsePublicKey(bad); trust.ReasonOf(err) != trust.ReasonMalformed {
			t.Errorf("ParsePublicKey(%q) = %v, want a refusal", bad, err)
		}
	}
	if fp := k.Fingerprint(); !strings.HasPrefix(fp, "SHA256:") || len(fp) != 7+43 {
		t.Errorf("fingerprint %q is not SHA256: and 43 characters", fp)
	}
}
