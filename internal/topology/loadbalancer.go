package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// LoadBalancer is a load balancer as a node that belongs to it has to see it.
type LoadBalancer struct {
	Hostname string
	// Self is the part of the node whose view this is.
	Self spec.ServingNode
	// Peers are the other nodes of the load balancer that are admitted members, sorted by name.
	Peers []ServingPeer
	// Nodes are the names of all nodes of the load balancer, sorted: also those that are not admitted or not in the cluster.
	Nodes []string
	// Check, MinimumNodes, Removal and Proxy are as in the load balancer's object, but that Proxy is nil where the node cannot
	// run it beside what else it runs; the view's Problems say so.
	Check        *spec.ApplicationCheck
	MinimumNodes int
	Removal      *spec.QuickRemoval
	Proxy        *spec.Proxy
}

// ServingPeer is another node of a load balancer.
type ServingPeer struct {
	Peer
	spec.ServingNode
	// HealthPort is the TCP port of the peer's health endpoint.
	HealthPort int
}

// LoadBalancer returns the load balancer of that hostname and whether the node belongs to one.
func (v *View) LoadBalancer(hostname string) (LoadBalancer, bool) {
	i, ok := slices.BinarySearchFunc(v.LoadBalancers, hostname, func(b LoadBalancer, name string) int { return strings.Compare(b.Hostname, name) })
	if !ok {
		return LoadBalancer{}, false
	}
	return v.LoadBalancers[i], true
}

// loadBalancers returns those that self belongs to, sorted by hostname. The view's peers must be there.
func (v *View) loadBalancers(in Input) []LoadBalancer {
	var out []LoadBalancer
	taken := portOwners(in, v.Self.Name)
	for _, hostname := range slices.Sorted(maps.Keys(in.LoadBalancers)) {
		lb := in.LoadBalancers[hostname]
		self, ours := lb.Nodes[v.Self.Name]
		if !ours {
			continue
		}
		b := LoadBalancer{
			Hostname: hostname, Self: self, Nodes: slices.Sorted(maps.Keys(lb.Nodes)),
			Check: lb.Check, MinimumNodes: lb.MinimumNodes, Removal: lb.Removal,
		}
		if len(collisions(hostname, lb, taken)) == 0 {
			b.Proxy = lb.Proxy
		}
		for _, p := range v.Peers {
			if part, ok := lb.Nodes[p.Name]; ok {
				b.Peers = append(b.Peers, ServingPeer{Peer: p, ServingNode: part, HealthPort: in.Cluster.Ports.Health})
			}
		}
		out = append(out, b)
	}
	return out
}

// owner is what has a TCP port of a node, in words, and the load balancer that it belongs to, "" for the cluster itself.
type owner struct {
	hostname, what string
	// driver and field are set where it is a proxy: those of one driver share a port that is for the same thing.
	driver spec.ProxyDriver
	field  string
}

// portOwners returns what every TCP port of a node is for. Of proxies that do not get on with each other it is the first by
// hostname.
func portOwners(in Input, node string) map[int]owner {
	ports := in.Cluster.Ports
	out := map[int]owner{
		ports.API: {what: "the port of the cluster's API"}, ports.Health: {what: "the port of the health endpoint"},
		ports.Gossip: {what: "the port of gossip"}, in.Cluster.Mesh.Port: {what: "the port of the mesh"},
	}
	if ports.Map != 0 {
		out[ports.Map] = owner{what: "the port of the live map"}
	}
	hostnames := slices.Sorted(maps.Keys(in.LoadBalancers))
	for _, hostname := range hostnames {
		if part, ours := in.LoadBalancers[hostname].Nodes[node]; ours {
			claim(out, part.Port, owner{hostname: hostname, what: "the port of the application of " + hostname})
		}
	}
	for _, hostname := range hostnames {
		lb := in.LoadBalancers[hostname]
		if _, ours := lb.Nodes[node]; !ours || lb.Proxy == nil || len(collisions(hostname, lb, out)) > 0 {
			continue
		}
		for _, port := range proxyPorts(lb.Proxy) {
			claim(out, port.number, owner{
				hostname: hostname, what: fmt.Sprintf("the %s of the proxy of %s", port.field, hostname), driver: lb.Proxy.Driver, field: port.field,
			})
		}
	}
	return out
}

func claim(taken map[int]owner, port int, by owner) {
	if _, already := taken[port]; !already && port != 0 {
		taken[port] = by
	}
}

// proxyPort is a port of a proxy and its field in the proxy's JSON form.
type proxyPort struct {
	field  string
	number int
}

func proxyPorts(p *spec.Proxy) []proxyPort {
	return slices.DeleteFunc([]proxyPort{{"port", p.Port}, {"tls_port", p.TLSPort}}, func(p proxyPort) bool { return p.number == 0 })
}

// collisions returns the fields of a load balancer's proxy whose ports something else has on the node. Proxies of one driver
// tell hostnames on one port apart, but not plain HTTP from HTTPS.
func collisions(hostname string, lb spec.LoadBalancer, taken map[int]owner) []proxyPort {
	if lb.Proxy == nil {
		return nil
	}
	return slices.DeleteFunc(proxyPorts(lb.Proxy), func(p proxyPort) bool {
		by, used := taken[p.number]
		shared := by.driver == lb.Proxy.Driver && by.field == p.field
		return !used || shared || by.hostname == hostname
	})
}

// checkLoadBalancers returns what is wrong between load balancers and everything else. A port that is taken on several nodes
// is told of the first of them.
func checkLoadBalancers(in Input) spec.Problems {
	var ps spec.Problems
	taken := map[string]map[int]owner{}
	for name := range in.Nodes {
		taken[name] = portOwners(in, name)
	}
	for _, hostname := range slices.Sorted(maps.Keys(in.LoadBalancers)) {
		lb := in.LoadBalancers[hostname]
		told := map[string]bool{}
		for _, node := range slices.Sorted(maps.Keys(lb.Nodes)) {
			if _, ok := in.Nodes[node]; !ok {
				ps = append(ps, problem(spec.KindLoadBalancer, hostname, "nodes", "add the node or take it out of the load balancer; until then it does not count",
					"node %q is not in the cluster", node))
				continue
			}
			for _, port := range collisions(hostname, lb, taken[node]) {
				if told[port.field] {
					continue
				}
				told[port.field] = true
				ps = append(ps, problem(spec.KindLoadBalancer, hostname, "proxy."+port.field, "choose another port; until then the proxy does not run where the port is taken",
					"%d is %s on node %q", port.number, taken[node][port.number].what, node))
			}
		}
	}
	return ps
}
