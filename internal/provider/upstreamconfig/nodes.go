package upstreamconfig

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/upstream"
)

func nameParameter(of string) function.StringParameter {
	return function.StringParameter{
		Name: "name", MarkdownDescription: of + " Lower-case letters, digits and inner hyphens.",
	}
}

// member is what the functions take of an atoll_node. Anything sensitive in a parameter makes the result sensitive, so they take
// no more, and what is said of a node besides is among the options.
type member struct {
	Name        types.String `tfsdk:"name"`
	MeshAddress types.String `tfsdk:"mesh_address"`
	Addresses   types.List   `tfsdk:"addresses"`
}

func nodesParameter() function.MapParameter {
	return function.MapParameter{
		Name: "nodes",
		ElementType: types.ObjectType{AttrTypes: map[string]attr.Type{
			"name": types.StringType, "mesh_address": types.StringType, "addresses": types.ListType{ElemType: types.StringType},
		}},
		MarkdownDescription: "The nodes: a map of `atoll_node`s, such as `atoll_node.web`. A node's `name` is its route. A machine that is no node of Atoll's is an object " +
			"with the same `name`, `addresses` and `mesh_address`, null for none.",
	}
}

// placeOptions describes the options that both functions have for where nodes are.
const placeOptions = "`port` (of the application on the nodes), `network` (`public`, the default, for the first of a node's `addresses`; " +
	"`mesh` for its `mesh_address`, on a machine of the mesh), `node_settings` (objects by the keys of `nodes`, for nodes that differ: `address`, `port`, " +
	"`weight` (1 to 100, default 1), `enabled` (default true), `drain` (`true` keeps visitors whose cookie names the node's route and takes no others; needs " +
	"`sticky_cookie`) and `backup` (`true` for visitors only when no other node takes connections))"

// places are the options for where nodes are, and what differs between them.
type places struct {
	port     int
	mesh     bool
	settings map[string]*reader
}

func readPlaces(options *reader) places {
	p := places{port: options.number("port", 0), settings: map[string]*reader{}}
	switch network := options.text("network", "public"); network {
	case "public":
	case "mesh":
		p.mesh = true
	default:
		options.fail("options.network: %q is no network: write public or mesh", network)
	}
	if all := options.object("node_settings"); all != nil {
		for key, v := range all.values {
			p.settings[key] = read(fmt.Sprintf("%s[%q]", all.in, key), v)
		}
		options.note(all.err)
	}
	return p
}

// nodes puts nodes and settings together. Errors are of type *upstream.Error.
func (p places) nodes(members map[string]member) ([]upstream.Node, error) {
	for _, key := range slices.Sorted(maps.Keys(p.settings)) {
		if _, ok := members[key]; !ok {
			return nil, &upstream.Error{Part: upstream.InOptions, Reason: p.settings[key].in + " is about no node: the keys are those of nodes"}
		}
	}
	out := make([]upstream.Node, 0, len(members))
	for _, key := range slices.Sorted(maps.Keys(members)) {
		n, err := p.node(key, members[key])
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (p places) node(key string, m member) (upstream.Node, error) {
	r := p.settings[key]
	if r == nil {
		r = &reader{known: map[string]bool{}}
	}
	n := upstream.Node{
		Name: m.Name.ValueString(), Host: r.text("address", ""), Port: r.number("port", p.port), Weight: r.number("weight", 1),
	}
	enabled, drain, backup := r.flag("enabled", true), r.flag("drain", false), r.flag("backup", false)
	switch {
	case !enabled:
		n.State = upstream.Disabled
	case drain:
		n.State = upstream.Draining
	case backup:
		n.State = upstream.Spare
	}
	if err := r.end(); err != nil {
		return n, &upstream.Error{Part: upstream.InOptions, Reason: err.Error()}
	}
	if n.Port == 0 {
		return n, &upstream.Error{Part: upstream.InOptions, Reason: fmt.Sprintf("node %q has no port: write port", key)}
	}
	if n.Host == "" {
		n.Host = p.host(m)
	}
	if n.Host == "" {
		where := `addresses: write network = "mesh" in options on a machine of the mesh, or an address in node_settings`
		if p.mesh {
			where = "mesh_address"
		}
		return n, &upstream.Error{Part: upstream.InNodes, Reason: fmt.Sprintf("node %q has no %s", key, where)}
	}
	return n, nil
}

// host is where a node is, "" for nowhere.
func (p places) host(m member) string {
	if p.mesh {
		return m.MeshAddress.ValueString()
	}
	for _, e := range m.Addresses.Elements() {
		if s, ok := e.(types.String); ok {
			return s.ValueString()
		}
	}
	return ""
}
