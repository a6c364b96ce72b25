package trust_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestSecretsDoNotPrint shows every secret in every way that a careless line of code would, also inside another value.
func TestSecretsDoNotPrint(t *testing.T) {
	op := newOperator(t, "web")
	id := newIdentity(t)
	issued := op.ticket("hk1")
	type hiding struct {
		Key      *trust.SigningKey
		ID       trust.Identity
		private  trust.SigningKey
		identity *trust.Identity
	}
	signingPEM, err := op.key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	identityPEM, err := id.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		value  any
		secret [][]byte
	}{
		{"signing key", op.key, [][]byte{seed(t, signingPEM)}},
		{"signing key by value", *op.key, [][]byte{seed(t, signingPEM)}},
		{"identity", id, [][]byte{seed(t, identityPEM)}},
		{"identity by value", *id, [][]byte{seed(t, identityPEM)}},
		{"ticket key", issued.Key, [][]byte{issued.Key}},
		{"issued ticket", issued, [][]byte{issued.Key}},
		{"issued ticket by value", *issued, [][]byte{issued.Key}},
		{"inside a struct", hiding{op.key, *id, *op.key, id}, [][]byte{seed(t, signingPEM), seed(t, identityPEM)}},
		{"inside a slice", []any{op.key, *id, issued}, [][]byte{seed(t, signingPEM), seed(t, identityPEM), issued.Key}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%T"} {
				fmt.Fprintf(&out, verb+"\n", tt.value)
			}
			fmt.Fprintln(&out, tt.value)
			for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
				slog.New(h).Info("shown", "value", tt.value)
			}
			data, err := json.Marshal(tt.value)
			if err != nil {
				t.Fatalf("json: %v", err)
			}
			out.Write(data)
			for _, secret := range tt.secret {
				for form, text := range formsOf(secret) {
					if strings.Contains(out.String(), text) {
						t.Errorf("the output holds the secret as %s:\n%s", form, out.String())
					}
				}
			}
			if !strings.Contains(out.String(), "[redacted]") {
				t.Errorf("the output does not say that something is redacted:\n%s", out.String())
			}
		})
	}
}

// formsOf returns how a secret's first bytes would look in output.
func formsOf(secret []byte) map[string]string {
	const n = 9 // a multiple of three, so that base64 of the beginning is the beginning of base64
	decimal := strings.Trim(fmt.Sprintf("%d", secret[:n]), "[]")
	return map[string]string{
		"raw":        string(secret[:n]),
		"base64":     base64.StdEncoding.EncodeToString(secret[:n]),
		"hex":        hex.EncodeToString(secret[:n]),
		"upper hex":  strings.ToUpper(hex.EncodeToString(secret[:n])),
		"decimal":    decimal,
		"go syntax":  strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret[:n]), "[]byte{"), "}"),
		"with comma": strings.ReplaceAll(decimal, " ", ","),
	}
}
