package wireguard_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard/tunnel"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestPeerChangesItsKey takes second keys over that are nobody else's.
func TestPeerChangesItsKey(t *testing.T) {
	t.Parallel()
	sg, us := newKey(t), newKey(t)
	next := newKey(t)
	for _, tt := range []struct {
		name, other, want, problem string
	}{
		{"a second key", next, next, ""},
		{"the same key", sg, "", ""},
		{"another node's key", us, "", "it is also that of node"},
		{"no key", "rubbish", "", "it is not a WireGuard key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newFakeNode(t)
			p, after := peer("sg-1", "10.66.0.2", sg, "198.51.100.2"), peer("us-1", "10.66.0.3", us)
			p.OtherKey = &spec.MeshKey{Number: 1, Public: tt.other}
			err := n.driver.Apply(t.Context(), n.view(p, after))
			if (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("got %v, want %q", err, tt.problem)
			}
			text, err := n.ReadFile(wireguard.ConfigPath)
			if err != nil {
				t.Fatal(err)
			}
			var c tunnel.Config
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, p := range c.Peers {
				got[p.Name] = p.Key + p.OtherKey
			}
			if diff := cmp.Diff(map[string]string{"sg-1": sg + tt.want, "us-1": us}, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOwnKeys follows a node's own keys from the preparation of the second one to the end of the first.
func TestOwnKeys(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t)
	r, ok := n.driver.(mesh.Rotator)
	if !ok {
		t.Fatalf("driver %T cannot change keys", n.driver)
	}
	keys := func(current, prepared string) {
		t.Helper()
		c, p, err := r.Keys(t.Context())
		if err != nil || c != current || p != prepared {
			t.Errorf("keys are %q and %q (%v), want %q and %q", c, p, err, current, prepared)
		}
	}
	keys(n.key, "")
	next, err := r.PrepareKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys(n.key, next)
	if err := r.SwitchKey(t.Context(), newKey(t)); err == nil {
		t.Error("the node changed to a key that it does not have")
	}
	keys(n.key, next)
	for range 2 {
		if err := r.SwitchKey(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		keys(next, "")
	}
	if strings.Contains(n.Text(), "private.next") {
		t.Errorf("something is left of the change:\n%s", n.Text())
	}
	if err := n.driver.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Keys(t.Context()); err == nil {
		t.Error("the keys of a node that has left are there")
	}
}
