package trust

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
)

// DatabaseKey is what the members of one database share: secrets in the database's object are sealed to it, and the
// passwords of the accounts between members follow from it. The operator's software derives it from the signing key whenever
// it needs it, so that it is kept nowhere, and seals it to the identity of each member. It prints as "[redacted]". Safe for
// concurrent use.
type DatabaseKey struct{ identity Identity }

// DatabaseKeyOf returns the key of the database whose group has this UUID, by HKDF with SHA-256 (RFC 5869). A group's UUID is
// never used again, so a database that is made anew under an old name has another key.
func DatabaseKeyOf(k *SigningKey, cluster, database, group string) (*DatabaseKey, error) {
	seed, err := hkdf.Key(sha256.New, k.secret.key().Seed(), nil, "atoll database key/"+cluster+"/"+database+"/"+group, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive the key of database %q: %w", database, err)
	}
	return databaseKeyFrom(seed), nil
}

func databaseKeyFrom(seed []byte) *DatabaseKey {
	return &DatabaseKey{Identity{hide(ed25519.NewKeyFromSeed(seed))}}
}

// SealTo returns the key in a form that only the node with this identity can open.
func (k *DatabaseKey) SealTo(member PublicKey) (string, error) {
	return Seal(member, base64.StdEncoding.EncodeToString(k.identity.secret.key().Seed()))
}

// OpenDatabaseKey opens what SealTo made for this identity, with the errors of Open.
func (i *Identity) OpenDatabaseKey(sealed string) (*DatabaseKey, error) {
	text, err := i.Open(sealed)
	if err != nil {
		return nil, err
	}
	seed, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, refuse(ReasonMalformed, "database key", "is none")
	}
	return databaseKeyFrom(seed), nil
}

// Public returns the half that secrets are sealed to, with Seal.
func (k *DatabaseKey) Public() PublicKey { return k.identity.Public() }

// Open decrypts what was sealed to the key, with the errors of Identity.Open.
func (k *DatabaseKey) Open(sealed string) (string, error) { return k.identity.Open(sealed) }

// Password returns the password of one of the database's own accounts, the same at every member: 43 characters without any
// that need quotes.
func (k *DatabaseKey) Password(account string) (string, error) {
	password, err := hkdf.Key(sha256.New, k.identity.secret.key().Seed(), nil, "atoll database account/"+account, 32)
	if err != nil {
		return "", fmt.Errorf("derive the password of %s: %w", account, err)
	}
	return base64.RawURLEncoding.EncodeToString(password), nil
}

// Format prints that the key is redacted, whatever the verb.
func (DatabaseKey) Format(f fmt.State, _ rune) { printRedacted(f) }

// LogValue keeps the key out of logs.
func (DatabaseKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON keeps the key out of JSON.
func (DatabaseKey) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// String returns that the key is redacted.
func (DatabaseKey) String() string { return redacted }

// GoString returns that the key is redacted.
func (DatabaseKey) GoString() string { return redacted }
