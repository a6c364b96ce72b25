package probes_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

var measure = flag.Bool("measure", false, "measure how quickly a mesh leaves bad links, for some minutes")

// patience is for machines that have too much to do: how long things take is for measurements and drills.
const patience = 2 * time.Minute

// cluster is nodes with a real mesh behind one router, each with a manager that hears of the others at once.
type cluster struct {
	t        *testing.T
	internet *machinetest.Internet
	names    []string
	nodes    map[string]*node
}

type node struct {
	name         string
	machine      *machinetest.Machine
	driver       *tinc.Driver
	public, mesh netip.Addr
	identity     *trust.Identity
	view         *topology.View
	manager      *probes.Manager
	stop         func()

	mu    sync.Mutex
	peers map[string]spec.PeerStatus
}

func newCluster(t *testing.T, names ...string) *cluster {
	t.Helper()
	machinetest.Require(t, "tincd", "ping")
	c := &cluster{t: t, internet: machinetest.NewInternet(t), names: names, nodes: map[string]*node{}}
	in := topology.Input{
		ClusterName: "test", Cluster: spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()},
		Nodes: map[string]spec.Node{}, MeshKeys: map[string]string{},
	}
	for i, name := range names {
		n := &node{
			name: name, machine: machinetest.New(t, name), public: netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)}), mesh: netip.AddrFrom4([4]byte{10, 66, 0, byte(10 + i)}),
			peers: map[string]spec.PeerStatus{},
		}
		c.internet.Attach(t, n.machine, n.public)
		n.driver = tinc.NewWith(n.machine.Sys, slog.New(slog.DiscardHandler), tinc.Options{KeyBits: 2048})
		key, err := n.driver.EnsureKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n.identity, err = trust.NewIdentity(); err != nil {
			t.Fatal(err)
		}
		in.Nodes[name] = spec.Node{Provider: "test", Site: "test", MeshAddress: n.mesh, Addresses: []string{n.public.String()}, Machine: spec.Machine{Variant: spec.MachineManual}}
		in.MeshKeys[name] = key
		c.nodes[name] = n
	}
	for _, n := range c.nodes {
		var err error
		if n.view, err = topology.Derive(in, n.name); err != nil {
			t.Fatal(err)
		}
		if err := n.driver.Apply(t.Context(), n.view); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		c.start(name)
	}
	return c
}

// start starts a node's manager.
func (c *cluster) start(name string) {
	c.t.Helper()
	n := c.nodes[name]
	before := map[string]spec.LinkStatus{}
	if n.manager != nil {
		before = n.manager.All()
	}
	n.mu.Lock()
	n.manager = probes.New(probes.Config{
		Cluster: "test", Node: name, Before: before,
		Key: func(peer trust.PublicKey) ([trust.PairKeySize]byte, error) { return n.identity.PairKey(peer, "probe") },
		Open: func(o probe.Options) (p probes.Prober, err error) {
			err = n.machine.InNetwork(func() error {
				p, err = probe.Open(o, slog.New(slog.DiscardHandler))
				return err
			})
			return p, err
		},
		See: func() probes.Sight { return c.see(n) },
		Echo: func(ctx context.Context, to netip.Addr, wait time.Duration) bool {
			_, err := n.machine.Sys.System.Run(ctx, host.Command{Name: "ping", Args: []string{"-n", "-q", "-c", "3", "-i", "0.1", "-W", fmt.Sprintf("%.2f", wait.Seconds()), to.String()}})
			return err == nil
		},
		Dial: func(ctx context.Context, to netip.AddrPort) error {
			return n.machine.InNetwork(func() error {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", to.String())
				if err != nil {
					return err
				}
				return conn.Close()
			})
		},
		Changed: func(bool) {}, Now: time.Now, Log: machinetest.Logger(c.t, name),
	})
	manager := n.manager
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(c.t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = manager.Run(ctx) })
	done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for ctx.Err() == nil {
			c.look(ctx, n)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	n.stop = sync.OnceFunc(func() {
		cancel()
		done.Wait()
	})
	c.t.Cleanup(n.stop)
}

// look sees what the mesh's driver says.
func (c *cluster) look(ctx context.Context, n *node) {
	st, err := n.driver.Status(ctx)
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, p := range st.Peers {
		old := n.peers[name]
		now := spec.PeerStatus{Reachable: p.Reachable, Direct: p.Direct, NextHop: p.NextHop, Since: old.Since}
		if old.Direct != p.Direct || old.Reachable != p.Reachable || old.Since.IsZero() {
			now.Since = time.Now()
		}
		n.peers[name] = now
	}
}

func (c *cluster) see(n *node) probes.Sight {
	s := probes.Sight{View: n.view, Driver: n.driver, Identities: map[string]trust.PublicKey{}, Statuses: map[string]spec.Status{}, Received: map[string]time.Time{}, Peers: n.seen()}
	for name, other := range c.nodes {
		s.Identities[name] = other.identity.Public()
		if name == n.name {
			continue
		}
		s.Statuses[name], s.Received[name] = spec.Status{Node: name, Peers: other.seen(), Links: other.links()}, time.Now()
	}
	return s
}

func (n *node) seen() map[string]spec.PeerStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string]spec.PeerStatus{}
	for name, p := range n.peers {
		out[name] = p
	}
	return out
}

func (n *node) links() map[string]spec.LinkStatus {
	n.mu.Lock()
	m := n.manager
	n.mu.Unlock()
	if m == nil {
		return nil
	}
	return m.All()
}

func (c *cluster) wait(what string, done func() bool) time.Duration {
	c.t.Helper()
	return machinetest.Eventually(c.t, patience, what, func(context.Context) bool { return done() })
}

// calm waits until every link is direct and measured.
func (c *cluster) calm() {
	c.t.Helper()
	c.wait("every link is direct", func() bool {
		for _, n := range c.nodes {
			for _, other := range c.names {
				link := n.links()[other]
				if other != n.name && (link.Condition != spec.LinkDirect || link.In == nil || link.Out == nil || link.In.Loss > 0 || !n.seen()[other].Direct) {
					return false
				}
			}
		}
		return true
	})
}

// loses makes packets between two nodes get lost, in both directions.
func (c *cluster) loses(a, b string, percent int) {
	c.t.Helper()
	var rules []string
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		rules = append(rules, fmt.Sprintf("ip saddr %s ip daddr %s numgen random mod 1000 < %d drop\n", c.nodes[pair[0]].public, c.nodes[pair[1]].public, min(10*percent, 999)))
	}
	c.internet.SetCutsOrFail(c.t, rules...)
}

func TestLossyLink(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "a", "b", "c")
	c.calm()
	c.loses("a", "c", 40)
	gone := func() bool {
		return slices.Contains(c.nodes["a"].manager.Away(), "c") || slices.Contains(c.nodes["c"].manager.Away(), "a")
	}
	t.Logf("left after %s", c.wait("one end leaves the link", gone).Round(10*time.Millisecond))
	c.wait("traffic goes by b", func() bool {
		return c.nodes["a"].seen()["c"].NextHop == "b" && c.nodes["c"].seen()["a"].NextHop == "b"
	})
	c.wait("the link is called lossy", func() bool {
		l := c.nodes["a"].links()["c"]
		return l.Condition == spec.LinkLossy && strings.Contains(l.Message, "loses")
	})
	// An agent that starts again goes on where it was.
	for _, name := range []string{"a", "c"} {
		c.nodes[name].stop()
		c.start(name)
	}
	if !gone() {
		t.Error("the decision was lost with the agent")
	}
	c.wait("traffic goes by b still", func() bool { return c.nodes["a"].seen()["c"].NextHop == "b" })
	// The detour dies: a bad link is better than none.
	for _, other := range []string{"a", "c"} {
		c.nodes[other].machine.Run(t, "ip", "route", "add", "blackhole", c.nodes["b"].public.String())
	}
	c.wait("traffic takes the direct way, however bad", func() bool { return c.nodes["a"].seen()["c"].Direct && !gone() })
}

// TestAgentAway has an agent that does not run, which is no dead link.
func TestAgentAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "a", "b", "c")
	c.calm()
	c.nodes["c"].stop()
	c.wait("both others see that nothing comes from c", func() bool {
		return c.nodes["a"].links()["c"].In.Silent && c.nodes["b"].links()["c"].In.Silent
	})
	for _, name := range []string{"a", "b"} {
		if away := c.nodes[name].manager.Away(); len(away) > 0 {
			t.Errorf("%s leaves %v while only an agent is away", name, away)
		}
	}
	c.start("c")
	c.calm()
}

// TestOneSidedFirewall filters one direction of UDP, as a firewall does that lets a node in as an answer only.
func TestOneSidedFirewall(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "a", "b", "c")
	c.calm()
	c.internet.SetCutsOrFail(t, fmt.Sprintf("ip saddr %s ip daddr %s udp dport 655 udp sport != 655 drop\n", c.nodes["a"].public, c.nodes["c"].public))
	c.wait("a says that c does not let it in, and c the same", func() bool {
		a, b := c.nodes["a"].links()["c"], c.nodes["c"].links()["a"]
		return a.Condition == spec.LinkOneWay && a.Cause == spec.CauseFilteredPort && strings.Contains(a.Message, "UDP port 655 of c") &&
			b.Condition == spec.LinkOneWay && strings.Contains(b.Message, "the firewall of c")
	})
	if !c.nodes["a"].seen()["c"].Direct || len(c.nodes["a"].manager.Away()) > 0 {
		t.Errorf("a link that works was left: %v, %+v", c.nodes["a"].manager.Away(), c.nodes["a"].seen()["c"])
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "a", "b", "c")
	c.calm()
	c.internet.Cut(t, c.nodes["a"].public, c.nodes["c"].public)
	c.internet.Cut(t, c.nodes["c"].public, c.nodes["a"].public)
	c.wait("traffic goes by b", func() bool { return c.nodes["a"].seen()["c"].NextHop == "b" })
	c.wait("the link is called cut", func() bool { return c.nodes["a"].links()["c"].Condition == spec.LinkCut })
}

var replyLine = regexp.MustCompile(`^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+)`)

// trafficOf sends echoes every 20 ms for a time; it returns what share was answered, in each second too, and the longest gap between two answers.
func (n *node) traffic(t *testing.T, to *node, seconds int) (share float64, each []float64, gap time.Duration) {
	t.Helper()
	const perSecond = 50
	out, _ := n.machine.Sys.System.Run(t.Context(), host.Command{Name: "ping", Args: []string{"-D", "-n", "-i", "0.02", "-W", "1", "-c", strconv.Itoa(perSecond * seconds), to.mesh.String()}})
	each = make([]float64, seconds)
	var last time.Time
	answered := 0
	for lines := bufio.NewScanner(strings.NewReader(string(out.Stdout))); lines.Scan(); {
		m := replyLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		at, _ := strconv.ParseFloat(m[1], 64)
		seq, _ := strconv.Atoi(m[2])
		answered++
		each[min((seq-1)/perSecond, seconds-1)] += 1.0 / perSecond
		now := time.UnixMicro(int64(at * 1e6))
		if !last.IsZero() {
			gap = max(gap, now.Sub(last))
		}
		last = now
	}
	return float64(answered) / float64(perSecond*seconds), each, gap
}
