package meshtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// rotator returns the node's driver as one that can change keys.
func (n *node) rotator() (mesh.Rotator, error) {
	r, ok := n.driver.(mesh.Rotator)
	if !ok {
		return nil, fmt.Errorf("driver %T cannot change keys", n.driver)
	}
	return r, nil
}

// prepare makes the node's next key and lets the others know it. They take it over with their next Apply.
func (n *node) prepare(ctx context.Context) error {
	r, err := n.rotator()
	if err != nil {
		return err
	}
	public, err := r.PrepareKey(ctx)
	if err != nil {
		return err
	}
	n.other = &spec.MeshKey{Number: n.number + 1, Public: public}
	return nil
}

// change makes the prepared key the node's. The node and the others take it over with their next Apply.
func (n *node) change(ctx context.Context) error {
	r, err := n.rotator()
	if err != nil {
		return err
	}
	if err := r.SwitchKey(ctx, n.other.Public); err != nil {
		return err
	}
	was := spec.MeshKey{Number: n.number, Public: n.key}
	n.key, n.number, n.other = n.other.Public, n.other.Number, &was
	return nil
}

// Rotations measures how long three nodes lose each other when one of them changes its key under traffic, as Restarts does.
func Rotations(t *testing.T, rounds int, oneWay time.Duration, variants ...Variant) {
	all := []string{hk, sg, us}
	measureGaps(t, rounds, oneWay, func(ctx context.Context, c *cluster, _ Variant) error {
		n := c.nodes[hk]
		for _, step := range []struct {
			do func(context.Context) error
			on []string
		}{
			{n.prepare, []string{sg, us}},
			{n.change, []string{hk}},
			{func(ctx context.Context) error { n.other = nil; return pause(ctx, 3*time.Second) }, all},
		} {
			if err := step.do(ctx); err != nil {
				return err
			}
			for _, name := range step.on {
				if err := c.nodes[name].driver.Apply(ctx, c.view(t, name, all...)); err != nil {
					return err
				}
			}
		}
		return nil
	}, variants)
}

// rotation changes a node's key while the mesh runs.
func (s suite) rotation(t *testing.T) {
	t.Parallel()
	all, others := []string{hk, sg, us}, []string{sg, us}
	c := s.cluster(t, all...)
	c.apply(t, all)
	c.allConnected(t, all...)
	n := c.nodes[hk]
	do := func(t *testing.T, step func(context.Context) error) {
		t.Helper()
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("UnderTraffic", func(t *testing.T) {
		echo := n.openEcho(t, c.nodes[sg])
		old := n.key
		pids := map[string]int{}
		for _, name := range others {
			pids[name] = mainPID(t, c.nodes[name], s.unit)
		}
		do(t, n.prepare)
		first := n.other.Public
		do(t, n.prepare)
		if n.other.Public != first || first == old {
			t.Errorf("prepared %q, then %q, while %q is in use", first, n.other.Public, old)
		}
		c.apply(t, all)
		if n.ensureKey(t); n.key != old {
			t.Error("a key that is only prepared is in use")
		}
		c.allConnected(t, all...)
		quiet := echo.longest()
		do(t, n.change)
		c.apply(t, all, hk)
		c.allConnected(t, all...)
		t.Logf("longest pause in a TCP stream: %s before the change, %s with it", quiet, echo.longest())
		c.apply(t, all)
		c.allConnected(t, all...)
		n.other = nil
		c.apply(t, all)
		c.allConnected(t, all...)
		echo.goesOn(t)
		for _, name := range others {
			if got := mainPID(t, c.nodes[name], s.unit); got != pids[name] {
				t.Errorf("node %s: process %d was replaced by %d", name, pids[name], got)
			}
		}
		for _, name := range all {
			c.nodes[name].machine.Sys.TakeChanges()
		}
		c.apply(t, all)
		for _, name := range all {
			if got := c.nodes[name].machine.Sys.TakeChanges(); len(got) != 0 {
				t.Errorf("node %s: something was left to do: %v", name, got)
			}
		}
	})

	t.Run("OldKeyIsRefused", func(t *testing.T) {
		do(t, n.prepare)
		// The others know the new key alone, and the node still has the old one.
		key, number := n.key, n.number
		n.key, n.number, n.other = n.other.Public, n.other.Number, nil
		c.apply(t, all, others...)
		if err := n.machine.Sys.Units().Restart(t.Context(), s.unit); err != nil {
			t.Fatal(err)
		}
		machinetest.Eventually(t, patience, "the others have given the node up", func(ctx context.Context) bool {
			gone := true
			for _, name := range others {
				if n.pings(ctx, c.nodes[name]) {
					t.Fatalf("%s answers to a key that was given up", name)
				}
				gone = gone && !c.nodes[name].peer(ctx, t, n).Reachable
			}
			return gone
		})
		never(t, 8*time.Second, "a key that was given up is accepted", func(ctx context.Context) bool {
			for _, name := range others {
				if n.pings(ctx, c.nodes[name]) || c.nodes[name].peer(ctx, t, n).Reachable {
					return true
				}
			}
			return false
		})
		c.allConnected(t, others...)
		n.key, n.number, n.other = key, number, &spec.MeshKey{Number: n.number, Public: n.key}
		do(t, n.change)
		n.other = nil
		c.apply(t, all, hk)
		c.allConnected(t, all...)
	})

	t.Run("OneWasAway", func(t *testing.T) {
		late, there := c.nodes[sg], c.nodes[us]
		do(t, n.prepare)
		c.apply(t, all, hk, us)
		do(t, n.change)
		c.apply(t, all, hk)
		n.other = nil
		c.apply(t, all, us)
		machinetest.Eventually(t, patience, "who knows the new key has the node back", func(ctx context.Context) bool {
			return n.pings(ctx, there) && there.peer(ctx, t, n).Direct && late.pings(ctx, there)
		})
		c.apply(t, all, sg)
		c.allConnected(t, all...)
	})

	t.Run("Interrupted", func(t *testing.T) {
		// The agent and the daemon die at every point; what comes after them goes on where they were.
		die := func(name string) {
			if err := c.nodes[name].machine.Sys.Kill(s.unit); err != nil {
				t.Fatal(err)
			}
			c.nodes[name].driver = s.newDriver(c.nodes[name].machine.Sys, machinetest.Logger(t, name))
		}
		do(t, n.prepare)
		prepared := n.other.Public
		die(hk)
		c.apply(t, all, hk)
		r, err := n.rotator()
		if err != nil {
			t.Fatal(err)
		}
		if current, next, err := r.Keys(t.Context()); err != nil || current != n.key || next != prepared {
			t.Errorf("after a crash the keys are %q and %q (%v), want %q and %q", current, next, err, n.key, prepared)
		}
		c.apply(t, all, sg)
		die(us)
		c.apply(t, all, us)
		do(t, n.change)
		die(hk)
		c.apply(t, all, hk)
		c.allConnected(t, all...)
		r, err = n.rotator()
		if err != nil {
			t.Fatal(err)
		}
		// It was done already.
		if err := r.SwitchKey(t.Context(), n.key); err != nil {
			t.Error(err)
		}
		if err := r.SwitchKey(t.Context(), n.other.Public); err == nil {
			t.Error("the node took a key back that it does not have any more")
		}
		n.other = nil
		die(sg)
		c.apply(t, all)
		c.allConnected(t, all...)
	})
}

// echo is a TCP connection on which something is sent and comes back all the time.
type echo struct {
	conn net.Conn
	gaps chan time.Duration
	fail chan error
}

// openEcho connects to another node over the mesh. The connection ends with the test.
func (n *node) openEcho(t *testing.T, to *node) *echo {
	t.Helper()
	const port = 5002
	address := netip.AddrPortFrom(to.mesh, port).String()
	listener, err := to.machine.Listen(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	}()
	conn, err := n.machine.Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	e := &echo{conn: conn, gaps: make(chan time.Duration, 1), fail: make(chan error, 1)}
	go e.run()
	return e
}

func (e *echo) run() {
	e.gaps <- 0
	one := make([]byte, 1)
	for {
		began := time.Now()
		_, err := e.conn.Write(one)
		if err == nil {
			_, err = io.ReadFull(e.conn, one)
		}
		if err != nil {
			e.fail <- err
			return
		}
		e.gaps <- max(<-e.gaps, time.Since(began))
		if time.Since(began) < time.Millisecond {
			time.Sleep(5 * time.Millisecond) // this is the rate of the traffic
		}
	}
}

// longest returns the longest time that an answer took since it was asked last.
func (e *echo) longest() time.Duration {
	longest := <-e.gaps
	e.gaps <- 0
	return longest.Round(time.Millisecond)
}

// goesOn fails the test when the connection has broken.
func (e *echo) goesOn(t *testing.T) {
	t.Helper()
	e.longest()
	machinetest.Eventually(t, patience, "the connection from before the change carries something", func(context.Context) bool {
		select {
		case err := <-e.fail:
			if !errors.Is(err, net.ErrClosed) {
				t.Fatalf("the connection from before the change has broken: %v", err)
			}
			return false
		default:
			return e.longest() > 0
		}
	})
}
