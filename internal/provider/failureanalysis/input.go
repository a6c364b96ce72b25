package failureanalysis

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
)

const invalid = "Invalid failure analysis"

// anyPort is the port of an application that nobody has named: that of the web.
const anyPort = 80

// question is what is analysed, and where in the configuration its parts are.
type question struct {
	analysis.Input
	// keys are the nodes' keys, by their names.
	keys map[string]string
	// whole tells that nothing is unknown, all that every node is known by its name, and quiet that it is not known what is accepted.
	whole, all, quiet bool
	diags             diag.Diagnostics
}

func (q *question) fault(at path.Path, format string, args ...any) {
	q.diags.AddAttributeError(at, invalid, fmt.Sprintf(format, args...))
}

// question returns the objects that the resources make, as far as the analysis follows from them and as far as they are known.
func (m *Model) question(ctx context.Context) *question {
	q := &question{keys: map[string]string{}, whole: fully(ctx, m.besideNodes()...), all: true, quiet: !fully(ctx, m.Accept), Input: analysis.Input{
		Input: topology.Input{
			Nodes: map[string]spec.Node{}, Links: map[string]spec.Link{}, Databases: map[string]spec.Database{},
			DatabaseMembers: map[string]spec.Member{}, Pairs: map[string]spec.Pair{}, LoadBalancers: map[string]spec.LoadBalancer{},
		},
		Unsure: map[string]bool{}, Accept: map[string][]string{},
	}}
	var c cluster
	settled := fully(ctx, m.Cluster)
	if settled {
		decode(ctx, m.Cluster, &c, &q.diags)
	}
	q.ClusterName, q.Cluster = c.Name.ValueString(), c.spec()
	if !q.quiet && !m.Accept.IsNull() {
		q.diags.Append(m.Accept.ElementsAs(ctx, &q.Accept, false)...)
	}
	q.addNodes(ctx, m, settled)
	q.whole = q.whole && q.nodesWhole(ctx, m)
	each(ctx, m.Links, &q.diags, func(_ string, l link) {
		one := spec.Link{From: l.From.name(), To: l.To.name(), Settings: spec.LinkSettings{TCPOnly: l.TCPOnly.ValueBool()}}
		q.Links[one.Name()] = one
	})
	q.addDatabases(ctx, m)
	q.addPairs(ctx, m)
	q.addBalancers(ctx, m)
	return q
}

// nodesWhole tells whether nothing of the nodes is unknown that matters. Mesh addresses are chosen when nodes are made, and matter only
// where a firewall filters there.
func (q *question) nodesWhole(ctx context.Context, m *Model) bool {
	filters := slices.ContainsFunc(slices.Collect(maps.Values(q.Nodes)), func(n spec.Node) bool { return n.Firewall != nil && n.Firewall.Mesh != nil })
	for _, element := range m.Nodes.Elements() {
		o, ok := element.(types.Object)
		if !ok || o.IsUnknown() {
			return false
		}
		for name, value := range o.Attributes() {
			if (name != "mesh_address" || filters) && !fully(ctx, value) {
				return false
			}
		}
	}
	return !m.Nodes.IsUnknown()
}

// fully tells whether values are known with all that is in them.
func fully(ctx context.Context, values ...attr.Value) bool {
	return !slices.ContainsFunc(values, func(v attr.Value) bool {
		raw, err := v.ToTerraformValue(ctx)
		return err != nil || !raw.IsFullyKnown()
	})
}

// decode reads an object that is fully known. What is null is left at its zero value.
func decode[T any](ctx context.Context, o types.Object, into *T, diags *diag.Diagnostics) {
	if !o.IsNull() {
		diags.Append(o.As(ctx, into, basetypes.ObjectAsOptions{UnhandledNullAsEmpty: true})...)
	}
}

// each calls with for the elements of a map of objects that are fully known, in the order of their keys.
func each[T any](ctx context.Context, of types.Map, diags *diag.Diagnostics, with func(key string, value T)) {
	elements := of.Elements()
	for _, key := range slices.Sorted(maps.Keys(elements)) {
		o, ok := elements[key].(types.Object)
		if !ok || o.IsNull() || !fully(ctx, o) {
			continue
		}
		var value T
		decode(ctx, o, &value, diags)
		with(key, value)
	}
}

func (n *named) name() string {
	if n == nil {
		return ""
	}
	return n.Name.ValueString()
}

func (c cluster) spec() spec.Cluster {
	out := spec.Cluster{Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()}
	if m := c.Mesh; m != nil {
		out.Mesh = spec.Mesh{Driver: spec.MeshDriver(m.Driver.ValueString()), Port: number64(m.Port)}
	}
	if p := c.Ports; p != nil {
		out.Ports = spec.Ports{API: number64(p.API), Health: number64(p.Health), Gossip: number64(p.Gossip), Map: number64(p.Map)}
	}
	return out
}

func number64(n types.Int64) int { return int(n.ValueInt64()) }

// addNodes adds the nodes. Firewalls count only when the cluster is settled, since it is its ports that they are about.
func (q *question) addNodes(ctx context.Context, m *Model, settled bool) {
	q.all = !m.Nodes.IsUnknown()
	elements := m.Nodes.Elements()
	for _, key := range slices.Sorted(maps.Keys(elements)) {
		var n node
		at := path.Root("nodes").AtMapKey(key)
		if o, ok := elements[key].(types.Object); ok && !o.IsUnknown() {
			decode(ctx, o, &n, &q.diags)
		} else {
			n.Name = types.StringUnknown()
		}
		if n.Name.IsUnknown() {
			q.all = false
			continue
		}
		name := n.Name.ValueString()
		of, diags := reference.NameOf(ctx, n.Cluster)
		q.diags.Append(diags...)
		switch other, twice := q.keys[name]; {
		case name == "":
			q.fault(at, "node %q has no name.\n\nGive a map of atoll_node.", key)
			continue
		case twice:
			q.fault(at, "nodes %q and %q are both node %s.\n\nName each node once.", other, key, name)
			continue
		case settled && of.ValueString() != "" && of.ValueString() != q.ClusterName:
			q.fault(at, "node %s is of cluster %q, not of %q.\n\nGive the nodes of one cluster.", name, of.ValueString(), q.ClusterName)
			continue
		}
		q.keys[name] = key
		q.Nodes[name] = q.node(ctx, name, n, settled)
	}
}

func (q *question) node(ctx context.Context, name string, n node, settled bool) spec.Node {
	var body spec.Node
	var d reference.Domain
	if !n.FailureDomain.IsUnknown() {
		decode(ctx, n.FailureDomain, &d, &q.diags)
	}
	body.Provider, body.Site = d.Provider.ValueString(), d.Site.ValueString()
	addresses, diags := reference.Strings(ctx, n.Addresses)
	q.diags.Append(diags...)
	body.Addresses, q.Unsure[name] = addresses, addresses == nil
	// What is not known yet, or no address, stays invalid.
	body.MeshAddress, _ = netip.ParseAddr(n.MeshAddress.ValueString())
	if settled && fully(ctx, n.Firewall) && !n.Firewall.IsNull() {
		var f firewall
		decode(ctx, n.Firewall, &f, &q.diags)
		body.Firewall = f.spec()
	}
	return body
}

func (f *firewall) spec() *spec.Firewall {
	out := &spec.Firewall{Inbound: rulesOf(f.Inbound), Outbound: rulesOf(f.Outbound), Mesh: rulesOf(f.Mesh)}
	if f.Accept != nil {
		out.Accept.Blocked = f.Accept.Blocked
	}
	return out
}

func rulesOf(rules []rule) []spec.FirewallRule {
	if rules == nil {
		return nil
	}
	out := make([]spec.FirewallRule, len(rules))
	for i, r := range rules {
		out[i] = spec.FirewallRule{Protocol: spec.FirewallProtocol(r.Protocol.ValueString()), Ports: r.Ports, Peers: r.Peers}
	}
	return out
}

// addDatabases adds the databases, none while it is not known which members there are: one that is missing would look like a fault.
func (q *question) addDatabases(ctx context.Context, m *Model) {
	if !fully(ctx, m.DatabaseMembers) {
		return
	}
	each(ctx, m.Databases, &q.diags, func(_ string, d database) {
		body := spec.Database{Engine: spec.DatabaseEngine(d.Engine.ValueString()), Votes: number64(d.Votes), Port: number64(d.Port)}
		if r := d.Router; r != nil {
			body.Router = spec.DatabaseRouter{Driver: spec.RouterDriver(r.Driver.ValueString()), WritePort: number64(r.WritePort), ReadPort: number64(r.ReadPort)}
		}
		if d.Accept != nil {
			body.Accept = spec.Accepted{Providers: d.Accept.Providers, Sites: d.Accept.Sites}
		}
		q.Databases[d.Name.ValueString()] = body
	})
	each(ctx, m.DatabaseMembers, &q.diags, func(key string, one member) {
		body := spec.Member{Database: one.Database.name(), Node: one.Node.name(), Role: spec.MemberRole(cmp.Or(one.Role.ValueString(), string(spec.MemberVoter)))}
		at := path.Root("database_members").AtMapKey(key)
		if _, there := q.Databases[body.Database]; !there && fully(ctx, m.Databases) {
			q.fault(at.AtName("database"), "member %q is of database %q, which is none of databases.\n\nAdd the database to databases.", key, body.Database)
		}
		q.mustHave(at.AtName("node"), body.Node, "member "+key)
		q.DatabaseMembers[body.Name()] = body
	})
}

func (q *question) mustHave(at path.Path, name, what string) {
	if _, there := q.Nodes[name]; !there && q.all {
		q.fault(at, "%s is on node %q, which is none of nodes.\n\nGive all nodes of the cluster: what hangs on one thing shows only among all of them.", what, name)
	}
}

func (q *question) addPairs(ctx context.Context, m *Model) {
	each(ctx, m.Pairs, &q.diags, func(key string, p pair) {
		name := p.Name.ValueString()
		body := spec.Pair{Ends: map[string]spec.PairEnd{}}
		for _, end := range slices.Sorted(maps.Keys(p.Nodes)) {
			side := p.Nodes[end]
			if side.Node == nil {
				continue
			}
			q.mustHave(path.Root("pairs").AtMapKey(key).AtName("nodes").AtMapKey(end), side.Node.Name.ValueString(), "pair "+name)
			body.Ends[side.Node.Name.ValueString()] = spec.PairEnd{Path: side.Path.ValueString()}
		}
		q.Pairs[name] = body
	})
}

// addBalancers adds the load balancers. One that nodes of other clusters serve too has a survivor there whatever happens here.
func (q *question) addBalancers(ctx context.Context, m *Model) {
	each(ctx, m.LoadBalancers, &q.diags, func(key string, b balancer) {
		hostname, elsewhere := b.Hostname.ValueString(), false
		body := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}}
		for _, end := range slices.Sorted(maps.Keys(b.Nodes)) {
			n, s := b.Nodes[end], b.Settings[end]
			if n.Cluster != nil && n.Cluster.name() != q.ClusterName {
				elsewhere = true
				continue
			}
			q.mustHave(path.Root("load_balancers").AtMapKey(key).AtName("nodes").AtMapKey(end), n.Name.ValueString(), hostname)
			enabled := (s.Enabled.IsNull() || s.Enabled.ValueBool()) && (s.Weight.IsNull() || s.Weight.ValueFloat64() > 0)
			body.Nodes[n.Name.ValueString()] = spec.ServingNode{Enabled: enabled, Port: cmp.Or(number64(s.Port), number64(b.Port), anyPort)}
		}
		if elsewhere {
			body.Nodes = map[string]spec.ServingNode{}
		}
		if b.Removal != nil {
			body.Removal = &spec.QuickRemoval{}
		}
		if p := b.Proxy; p != nil {
			body.Proxy = &spec.Proxy{Driver: spec.ProxyDriver(p.Driver.ValueString()), Port: number64(p.Port)}
			if p.TLS != nil {
				body.Proxy.TLSPort = number64(p.TLS.Port)
			}
		}
		q.LoadBalancers[hostname] = body
	})
}
