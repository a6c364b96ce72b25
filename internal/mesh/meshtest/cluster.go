package meshtest

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// cluster is some machines behind one router, with a driver on each.
type cluster struct {
	internet *machinetest.Internet
	spec     spec.Cluster
	links    map[string]spec.Link
	nodes    map[string]*node
}

type node struct {
	name    string
	machine *machinetest.Machine
	driver  mesh.Driver
	public  netip.Addr
	// hidden is for a node that the others have no address of.
	hidden bool
	mesh   netip.Addr
	// key is the node's public key, number its number, and other a second key that the others know.
	key    string
	number int
	other  *spec.MeshKey
}

// newCluster makes a machine and a driver for each name; nothing is applied yet. Edit may change what the cluster says.
func newCluster(t *testing.T, d spec.MeshDriver, newDriver mesh.New, edit func(*spec.Cluster), names ...string) *cluster {
	t.Helper()
	return newClusterAt(t, d, newDriver, edit, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)}) }, names...)
}

// newClusterAt is newCluster with public addresses of choice.
func newClusterAt(t *testing.T, d spec.MeshDriver, newDriver mesh.New, edit func(*spec.Cluster), public func(int) netip.Addr, names ...string) *cluster {
	t.Helper()
	c := &cluster{
		internet: machinetest.NewInternet(t),
		spec: spec.Cluster{
			MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"),
			Mesh:     spec.Mesh{Driver: d, Port: 655}, Ports: spec.DefaultPorts(),
		},
		links: map[string]spec.Link{},
		nodes: map[string]*node{},
	}
	if edit != nil {
		edit(&c.spec)
	}
	taken := map[netip.Addr]string{}
	for i, name := range names {
		n := &node{name: name, machine: machinetest.New(t, name), public: public(i)}
		c.internet.Attach(t, n.machine, n.public)
		// As most machines are: a driver that needs the kernel to forward has to see to it.
		n.machine.Run(t, "sh", "-ec", "echo 0 >/proc/sys/net/ipv4/ip_forward")
		var err error
		if n.mesh, err = topology.AllocateMeshAddress(c.spec.MeshCIDR, name, taken); err != nil {
			t.Fatal(err)
		}
		taken[n.mesh] = name
		n.driver = newDriver(n.machine.Sys, machinetest.Logger(t, name))
		n.ensureKey(t)
		c.nodes[name] = n
	}
	return c
}

func (n *node) ensureKey(t *testing.T) {
	t.Helper()
	key, err := n.driver.EnsureKey(t.Context())
	if err != nil {
		t.Fatalf("node %s: %v", n.name, err)
	}
	n.key = key
}

// view returns what node self sees when members are the cluster.
func (c *cluster) view(t *testing.T, self string, members ...string) *topology.View {
	t.Helper()
	in := topology.Input{ClusterName: "test", Cluster: c.spec, Nodes: map[string]spec.Node{}, Links: c.links, MeshKeys: map[string]string{}, KeyNumbers: map[string]int{}, OtherKeys: map[string]spec.MeshKey{}}
	for _, name := range members {
		n := c.nodes[name]
		one := spec.Node{
			Provider: "test", Site: "test", MeshAddress: n.mesh,
			Machine: spec.Machine{Variant: spec.MachineManual},
		}
		if !n.hidden {
			one.Addresses = []string{n.public.String()}
		}
		in.Nodes[name] = one
		in.MeshKeys[name], in.KeyNumbers[name] = n.key, n.number
		if n.other != nil {
			in.OtherKeys[name] = *n.other
		}
	}
	v, err := topology.Derive(in, self)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// apply applies the view of members on each of the nodes in on, on all members if on is nil.
func (c *cluster) apply(t *testing.T, members []string, on ...string) {
	t.Helper()
	if on == nil {
		on = members
	}
	for _, name := range on {
		if err := c.nodes[name].driver.Apply(t.Context(), c.view(t, name, members...)); err != nil {
			t.Fatalf("node %s: %v", name, err)
		}
	}
}

// pings tells whether an echo to a mesh address comes back within a second.
func (n *node) pings(ctx context.Context, to *node) bool {
	_, err := n.machine.Sys.System.Run(ctx, host.Command{Name: "ping", Args: []string{"-n", "-q", "-c", "1", "-W", "1", to.mesh.String()}})
	return err == nil
}

func (n *node) peer(ctx context.Context, t *testing.T, to *node) mesh.PeerStatus {
	t.Helper()
	st, err := n.driver.Status(ctx)
	if err != nil {
		t.Fatalf("node %s: %v", n.name, err)
	}
	return st.Peers[to.name]
}

// never fails the test when fn becomes true within d.
func never(t *testing.T, d time.Duration, what string, fn func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for ctx.Err() == nil {
		if fn(t.Context()) {
			t.Fatalf("happened: %s", what)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// allConnected waits until every node has every other on its direct path and gets its echoes back.
func (c *cluster) allConnected(t *testing.T, names ...string) {
	t.Helper()
	took := machinetest.Eventually(t, patience, fmt.Sprintf("%v all directly connected", names), func(ctx context.Context) bool {
		for _, a := range names {
			for _, b := range names {
				if a != b && (!c.nodes[a].peer(ctx, t, c.nodes[b]).Direct || !c.nodes[a].pings(ctx, c.nodes[b])) {
					return false
				}
			}
		}
		return true
	})
	t.Logf("connected after %s", took.Round(10*time.Millisecond))
}
