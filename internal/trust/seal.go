package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
)

// maxSealed bounds what Open decrypts, in bytes: what is sealed are tokens and keys.
const maxSealed = 64 << 10

// ErrSealedForOther is returned when something is opened by an identity that it was not sealed to: the node was made again
// since, or the text belongs to another node.
var ErrSealedForOther = errors.New("it is sealed to another identity")

// Seal encrypts plaintext so that only the node with this identity can read it, and returns it as text. Sealing the same
// twice gives two texts. It says nothing of who sealed it: put it into a signed object. The form is age's, to the identity as
// an SSH key (age-encryption.org/v1), in base64.
func Seal(to PublicKey, plaintext string) (string, error) {
	if to.IsZero() {
		return "", refuse(ReasonMalformed, "identity", "is missing, so nothing can be sealed to it")
	}
	if len(plaintext) > maxSealed {
		return "", refuse(ReasonMalformed, "text", fmt.Sprintf("has %d bytes, more than the %d that can be sealed", len(plaintext), maxSealed))
	}
	key, err := ssh.NewPublicKey(ed25519.PublicKey(to[:]))
	if err != nil {
		return "", fmt.Errorf("seal to %s: %w", to.Fingerprint(), err)
	}
	recipient, err := agessh.NewEd25519Recipient(key)
	if err != nil {
		return "", fmt.Errorf("seal to %s: %w", to.Fingerprint(), err)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipient)
	if err == nil {
		_, err = io.WriteString(w, plaintext)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return "", fmt.Errorf("seal to %s: %w", to.Fingerprint(), err)
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// Open decrypts what Seal made for this identity. It fails with ErrSealedForOther when it was made for another one, and with a
// Refusal when it is none of Seal's texts. Errors never quote what was sealed.
func (i *Identity) Open(sealed string) (string, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return "", refuse(ReasonMalformed, "sealed text", "is not base64")
	}
	identity, err := agessh.NewEd25519Identity(i.secret.key())
	if err != nil {
		return "", fmt.Errorf("open sealed text: %w", err)
	}
	r, err := age.Decrypt(bytes.NewReader(data), identity)
	var other *age.NoIdentityMatchError
	switch {
	case errors.As(err, &other):
		return "", fmt.Errorf("open sealed text with identity %s: %w", i.Public().Fingerprint(), ErrSealedForOther)
	case err != nil:
		return "", refuse(ReasonMalformed, "sealed text", "cannot be decrypted: it is damaged, or was never sealed")
	}
	text, err := io.ReadAll(io.LimitReader(r, maxSealed+1))
	if err != nil || len(text) > maxSealed {
		return "", refuse(ReasonMalformed, "sealed text", "is damaged or too long")
	}
	return string(text), nil
}
