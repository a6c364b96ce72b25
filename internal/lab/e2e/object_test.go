//go:build linux

package e2e_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// objectsAreRefused gives an agent objects that nobody should obey, as the operator whose computer was taken over would
// not need to, but as a broken or malicious peer may.
func objectsAreRefused(t *testing.T, s *site) {
	const node = "hk2"
	ref := spec.Ref{Kind: spec.KindNode, Name: "hk1"}
	good, object := s.renew(t, node, ref)
	old := object
	old.Generation = 1
	stranger, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	foreign := object
	foreign.Cluster = "elsewhere"
	changed := *good.Object
	payload, err := base64.StdEncoding.DecodeString(changed.Payload)
	if err != nil {
		t.Fatal(err)
	}
	changed.Payload = base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(payload), "hong-kong", "somewhere", 1)))
	for _, tt := range []struct {
		name   string
		record store.Record
		result store.Result
		reason trust.Reason
	}{
		{"signed by a stranger", s.sign(t, stranger, object), store.Refused, trust.ReasonBadSignature},
		{"changed after signing", store.ObjectRecord(changed), store.Refused, trust.ReasonBadSignature},
		{"of another cluster", s.sign(t, s.Key, foreign), store.Refused, trust.ReasonWrongCluster},
		{"of an older generation", s.sign(t, s.Key, old), store.Older, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outcomes, err := s.agent(t, node).Push(t.Context(), []store.Record{tt.record})
			if err != nil {
				t.Fatal(err)
			}
			if got := outcomes[0]; got.Result != tt.result || tt.reason != "" && got.Reason != tt.reason {
				t.Errorf("the agent says %+v, want %s %s", got, tt.result, tt.reason)
			}
		})
	}
	t.Run("of an unknown version", func(t *testing.T) { s.newerObject(t, node, ref) })
	t.Run("without a certificate", func(t *testing.T) {
		address := s.machine(t, node).IPv4
		for _, path := range []string{"/v1/info", "/v1/records", "/v1/status"} {
			out, err := s.Operator(t.Context(), "curl", "-sk", "-m", "5", "https://"+address+":7443"+path).CombinedOutput()
			if err == nil {
				t.Errorf("the agent answers a stranger at %s: %s", path, out)
			}
		}
	})
	s.wantHealthy(t, 10*time.Second, everyNode...)
	s.wantNoChange(t)
}

// newerObject gives an agent an object of the next wire version, signed by the right key, in between two of its own. The
// agent says that it must be updated, takes the others, keeps what it has, and goes on speaking to everybody.
func (s *site) newerObject(t *testing.T, node string, ref spec.Ref) {
	before, object := s.renew(t, node, ref)
	object.Generation++
	payload, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(payload, &fields); err != nil {
		t.Fatal(err)
	}
	fields["wire"], fields["flavour"] = spec.WireVersion+1, "new"
	if payload, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	newer := store.ObjectRecord(s.seal(t, trust.PayloadObject, payload))
	object.Generation++
	after, last := s.resign(t, object)
	outcomes, err := s.agent(t, node).Push(t.Context(), []store.Record{before, newer, after})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcomes[1]; got.Result != store.Refused || got.Reason != trust.ReasonUnknownWireVersion || !strings.Contains(got.Message, "update") {
		t.Errorf("the agent says %+v of the newer object, want that it must be updated", got)
	}
	for i, name := range map[int]string{0: "before", 2: "after"} {
		if outcomes[i].Result != store.Accepted {
			t.Errorf("the agent says %+v of the object %s the newer one", outcomes[i], name)
		}
	}
	s.eventually(t, "the last object is everywhere", 20*time.Second, func(ctx context.Context) error {
		return s.knowEverywhere(ctx, t, last)
	})
	s.exec(t, node, "systemctl", "restart", "atolld.service")
	s.eventually(t, "it is still there after a restart of the agent", 20*time.Second, func(ctx context.Context) error {
		return s.knowEverywhere(ctx, t, last)
	})
}

// seal makes an envelope by hand (DSSE, protocol v1.0.2), as software of another version would.
func (s *site) seal(t *testing.T, payloadType string, payload []byte) trust.Envelope {
	t.Helper()
	text, err := os.ReadFile(s.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("the signing key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		t.Fatalf("the signing key is a %T", key)
	}
	signed := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
	return trust.Envelope{
		PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload),
		Signatures: []dsse.Signature{{
			KeyID: s.Key.Public().Fingerprint(), Sig: base64.StdEncoding.EncodeToString(ed25519.Sign(private, signed)),
		}},
	}
}

// sign returns the record of an object that a key has signed.
func (s *site) sign(t *testing.T, key *trust.SigningKey, o spec.Object) store.Record {
	t.Helper()
	e, err := trust.SignObject(key, o)
	if err != nil {
		t.Fatal(err)
	}
	return store.ObjectRecord(e)
}
