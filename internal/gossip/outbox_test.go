//go:build linux

package gossip_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/gossip"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// TestDeadPeersHoldUpNobody has a member whose machine takes no connection, as one that packets reach but whose answers are
// lost; it keeps asking. What another member asks meanwhile is answered as ever.
func TestDeadPeersHoldUpNobody(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(3)
	for _, a := range agents[:2] {
		a.boot(true)
	}
	dead := agents[2]
	w.blackHole(dead)
	for _, a := range agents[:2] {
		a.store.MergeRemote([]store.Record{agents[0].node(1, ""), agents[1].node(1, ""), dead.node(1, ""), store.ProofRecord(dead.proof)})
	}
	w.converge(agents[:2]...)
	w.waitFor("both alive in gossip", func() bool {
		return slices.Contains(living(agents[0]), "n2") && slices.Contains(living(agents[1]), "n1")
	})
	for plane := range 2 {
		w.setCut(agents[0], agents[1], plane, true)
		w.setCut(agents[1], agents[0], plane, true)
	}
	for range 20 {
		// Each asks for everything, since it names nothing that it has.
		agents[0].gossip.Receive(fmt.Appendf(nil, `{"from":"n3","addr":"%s:%d","whole":true}`, w.address(dead.i, 0), spec.DefaultPorts().Gossip))
	}
	agents[0].store.MergeRemote([]store.Record{w.sign("n1.n2", 1, spec.Link{From: "n1", To: "n2"})})
	took := w.waitFor("the link on the other node", func() bool { return len(agents[1].store.Snapshot().Links) == 1 })
	if took > 5*time.Second {
		t.Errorf("it took %s", took.Round(time.Millisecond))
	}
}

// blackHole makes the agent's gossip port one that never completes a connection: its queue of those is full.
func (w *world) blackHole(a *agent) {
	t := w.t
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	address, port := w.address(a.i, 0), spec.DefaultPorts().Gossip
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: address.As4(), Port: port}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{Timeout: 200 * time.Millisecond}
	for range 10 {
		c, err := dialer.DialContext(t.Context(), "tcp", fmt.Sprintf("%s:%d", address, port))
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the port still takes connections")
}

func TestOutbox(t *testing.T) {
	var o gossip.Outbox
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun, held := make(chan struct{}), make(chan struct{})
	if !o.Put(ctx, "a", func() error { close(begun); <-held; return nil }) {
		t.Fatal("an empty outbox has no room")
	}
	<-begun
	var sent []int
	room := 0
	for i := range gossip.MaxWaiting + 5 {
		if o.Put(ctx, "a", func() error {
			sent = append(sent, i)
			if i == 2 {
				return errors.New("gone")
			}
			return nil
		}) {
			room++
		}
	}
	if room != gossip.MaxWaiting {
		t.Errorf("%d may wait, want %d", room, gossip.MaxWaiting)
	}
	other := make(chan struct{})
	o.Put(ctx, "b", func() error { close(other); return nil })
	<-other
	close(held)
	o.Wait()
	if want := []int{0, 1, 2}; !slices.Equal(sent, want) {
		t.Errorf("sent %v, want %v: in order, and nothing after a failure", sent, want)
	}
	again := make(chan struct{})
	o.Put(ctx, "a", func() error { close(again); return nil })
	<-again
	o.Wait()
	cancel()
	o.Put(ctx, "a", func() error { t.Error("sent after the end"); return nil })
	o.Wait()
}
