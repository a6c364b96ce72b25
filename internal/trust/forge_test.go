package trust_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/pem"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// sign makes an envelope of any payload, without the checks that the package makes.
func sign(t testing.TB, payloadType string, payload []byte, keys ...ed25519.PrivateKey) trust.Envelope {
	t.Helper()
	e := trust.Envelope{PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload)}
	for _, k := range keys {
		var public trust.PublicKey
		copy(public[:], k[32:])
		e.Signatures = append(e.Signatures, dsse.Signature{
			KeyID: public.Fingerprint(),
			Sig:   base64.StdEncoding.EncodeToString(ed25519.Sign(k, dsse.PAE(payloadType, payload))),
		})
	}
	return e
}

// seed returns the Ed25519 seed in a PKCS#8 key.
func seed(t testing.TB, data []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("not PEM")
	}
	return block.Bytes[len(block.Bytes)-ed25519.SeedSize:]
}
