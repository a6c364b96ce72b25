package trust

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// secret is a private key that no printing shows. The key sits behind a function because fmt cannot call the methods of
// unexported fields and would print the bytes of a value, and with a verb that does not fit follows pointers too.
type secret struct{ key func() ed25519.PrivateKey }

func hide(key ed25519.PrivateKey) secret {
	return secret{func() ed25519.PrivateKey { return key }}
}

func newSecret() (secret, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return secret{}, fmt.Errorf("make a key: %w", err)
	}
	return hide(key), nil
}

func parseSecret(subject string, data []byte) (secret, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return secret{}, refuse(ReasonMalformed, subject, "is not PEM; it begins with -----BEGIN PRIVATE KEY-----")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return secret{}, refuse(ReasonMalformed, subject, "holds more than one key; keep one")
	}
	// The parser's error is left out: it could quote the key.
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return secret{}, refuse(ReasonMalformed, subject, "is not an unencrypted PKCS#8 private key")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return secret{}, refuse(ReasonMalformed, subject, fmt.Sprintf("is a %T, not an Ed25519 key", parsed))
	}
	return hide(key), nil
}

func (s secret) marshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.key())
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func (s secret) public() PublicKey {
	key, ok := s.key().Public().(ed25519.PublicKey)
	if !ok {
		return PublicKey{}
	}
	return publicKeyFrom(key)
}

func (s secret) signer() crypto.Signer { return s.key() }

// TicketKey is the private half of a ticket, an Ed25519 seed. It prints as "[redacted]" and refuses to become JSON by
// accident; convert it to []byte to put it into first-boot data.
type TicketKey []byte

// Format prints that the key is redacted, whatever the verb.
func (TicketKey) Format(f fmt.State, _ rune) { printRedacted(f) }

// LogValue keeps the key out of logs.
func (TicketKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON keeps the key out of JSON.
func (TicketKey) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// String returns that the key is redacted.
func (TicketKey) String() string { return redacted }

// GoString returns that the key is redacted.
func (TicketKey) GoString() string { return redacted }

func printRedacted(f fmt.State) {
	// A fmt.State never fails to write; its owner reports what the final writer says.
	_, _ = io.WriteString(f, redacted)
}
