package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Envelope is a signed payload (DSSE). Only the functions of this package make a payload out of one.
type Envelope = dsse.Envelope

// The payload types, one for each thing that is signed: an envelope made for one is never taken for another.
const (
	PayloadObject = "application/vnd.atoll.object+json"
	PayloadTicket = "application/vnd.atoll.ticket+json"
	PayloadClaim  = "application/vnd.atoll.claim+json"
	PayloadStatus = "application/vnd.atoll.status+json"
)

// MaxPayload is the largest payload of an envelope in bytes. Objects are a few hundred bytes; a status grows with the
// number of nodes.
const MaxPayload = 1 << 20

// seal signs value with each of the keys.
//
//nolint:contextcheck // signing is local arithmetic
func seal(payloadType string, value any, keys ...secret) (Envelope, error) {
	payload, err := json.Marshal(value)
	if err != nil {
		return Envelope{}, fmt.Errorf("encode %s: %w", payloadType, err)
	}
	if len(payload) > MaxPayload {
		return Envelope{}, refuse(ReasonInvalid, payloadType, fmt.Sprintf("has %d bytes, more than %d", len(payload), MaxPayload))
	}
	signers := make([]dsse.Signer, len(keys))
	for i, k := range keys {
		signers[i] = signer{k}
	}
	s, err := dsse.NewEnvelopeSigner(signers...)
	if err != nil {
		return Envelope{}, fmt.Errorf("sign %s: %w", payloadType, err)
	}
	// Signing is local arithmetic; there is nothing for a context to end.
	e, err := s.SignPayload(context.Background(), payloadType, payload)
	if err != nil {
		return Envelope{}, fmt.Errorf("sign %s: %w", payloadType, err)
	}
	return *e, nil
}

// open returns the payload of an envelope that exactly the keys signed, in this order.
//
// An envelope has parts that no signature covers: key ids, further signatures, the flavour of base64. All of them must be
// exactly as seal writes them, so that one payload has one envelope and whoever carries it can change no bit of it.
//
//nolint:contextcheck // verifying is local arithmetic
func open(e Envelope, payloadType, subject string, keys ...PublicKey) ([]byte, error) {
	payload, err := peek(e, payloadType, subject)
	if err != nil {
		return nil, err
	}
	if len(e.Signatures) != len(keys) {
		return nil, refuse(ReasonBadSignature, subject, fmt.Sprintf("carries %d signatures instead of %d; it was changed on its way", len(e.Signatures), len(keys)))
	}
	verifiers := make([]dsse.Verifier, len(keys))
	for i, k := range keys {
		verifiers[i] = verifier(k)
		if got := e.Signatures[i].KeyID; got != k.Fingerprint() {
			return nil, refuse(ReasonBadSignature, subject, fmt.Sprintf("is signed by key %q, not by %s; is it from another cluster or signing key?", clip(got), k.Fingerprint()))
		}
		if !canonicalBase64(e.Signatures[i].Sig) {
			return nil, refuse(ReasonMalformed, subject, "its signature is not base64")
		}
	}
	v, err := dsse.NewMultiEnvelopeVerifier(len(verifiers), verifiers...)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", subject, err)
	}
	if _, err := v.Verify(context.Background(), &e); err != nil {
		return nil, refuse(ReasonBadSignature, subject, "the signature does not fit; it is forged, damaged or signed with another key")
	}
	return payload, nil
}

// peek returns an envelope's payload without believing it.
func peek(e Envelope, payloadType, subject string) ([]byte, error) {
	if e.PayloadType != payloadType {
		return nil, refuse(ReasonMalformed, subject, fmt.Sprintf("is a %q, not a %q", clip(e.PayloadType), payloadType))
	}
	if len(e.Payload) > base64.StdEncoding.EncodedLen(MaxPayload) {
		return nil, refuse(ReasonMalformed, subject, fmt.Sprintf("is larger than %d bytes", MaxPayload))
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil || base64.StdEncoding.EncodeToString(payload) != e.Payload {
		return nil, refuse(ReasonMalformed, subject, "its payload is not base64")
	}
	return payload, nil
}

// decode reads a payload, the version of its wire form first: what a newer Atoll wrote is refused as such and not as
// nonsense. Unknown fields are an error, since what is not understood cannot be obeyed.
func decode(payload []byte, subject string, into any) error {
	var wire struct {
		Wire int `json:"wire"`
	}
	if err := json.Unmarshal(payload, &wire); err != nil {
		return refuse(ReasonMalformed, subject, fmt.Sprintf("is not JSON: %v", err))
	}
	if wire.Wire > spec.WireVersion {
		return refuse(ReasonUnknownWireVersion, subject, fmt.Sprintf("has wire version %d, this software knows up to %d; update it", wire.Wire, spec.WireVersion))
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return refuse(ReasonMalformed, subject, fmt.Sprintf("cannot be read: %v", err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuse(ReasonMalformed, subject, "has something after its end")
	}
	if wire.Wire < 1 {
		return refuse(ReasonMalformed, subject, fmt.Sprintf("has wire version %d", wire.Wire))
	}
	return nil
}

// Payload returns the bytes that the envelope's signature covers, without believing them, for digests. It is nil when
// they cannot be read.
func Payload(e Envelope) []byte {
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		return nil
	}
	return payload
}

func canonicalBase64(s string) bool {
	raw, err := base64.StdEncoding.DecodeString(s)
	return err == nil && base64.StdEncoding.EncodeToString(raw) == s
}

// clip keeps what a stranger sent from filling messages and logs.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

type signer struct{ secret secret }

func (s signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	return s.secret.signer().Sign(nil, data, crypto.Hash(0))
}

func (s signer) KeyID() (string, error) { return s.secret.public().Fingerprint(), nil }

type verifier PublicKey

func (v verifier) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(v[:], data, sig) {
		return errors.New("signature does not fit")
	}
	return nil
}

func (v verifier) KeyID() (string, error) { return PublicKey(v).Fingerprint(), nil }

func (v verifier) Public() crypto.PublicKey { return ed25519.PublicKey(v[:]) }
