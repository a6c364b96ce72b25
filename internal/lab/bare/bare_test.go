//go:build linux

package bare_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// TestLab boots two machines that reach each other, and takes one's power: its disk keeps what was on it.
func TestLab(t *testing.T) {
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	l, err := bare.New(t.Context(), fmt.Sprintf("bare%d", os.Getpid()), bare.Options{Progress: func(doing string) { t.Log(doing) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	var machines []*bare.Machine
	for _, name := range []string{"a", "b"} {
		m, err := l.Add(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		machines = append(machines, m)
	}
	a, b := machines[0], machines[1]
	reaches := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		conn, err := a.Dial(ctx, "tcp", netip.AddrPortFrom(b.Address, 22).String())
		if err != nil {
			return err
		}
		return conn.Close()
	}
	await.NoError(t, "a reaches b", 10*time.Second, reaches)
	if _, err := b.Run(t.Context(), "sh", "-c", "echo kept >/root/file && sync"); err != nil {
		t.Fatal(err)
	}
	if err := b.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := reaches(t.Context()); err == nil {
		t.Error("a machine without power answers")
	}
	if _, err := b.System(); err == nil {
		t.Error("a machine without power has a system")
	}
	if err := b.PowerOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	system, err := b.System()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := system.ReadFile("/root/file"); err != nil || string(text) != "kept\n" {
		t.Errorf("the disk has %q, %v", text, err)
	}
	await.NoError(t, "a reaches b again", 10*time.Second, reaches)
}
