package probe_test

import (
	"bytes"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/probe"
)

func TestPacket(t *testing.T) {
	t.Parallel()
	key, other := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	want := probe.Numbered(probe.NewID("c", "a"), probe.NewID("c", "b"), 1_700_000_000_000_000, 42)
	for _, size := range []int{0, 1472} {
		sealed := probe.Seal(want, key, size)
		if len(sealed) != max(size, probe.PacketSize) {
			t.Errorf("size %d: %d bytes", size, len(sealed))
		}
		got, ok := probe.Unseal(key, sealed)
		if !ok || got != want {
			t.Errorf("size %d: came back as %+v (%t), want %+v", size, got, ok, want)
		}
		if _, ok := probe.Unseal(other, sealed); ok {
			t.Error("another key opens it")
		}
	}
	sealed := probe.Seal(want, key, 0)
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, ok := probe.Unseal(key, bad); ok {
			t.Errorf("byte %d was changed and nobody minds", i)
		}
	}
	for n := range sealed {
		if _, ok := probe.Unseal(key, sealed[:n]); ok {
			t.Errorf("the first %d bytes are a packet", n)
		}
	}
	if probe.NewID("c", "ab") == probe.NewID("ca", "b") {
		t.Error("two nodes have one name")
	}
	// The size that the package's comment and its budget say.
	if got := len(sealed) + 28; got != 122 {
		t.Errorf("a packet has %d bytes with its headers", got)
	}
}

func FuzzUnseal(f *testing.F) {
	key := bytes.Repeat([]byte{7}, 32)
	f.Add(probe.Seal(probe.Numbered(probe.NewID("c", "a"), probe.NewID("c", "b"), 1, 1), key, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := probe.Unseal(key, b); ok && !bytes.Equal(probe.Seal(p, key, len(b))[:probe.PacketSize], b[:probe.PacketSize]) {
			t.Errorf("%x is a packet, but another one than it becomes", b)
		}
	})
}
