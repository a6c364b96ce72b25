package probe_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/atollhq/terraform-provider-atoll/internal/probe"
)

// patience is for machines that have too much to do.
const patience = 90 * time.Second

// network is two nodes in network namespaces of their own, connected by a cable over which a second pair of addresses is the mesh.
type network struct {
	t     *testing.T
	names [2]string
	nodes [2]*probe.Prober
}

const port = 655

func publicOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)}) }
func sixOf(i int) netip.Addr    { return netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", 1+i)) }
func meshOf(i int) netip.Addr   { return netip.AddrFrom4([4]byte{10, 66, 0, byte(1 + i)}) }

func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: needs root, for network namespaces")
	}
	n := &network{t: t}
	for i := range n.names {
		n.names[i] = fmt.Sprintf("atoll-pr-%d-%s-%d", os.Getpid(), t.Name(), i)
		n.run("", "ip", "netns", "add", n.names[i])
		name := n.names[i]
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() }) //nolint:noctx // the test's context is over by then
	}
	n.run("", "ip", "link", "add", "public", "netns", n.names[0], "type", "veth", "peer", "name", "public", "netns", n.names[1])
	for i := range n.names {
		for _, c := range []string{
			"ip link set dev lo up", "ip link set dev public up",
			"ip address add " + publicOf(i).String() + "/24 dev public",
			"ip address add " + meshOf(i).String() + "/16 dev public",
			"ip address add " + sixOf(i).String() + "/64 dev public nodad",
		} {
			n.in(i, "", strings.Fields(c)...)
		}
		// Nobody but the mesh's daemon has the port: without it the kernel would say that nobody listens.
		n.in(i, "table inet filter {\n chain output {\n type filter hook output priority 0;\n icmp type destination-unreachable drop\n icmpv6 type destination-unreachable drop\n }\n chain input {\n type filter hook input priority 0;\n }\n}\n", "nft", "-f", "-")
	}
	return n
}

func (n *network) run(stdin string, args ...string) {
	n.t.Helper()
	cmd := exec.CommandContext(n.t.Context(), args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v: %s", args, err, out)
	}
}

func (n *network) in(i int, stdin string, args ...string) {
	n.t.Helper()
	n.run(stdin, append([]string{"ip", "netns", "exec", n.names[i]}, args...)...)
}

// inside calls fn in a node's network.
func (n *network) inside(i int, fn func()) {
	n.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	there, err := netns.GetFromName(n.names[i])
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = there.Close() }()
	if err := netns.Set(there); err != nil {
		n.t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(own); err != nil {
			panic(err) // this thread would go on in the wrong network
		}
	}()
	fn()
}

func name(i int) string { return string(rune('a' + i)) }

// start starts a node's prober with a key and the other node's public address.
func (n *network) start(i int, key byte, public ...netip.Addr) {
	n.t.Helper()
	n.inside(i, func() {
		p, err := probe.Open(probe.Options{Cluster: "c", Node: name(i), Port: port}, slog.New(slog.DiscardHandler))
		if err != nil {
			n.t.Fatal(err)
		}
		n.nodes[i] = p
	})
	n.t.Cleanup(func() {
		if err := n.nodes[i].Close(); err != nil {
			n.t.Errorf("close: %v", err)
		}
	})
	n.nodes[i].SetPeers(map[string]probe.Peer{name(1 - i): {Key: [32]byte(bytes.Repeat([]byte{key}, 32)), Mesh: meshOf(1 - i), Public: public}})
}

// link is what a node measures of the other.
func (n *network) link(i int) probe.Link { return n.nodes[i].Links()[name(1-i)] }

func (n *network) wait(what string, done func() bool) {
	n.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			n.t.Fatalf("never happened: %s; measured %+v and %+v", what, n.link(0), n.link(1))
		case <-tick.C:
		}
	}
}

func good(d probe.Direction) bool { return d.Known && !d.Silent && d.Loss.Fast < 0.01 }

func TestTwoNodes(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.start(0, 1, publicOf(1))
	n.start(1, 1, publicOf(0))
	clean := func() bool {
		a, b := n.link(0), n.link(1)
		for _, m := range []probe.Measurement{a.Public, a.Mesh, b.Public, b.Mesh} {
			if !good(m.In) || !good(m.Out) || m.RTT <= 0 {
				return false
			}
		}
		return true
	}
	n.wait("both directions of both paths are clean", clean)
	n.wait("the largest packet is found", func() bool {
		a, b := n.link(0).Public, n.link(1).Public
		return a.In.MTU == 1500 && a.Out.MTU == 1500 && b.In.MTU == 1500 && b.Out.MTU == 1500
	})

	// One direction of one path loses packets: b's firewall drops half of what a sends it in public.
	n.in(1, "flush chain inet filter input\nadd rule inet filter input ip saddr "+publicOf(0).String()+" numgen random mod 100 < 50 drop\n", "nft", "-f", "-")
	n.wait("the loss is seen at both ends, in that direction alone", func() bool {
		a, b := n.link(0), n.link(1)
		return b.Public.In.Loss.Slow > 0.15 && a.Public.Out.Loss.Slow > 0.15 &&
			good(a.Public.In) && good(a.Mesh.In) && good(b.Mesh.In)
	})
	n.in(1, "flush chain inet filter input\nadd rule inet filter input ip saddr "+publicOf(0).String()+" drop\n", "nft", "-f", "-")
	n.wait("a cut in one direction is seen at both ends", func() bool {
		a, b := n.link(0), n.link(1)
		return b.Public.In.Silent && a.Public.Out.Known && a.Public.Out.Silent && !a.Public.In.Silent && !b.Mesh.In.Silent
	})
	n.in(1, "flush chain inet filter input\n", "nft", "-f", "-")
	n.wait("it is well again", clean)
}

// TestFirewalls has the trap of a firewall that lets a node in only as an answer to its own packets.
func TestFirewalls(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.in(1, "add rule inet filter input ct state established,related accept\nadd rule inet filter input ip saddr "+publicOf(0).String()+" drop\n", "nft", "-f", "-")
	n.start(0, 1, publicOf(1))
	n.start(1, 1, publicOf(0))
	n.wait("the direction that is filtered is told from the one that is not", func() bool {
		a := n.link(0)
		return a.Public.Out.Known && a.Public.Out.Silent && good(a.Public.In) && good(n.link(1).Mesh.In)
	})
	if b := n.link(1).Public; b.In.Known {
		t.Errorf("b got something: %+v", b)
	}
	// A firewall of one's own that lets nothing out.
	n.in(1, "flush chain inet filter input\nadd rule inet filter output ip daddr "+publicOf(0).String()+" udp dport 655 drop\n", "nft", "-f", "-")
	n.wait("what cannot be sent is said", func() bool { return n.link(1).Public.SendError != "" && n.link(0).Public.SendError == "" })
}

func TestSix(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	nobody := netip.MustParseAddr("2001:db8::99")
	n.start(0, 1, nobody, sixOf(1)) // the first address does not answer
	n.start(1, 1, sixOf(0))
	n.wait("the second address is tried, and both directions are clean", func() bool {
		a, b := n.link(0).Public, n.link(1).Public
		return good(a.In) && good(a.Out) && good(b.In) && good(b.Out) && a.Address == sixOf(1)
	})
}

// TestStrangers has somebody without the key, and what is no probe at all.
func TestStrangers(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.start(0, 1, publicOf(1))
	n.start(1, 2, publicOf(0))
	n.inside(1, func() {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "udp4", netip.AddrPortFrom(publicOf(0), port).String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		for _, b := range [][]byte{nil, {1}, bytes.Repeat([]byte{0xa7, 0x01, 0x1e, 0x57}, 40), make([]byte, 1400)} {
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
		}
	})
	right := [32]byte(bytes.Repeat([]byte{2}, 32))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	<-ctx.Done()
	if a, b := n.link(0).Public, n.link(1).Public; a.In.Known || b.In.Known || a.Out.Known || b.Out.Known {
		t.Errorf("packets of another key were believed: %+v, %+v", a, b)
	}
	n.nodes[0].SetPeers(map[string]probe.Peer{"b": {Key: right, Mesh: meshOf(1), Public: []netip.Addr{publicOf(1)}}})
	n.wait("with one key they understand each other", func() bool { return good(n.link(0).Public.In) && good(n.link(1).Public.In) })
}
