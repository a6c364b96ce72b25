package trust_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func identity(t *testing.T) *trust.Identity {
	t.Helper()
	id, err := trust.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSealIsForOneIdentity(t *testing.T) {
	const token = "a-token-nobody-may-see"
	mine, other := identity(t), identity(t)
	sealed, err := trust.Seal(mine.Public(), token)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := trust.Seal(mine.Public(), token); err != nil || again == sealed {
		t.Errorf("sealing twice gives the same text (%v)", err)
	}
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || strings.Contains(string(raw), token) {
		t.Errorf("the sealed text shows the token, or is no base64 (%v)", err)
	}
	// A node reads its identity from the disk at each start.
	pem, err := mine.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	read, err := trust.ParseIdentity(pem)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read.Open(sealed); err != nil || got != token {
		t.Errorf("opened %d characters, error %v", len(got), err)
	}
	if got, err := other.Open(sealed); !errors.Is(err, trust.ErrSealedForOther) || got != "" {
		t.Errorf("another identity gets error %v", err)
	}
}

func TestSealRefuses(t *testing.T) {
	id := identity(t)
	sealed, err := trust.Seal(id.Public(), "secret-content")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	for name, text := range map[string]string{
		"nothing": "", "no base64": "!", "no age": base64.StdEncoding.EncodeToString([]byte("secret-content")), "cut": sealed[:len(sealed)-8],
		"changed": base64.StdEncoding.EncodeToString(raw),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := id.Open(text)
			var refusal *trust.Refusal
			if !errors.As(err, &refusal) || refusal.Reason != trust.ReasonMalformed {
				t.Errorf("error %v", err)
			}
			if strings.Contains(fmt.Sprint(err), "secret-content") {
				t.Errorf("the error quotes the secret: %v", err)
			}
		})
	}
	if _, err := trust.Seal(trust.PublicKey{}, "x"); err == nil {
		t.Error("sealed to no key")
	}
	if _, err := trust.Seal(id.Public(), strings.Repeat("x", 65<<10)); err == nil {
		t.Error("sealed more than can be opened")
	}
}
