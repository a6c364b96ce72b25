package trust_test

import (
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func TestPairKey(t *testing.T) {
	t.Parallel()
	ids := make([]*trust.Identity, 3)
	for i := range ids {
		id, err := trust.NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = id
	}
	key := func(a, b int, purpose string) [trust.PairKeySize]byte {
		t.Helper()
		k, err := ids[a].PairKey(ids[b].Public(), purpose)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if key(0, 1, "probe") != key(1, 0, "probe") {
		t.Error("the two ends of a pair have different keys")
	}
	seen := map[[trust.PairKeySize]byte]string{{}: "nothing"}
	for name, k := range map[string][trust.PairKeySize]byte{
		"0-1": key(0, 1, "probe"), "0-2": key(0, 2, "probe"), "1-2": key(1, 2, "probe"), "other purpose": key(0, 1, "other"),
	} {
		if other, taken := seen[k]; taken {
			t.Errorf("%s has the same key as %s", name, other)
		}
		seen[k] = name
	}
	if _, err := ids[0].PairKey(ids[0].Public(), "probe"); err == nil {
		t.Error("a key with itself was made")
	}
	// Not on the curve, and the neutral element, with which everybody shares the same.
	for name, bad := range map[string]trust.PublicKey{"no point": {0: 2}, "neutral": {0: 1}} {
		if _, err := ids[0].PairKey(bad, "probe"); err == nil {
			t.Errorf("%s: a key was made", name)
		}
	}
}
