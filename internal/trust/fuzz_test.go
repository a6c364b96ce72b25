package trust_test

import (
	"encoding/json"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// FuzzVerify feeds whatever a stranger may send to everything that reads envelopes: nothing panics, and nothing but the
// envelope that was signed is believed.
func FuzzVerify(f *testing.F) {
	op := newOperator(f, "web")
	object, err := trust.SignObject(op.key, op.object(7))
	if err != nil {
		f.Fatal(err)
	}
	issued := op.ticket("hk1")
	proof := prove(f, issued, newIdentity(f))
	for _, v := range []any{object, issued.Envelope, proof, proof.Claim, trust.Envelope{}, nil, []int{1}} {
		data, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte(`{"payloadType":"application/vnd.atoll.object+json","payload":"e30=","signatures":[{"keyid":"","sig":"!"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e trust.Envelope
		if json.Unmarshal(data, &e) == nil {
			if _, err := op.root().VerifyObject(e); err == nil && e.Payload != object.Payload {
				t.Errorf("believed the object %s", data)
			}
			if _, err := op.root().VerifyTicket(e); err == nil && e.Payload != issued.Envelope.Payload {
				t.Errorf("believed the ticket %s", data)
			}
			if _, err := trust.VerifyStatus("hk1", op.key.Public(), e); err == nil {
				t.Errorf("believed the status %s", data)
			}
			if _, err := trust.StatusNode(e); err == nil && e.PayloadType != trust.PayloadStatus {
				t.Errorf("took %s for a status", data)
			}
			trust.Payload(e)
		}
		var p trust.Proof
		if json.Unmarshal(data, &p) == nil {
			if _, err := op.root().VerifyProof(p); err == nil && p.Claim.Payload != proof.Claim.Payload {
				t.Errorf("believed the proof %s", data)
			}
		}
	})
}
