package trust

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

const publicKeyPrefix = "ed25519:"

// PublicKey is an Ed25519 public key. It is comparable; the zero value is no key.
type PublicKey [ed25519.PublicKeySize]byte

// ParsePublicKey reads the form that String writes.
func ParsePublicKey(s string) (PublicKey, error) {
	var k PublicKey
	encoded, ok := strings.CutPrefix(s, publicKeyPrefix)
	if !ok {
		return k, refuse(ReasonMalformed, "public key", fmt.Sprintf("%q does not begin with %q", s, publicKeyPrefix))
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != len(k) {
		return k, refuse(ReasonMalformed, "public key", fmt.Sprintf("%q is not %q and 32 bytes in base64", s, publicKeyPrefix))
	}
	copy(k[:], raw)
	return k, nil
}

// IsZero tells whether k is no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// String returns "ed25519:" and the key in base64.
func (k PublicKey) String() string { return publicKeyPrefix + base64.StdEncoding.EncodeToString(k[:]) }

// Fingerprint returns "SHA256:" and the hash of the key in unpadded base64, short enough to compare by eye.
func (k PublicKey) Fingerprint() string {
	sum := sha256.Sum256(k[:])
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// MarshalText returns the same form as String; the zero key is empty text.
func (k PublicKey) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, nil
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads the form that MarshalText writes.
func (k *PublicKey) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = PublicKey{}
		return nil
	}
	parsed, err := ParsePublicKey(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}

func publicKeyFrom(k ed25519.PublicKey) PublicKey {
	var out PublicKey
	copy(out[:], k)
	return out
}
