package portsfunction

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// arguments are what the function is called with: of each resource what ports follow from.
type arguments struct {
	cluster   cluster
	nodes     map[string]node
	databases map[string]database
	members   map[string]member
	balancers map[string]balancer
}

type named struct {
	Name string `tfsdk:"name"`
}

func namedTypes() map[string]attr.Type { return map[string]attr.Type{"name": types.StringType} }

func objectOf(t map[string]attr.Type) types.ObjectType { return types.ObjectType{AttrTypes: t} }

type cluster struct {
	Name  string `tfsdk:"name"`
	Mesh  mesh   `tfsdk:"mesh"`
	Ports ports  `tfsdk:"ports"`
}

type mesh struct {
	Driver string `tfsdk:"driver"`
	Port   int64  `tfsdk:"port"`
}

type ports struct {
	API    int64  `tfsdk:"api"`
	Health int64  `tfsdk:"health"`
	Gossip int64  `tfsdk:"gossip"`
	Map    *int64 `tfsdk:"map"`
}

func clusterTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"name":  types.StringType,
		"mesh":  objectOf(map[string]attr.Type{"driver": types.StringType, "port": types.Int64Type}),
		"ports": objectOf(map[string]attr.Type{"api": types.Int64Type, "health": types.Int64Type, "gossip": types.Int64Type, "map": types.Int64Type}),
	}
}

type node struct {
	Name        string       `tfsdk:"name"`
	Cluster     named        `tfsdk:"cluster"`
	PublicPorts *publicPorts `tfsdk:"public_ports"`
}

type publicPorts struct {
	TCP []int64 `tfsdk:"tcp"`
	UDP []int64 `tfsdk:"udp"`
}

func nodeTypes() map[string]attr.Type {
	numbers := types.SetType{ElemType: types.Int64Type}
	return map[string]attr.Type{
		"name": types.StringType, "cluster": objectOf(namedTypes()),
		"public_ports": objectOf(map[string]attr.Type{"tcp": numbers, "udp": numbers}),
	}
}

type database struct {
	Name   string `tfsdk:"name"`
	Engine string `tfsdk:"engine"`
	Port   int64  `tfsdk:"port"`
	Router router `tfsdk:"router"`
}

type router struct {
	Driver    string `tfsdk:"driver"`
	WritePort int64  `tfsdk:"write_port"`
	ReadPort  int64  `tfsdk:"read_port"`
}

func databaseTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"name": types.StringType, "engine": types.StringType, "port": types.Int64Type,
		"router": objectOf(map[string]attr.Type{"driver": types.StringType, "write_port": types.Int64Type, "read_port": types.Int64Type}),
	}
}

type member struct {
	Database named  `tfsdk:"database"`
	Node     named  `tfsdk:"node"`
	Role     string `tfsdk:"role"`
}

func memberTypes() map[string]attr.Type {
	return map[string]attr.Type{"database": objectOf(namedTypes()), "node": objectOf(namedTypes()), "role": types.StringType}
}

type balancer struct {
	Hostname string                 `tfsdk:"hostname"`
	Port     *int64                 `tfsdk:"port"`
	Nodes    map[string]serving     `tfsdk:"nodes"`
	Settings map[string]nodeSetting `tfsdk:"node_settings"`
	Check    *check                 `tfsdk:"application_check"`
	Removal  *removal               `tfsdk:"quick_removal"`
	Proxy    *proxy                 `tfsdk:"local_proxy"`
}

type serving struct {
	Name    string `tfsdk:"name"`
	Cluster *named `tfsdk:"cluster"`
}

type nodeSetting struct {
	Port *int64 `tfsdk:"port"`
}

type check struct {
	Type string `tfsdk:"type"`
	Port *int64 `tfsdk:"port"`
}

// removal takes the one attribute of quick_removal that is not secret: what matters is whether there is one.
type removal struct {
	Version *int64 `tfsdk:"api_token_version"`
}

type proxy struct {
	Driver string `tfsdk:"driver"`
	Port   *int64 `tfsdk:"port"`
	TLS    *tls   `tfsdk:"tls"`
}

type tls struct {
	Port int64 `tfsdk:"port"`
}

func balancerTypes() map[string]attr.Type {
	port := objectOf(map[string]attr.Type{"port": types.Int64Type})
	return map[string]attr.Type{
		"hostname": types.StringType, "port": types.Int64Type,
		"nodes":             types.MapType{ElemType: objectOf(map[string]attr.Type{"name": types.StringType, "cluster": objectOf(namedTypes())})},
		"node_settings":     types.MapType{ElemType: port},
		"application_check": objectOf(map[string]attr.Type{"type": types.StringType, "port": types.Int64Type}),
		"quick_removal":     objectOf(map[string]attr.Type{"api_token_version": types.Int64Type}),
		"local_proxy":       objectOf(map[string]attr.Type{"driver": types.StringType, "port": types.Int64Type, "tls": port}),
	}
}

// input returns the objects that the resources make, as far as ports follow from them. Errors are of type *argumentError.
func (a arguments) input() (topology.Input, error) {
	in := topology.Input{
		ClusterName: a.cluster.Name,
		Cluster: spec.Cluster{
			Mesh:  spec.Mesh{Driver: spec.MeshDriver(a.cluster.Mesh.Driver), Port: int(a.cluster.Mesh.Port)},
			Ports: spec.Ports{API: int(a.cluster.Ports.API), Health: int(a.cluster.Ports.Health), Gossip: int(a.cluster.Ports.Gossip)},
		},
		Nodes: map[string]spec.Node{}, Databases: map[string]spec.Database{}, DatabaseMembers: map[string]spec.Member{}, LoadBalancers: map[string]spec.LoadBalancer{},
	}
	if p := a.cluster.Ports.Map; p != nil {
		in.Cluster.Ports.Map = int(*p)
	}
	for _, add := range []func(*topology.Input) error{a.addNodes, a.addDatabases, a.addBalancers} {
		if err := add(&in); err != nil {
			return in, err
		}
	}
	return in, nil
}

func (a arguments) addNodes(in *topology.Input) error {
	for _, key := range slices.Sorted(maps.Keys(a.nodes)) {
		n := a.nodes[key]
		if _, twice := in.Nodes[n.Name]; twice {
			return &argumentError{atNodes, fmt.Sprintf("two nodes are named %q", n.Name)}
		}
		if n.Cluster.Name != a.cluster.Name {
			return &argumentError{atNodes, fmt.Sprintf("node %q is of cluster %q, not of %q", n.Name, n.Cluster.Name, a.cluster.Name)}
		}
		body := spec.Node{}
		if p := n.PublicPorts; p != nil {
			body.PublicPorts = spec.PublicPorts{TCP: numbers(p.TCP), UDP: numbers(p.UDP)}
		}
		in.Nodes[n.Name] = body
	}
	return nil
}

func (a arguments) addDatabases(in *topology.Input) error {
	for _, key := range slices.Sorted(maps.Keys(a.databases)) {
		d := a.databases[key]
		in.Databases[d.Name] = spec.Database{
			Engine: spec.DatabaseEngine(d.Engine), Port: int(d.Port),
			Router: spec.DatabaseRouter{Driver: spec.RouterDriver(d.Router.Driver), WritePort: int(d.Router.WritePort), ReadPort: int(d.Router.ReadPort)},
		}
	}
	for _, key := range slices.Sorted(maps.Keys(a.members)) {
		m := spec.Member{Database: a.members[key].Database.Name, Node: a.members[key].Node.Name, Role: spec.MemberRole(a.members[key].Role)}
		if _, there := in.Databases[m.Database]; !there {
			return &argumentError{atMembers, fmt.Sprintf("member %q is of database %q, which is none of databases", key, m.Database)}
		}
		if _, there := in.Nodes[m.Node]; !there {
			return &argumentError{atMembers, fmt.Sprintf("member %q is on node %q, which is none of nodes", key, m.Node)}
		}
		in.DatabaseMembers[m.Name()] = m
	}
	return nil
}

// anyPort is the port of an application that nobody has named: that of the web.
const anyPort = 80

// addBalancers adds the load balancers. Nodes of other clusters serve beside those of this one.
func (a arguments) addBalancers(in *topology.Input) error {
	for _, key := range slices.Sorted(maps.Keys(a.balancers)) {
		b := a.balancers[key]
		out := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}}
		for _, at := range slices.Sorted(maps.Keys(b.Nodes)) {
			n := b.Nodes[at]
			if n.Cluster != nil && n.Cluster.Name != a.cluster.Name {
				continue
			}
			if _, there := in.Nodes[n.Name]; !there {
				return &argumentError{atBalancers, fmt.Sprintf("%s is served by node %q, which is none of nodes", b.Hostname, n.Name)}
			}
			out.Nodes[n.Name] = spec.ServingNode{Enabled: true, Port: cmp.Or(number(b.Settings[at].Port), number(b.Port), anyPort)}
		}
		if b.Check != nil {
			out.Check = &spec.ApplicationCheck{Type: spec.CheckType(b.Check.Type), Port: number(b.Check.Port)}
		}
		if b.Removal != nil {
			out.Removal = &spec.QuickRemoval{}
		}
		if p := b.Proxy; p != nil {
			out.Proxy = &spec.Proxy{Driver: spec.ProxyDriver(p.Driver), Port: number(p.Port)}
			if p.TLS != nil {
				out.Proxy.TLSPort = int(p.TLS.Port)
			}
		}
		in.LoadBalancers[b.Hostname] = out
	}
	return nil
}

func number(n *int64) int {
	if n == nil {
		return 0
	}
	return int(*n)
}

func numbers(in []int64) []int {
	out := make([]int, len(in))
	for i, n := range in {
		out[i] = int(n)
	}
	slices.Sort(out)
	return out
}
