package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// The environment variables that name the signing key: the key itself in PEM, or the path of a file that holds it.
const (
	EnvSigningKey     = "ATOLL_SIGNING_KEY"
	EnvSigningKeyFile = "ATOLL_SIGNING_KEY_FILE"
)

// ErrNoSigningKey is returned when the environment names no signing key.
var ErrNoSigningKey = errors.New("no signing key: set " + EnvSigningKey + " or " + EnvSigningKeyFile +
	" (make one with `atoll key new`)")

// SigningKey is the operator's private key, the root of all trust in one cluster. It prints as "[redacted]". Safe for
// concurrent use.
type SigningKey struct{ secret secret }

// NewSigningKey makes a signing key.
func NewSigningKey() (*SigningKey, error) {
	s, err := newSecret()
	if err != nil {
		return nil, err
	}
	return &SigningKey{s}, nil
}

// ParseSigningKey reads a signing key from PEM (PKCS#8, not encrypted). Errors never quote the key.
func ParseSigningKey(pem []byte) (*SigningKey, error) {
	s, err := parseSecret("signing key", pem)
	if err != nil {
		return nil, err
	}
	return &SigningKey{s}, nil
}

// SigningKeyFromEnvironment reads the signing key that the environment names, ErrNoSigningKey when it names none.
func SigningKeyFromEnvironment(getenv func(string) string) (*SigningKey, error) {
	inline, path := getenv(EnvSigningKey), getenv(EnvSigningKeyFile)
	switch {
	case inline != "" && path != "":
		return nil, refuse(ReasonMalformed, "signing key", "both "+EnvSigningKey+" and "+EnvSigningKeyFile+" are set; unset one")
	case inline != "":
		return ParseSigningKey([]byte(inline))
	case path != "":
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the signing key named by %s: %w", EnvSigningKeyFile, err)
		}
		return ParseSigningKey(data)
	default:
		return nil, ErrNoSigningKey
	}
}

// MarshalPEM returns the key in PEM (PKCS#8), for a file that only its owner reads.
func (k *SigningKey) MarshalPEM() ([]byte, error) { return k.secret.marshalPEM() }

// Public returns the public half.
func (k *SigningKey) Public() PublicKey { return k.secret.public() }

// Format prints that the key is redacted, whatever the verb.
func (SigningKey) Format(f fmt.State, _ rune) { printRedacted(f) }

// LogValue keeps the key out of logs.
func (SigningKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON keeps the key out of JSON.
func (SigningKey) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// String returns that the key is redacted.
func (SigningKey) String() string { return redacted }

// GoString returns that the key is redacted.
func (SigningKey) GoString() string { return redacted }
