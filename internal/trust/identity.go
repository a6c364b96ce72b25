package trust

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// Identity is a node's private key, made on the node, which it never leaves. It prints as "[redacted]". Safe for
// concurrent use.
type Identity struct{ secret secret }

// NewIdentity makes an identity.
func NewIdentity() (*Identity, error) {
	s, err := newSecret()
	if err != nil {
		return nil, err
	}
	return &Identity{s}, nil
}

// ParseIdentity reads an identity from PEM (PKCS#8). Errors never quote the key.
func ParseIdentity(pem []byte) (*Identity, error) {
	s, err := parseSecret("identity", pem)
	if err != nil {
		return nil, err
	}
	return &Identity{s}, nil
}

// MarshalPEM returns the key in PEM (PKCS#8), for a file that only root reads.
func (i *Identity) MarshalPEM() ([]byte, error) { return i.secret.marshalPEM() }

// Public returns the public half.
func (i *Identity) Public() PublicKey { return i.secret.public() }

// Format prints that the key is redacted, whatever the verb.
func (Identity) Format(f fmt.State, _ rune) { printRedacted(f) }

// LogValue keeps the key out of logs.
func (Identity) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON keeps the key out of JSON.
func (Identity) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// String returns that the key is redacted.
func (Identity) String() string { return redacted }

// GoString returns that the key is redacted.
func (Identity) GoString() string { return redacted }
