package trust

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

// PairKeySize is the length of a pair's key, in bytes.
const PairKeySize = 32

// PairKey returns the secret that this identity shares with the node of identity peer and with nobody else, for one purpose.
// Both compute the same without a word between them: X25519 (RFC 7748) over the identities' keys, which are brought to
// that curve as age does with SSH keys, and HKDF-SHA-256 (RFC 5869) with both public keys and the purpose. It is the same for
// as long as both keep their identities, so whoever authenticates with it must tell an old message from a new one itself. It
// must not be used to encrypt: there is no forward secrecy.
func (i *Identity) PairKey(peer PublicKey, purpose string) ([PairKeySize]byte, error) {
	var key [PairKeySize]byte
	if peer == i.Public() {
		return key, errors.New("make a pair's key: both identities are the same")
	}
	point, err := new(edwards25519.Point).SetBytes(peer[:])
	if err != nil {
		return key, refuse(ReasonMalformed, "identity", "is no point of the curve")
	}
	public, err := ecdh.X25519().NewPublicKey(point.BytesMontgomery())
	if err != nil {
		return key, fmt.Errorf("make a pair's key with %s: %w", peer.Fingerprint(), err)
	}
	// The lower half is the scalar of an Ed25519 key (RFC 8032, 5.1.5); X25519 clamps it itself.
	scalar := sha512.Sum512(i.secret.key().Seed())
	private, err := ecdh.X25519().NewPrivateKey(scalar[:32])
	if err != nil {
		return key, errors.New("make a pair's key: this identity cannot be used")
	}
	shared, err := private.ECDH(public)
	if err != nil {
		// A point of small order: nobody makes such an identity by accident.
		return key, refuse(ReasonMalformed, "identity", "has a public key that shares no secret")
	}
	first, second := i.Public(), peer
	if string(first[:]) > string(second[:]) {
		first, second = second, first
	}
	out, err := hkdf.Key(sha256.New, shared, append(first[:], second[:]...), "atoll pair "+purpose, PairKeySize)
	if err != nil {
		return key, fmt.Errorf("make a pair's key: %w", err)
	}
	copy(key[:], out)
	return key, nil
}
