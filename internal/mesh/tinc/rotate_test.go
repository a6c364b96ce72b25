package tinc_test

import (
	"errors"
	"log/slog"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func readFile(t *testing.T, n *fakeNode, name string) string {
	t.Helper()
	text, err := n.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func rotator(t *testing.T, n *fakeNode) *tinc.Driver {
	t.Helper()
	d, ok := n.driver.(*tinc.Driver)
	if !ok {
		t.Fatalf("driver is a %T", n.driver)
	}
	return d
}

// TestPeerChangesItsKey takes a second key of a peer over and gives the first one up.
func TestPeerChangesItsKey(t *testing.T) {
	n := newFakeNode(t)
	old, next := newKey(t), newKey(t)
	sg := peer("sg-1", "10.66.0.2", old, "203.0.113.2")
	names := func() []string {
		t.Helper()
		files, err := n.ReadDir(tinc.HostsDir)
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	apply(t, n, view(n, sg))
	n.held = ""
	sg.OtherKey = &spec.MeshKey{Number: 1, Public: next}
	apply(t, n, view(n, sg))
	if diff := cmp.Diff([]string{"hk_colo", "sg_1", "sg_1K1"}, names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if n.held != "" {
		t.Errorf("a peer that is there was held back: %s", n.held)
	}
	main := readFile(t, n, path.Join(path.Dir(tinc.HostsDir), "tinc.conf"))
	for _, line := range []string{"ConnectTo = sg_1\n", "ConnectTo = sg_1K1\n"} {
		if !strings.Contains(main, line) {
			t.Errorf("tinc.conf lacks %q:\n%s", line, main)
		}
	}
	if got := readFile(t, n, path.Join(tinc.HostsDir, "sg_1K1")); !strings.Contains(got, next) || strings.Contains(got, old) {
		t.Errorf("the second name has another key:\n%s", got)
	}
	// Who changes back to front is let in as well: the order is the node's own affair.
	sg.MeshKey, sg.KeyNumber, sg.OtherKey = next, 1, &spec.MeshKey{Number: 0, Public: old}
	apply(t, n, view(n, sg))
	if diff := cmp.Diff([]string{"hk_colo", "sg_1", "sg_1K1"}, names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	sg.OtherKey = nil
	apply(t, n, view(n, sg))
	if diff := cmp.Diff([]string{"hk_colo", "sg_1K1"}, names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	sg.OtherKey = &spec.MeshKey{Number: 2, Public: "no key"}
	if err := n.driver.Apply(t.Context(), view(n, sg)); err == nil {
		t.Error("a second key that is none was taken without a word")
	}
	if diff := cmp.Diff([]string{"hk_colo", "sg_1K1"}, names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestChangeOfKeyInterrupted has the agent die at every change that the change of a key makes, and go on.
func TestChangeOfKeyInterrupted(t *testing.T) {
	for left := 0; ; left++ {
		n := newFakeNode(t)
		sg := peer("sg-1", "10.66.0.2", newKey(t), "203.0.113.2")
		apply(t, n, view(n, sg))
		crashing := &crashingSystem{Host: n.Host, left: left, err: errors.New("power cut")}
		rotate := func(d *tinc.Driver) (string, error) {
			next, err := d.PrepareKey(t.Context())
			if err != nil {
				return "", err
			}
			if err := d.SwitchKey(t.Context(), next); err != nil {
				return "", err
			}
			v := view(n, sg)
			v.Self.MeshKey, v.Self.KeyNumber = next, 1
			return next, d.Apply(t.Context(), v)
		}
		_, err := rotate(tinc.NewWith(crashing, slog.New(slog.DiscardHandler), tinc.Options{KeyBits: 2048}))
		survived := err == nil
		d := rotator(t, n)
		current, prepared, err := d.Keys(t.Context())
		if err != nil {
			t.Fatalf("after %d changes: %v", left, err)
		}
		switch {
		case current == n.key && prepared == "":
			if _, err = rotate(d); err != nil {
				t.Fatalf("after %d changes: %v", left, err)
			}
		case current == n.key:
			if current, err = rotate(d); err != nil || current != prepared {
				t.Fatalf("after %d changes: key %q is in use, %q was prepared (%v)", left, current, prepared, err)
			}
		default:
			if prepared != "" {
				t.Errorf("after %d changes both %q and %q are there", left, current, prepared)
			}
			if err := d.SwitchKey(t.Context(), current); err != nil {
				t.Fatalf("after %d changes: %v", left, err)
			}
			v := view(n, sg)
			v.Self.MeshKey, v.Self.KeyNumber = current, 1
			apply(t, n, v)
		}
		text := n.Text()
		if !strings.Contains(text, "Name = hk_coloK1") || strings.Contains(text, "hosts/hk_colo ") || strings.Contains(text, "rsa_key.next") {
			t.Errorf("after %d changes the node is not as it should be:\n%s", left, text)
		}
		if got := readFile(t, n, tinc.CorePath); !strings.Contains(readFile(t, n, tinc.UpPath), strings.TrimSpace(got)) {
			t.Errorf("after %d changes tincd runs with what it had before", left)
		}
		if survived {
			if left < 5 {
				t.Errorf("only %d changes were interrupted", left)
			}
			return
		}
	}
}

// TestDamagedNextKey makes a prepared key that cannot be read anew: nobody has met the node under it.
func TestDamagedNextKey(t *testing.T) {
	n := newFakeNode(t)
	d := rotator(t, n)
	first, err := d.PrepareKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.WriteFile(tinc.NextKeyPath, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.SwitchKey(t.Context(), first); err == nil {
		t.Error("the node changed to a key that it has lost")
	}
	if current, prepared, err := d.Keys(t.Context()); err != nil || current != n.key || prepared != "" {
		t.Errorf("keys are %q and %q (%v), want the old one alone", current, prepared, err)
	}
	second, err := d.PrepareKey(t.Context())
	if err != nil || second == first {
		t.Errorf("prepared %q after %q (%v), want another", second, first, err)
	}
	if err := d.SwitchKey(t.Context(), first); err == nil {
		t.Error("the node changed to a key that is not the prepared one")
	}
}
