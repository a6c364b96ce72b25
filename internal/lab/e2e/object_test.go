//go:build linux

package e2e_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

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

// sign returns the record of an object that a key has signed.
func (s *site) sign(t *testing.T, key *trust.SigningKey, o spec.Object) store.Record {
	t.Helper()
	e, err := trust.SignObject(key, o)
	if err != nil {
		t.Fatal(err)
	}
	return store.ObjectRecord(e)
}
