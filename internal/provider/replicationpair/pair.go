package replicationpair

import (
	"context"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// end is one node's side in plain terms. What is unknown is empty.
type end struct {
	key     string
	cluster string
	node    operator.Peer
	path    types.String
	// coldPath is null where it is not set; described tells that it is known whether it is.
	coldPath  types.String
	described bool
	domain    reference.Domain
	// missing are the arguments that are not set.
	missing []string
}

// at is where the side is in the configuration.
func (e end) at() path.Path { return path.Root("nodes").AtMapKey(e.key) }

// pair is a pair in plain terms.
type pair struct {
	name string
	// cluster is that of the first node whose cluster is known.
	cluster string
	// ends are sorted by their keys; complete tells that it is known which keys there are.
	ends     []end
	complete bool
	// whole tells that all of it is known, so that body is the pair.
	whole bool
	body  spec.Pair
}

func (p *pair) ref() spec.Ref { return spec.Ref{Kind: spec.KindPair, Name: p.name} }

func (p *pair) id() string { return p.cluster + "/" + p.name }

// keys returns the keys of the nodes by their names.
func (p *pair) keys() map[string]string {
	out := map[string]string{}
	for _, e := range p.ends {
		out[e.node.Name] = e.key
	}
	return out
}

// end returns the side of a node.
func (p *pair) end(node string) (end, bool) {
	i := slices.IndexFunc(p.ends, func(e end) bool { return e.node.Name == node })
	if i < 0 {
		return end{}, false
	}
	return p.ends[i], true
}

// pair reads the model. Values may be unknown.
func (m *Model) pair(ctx context.Context) (pair, diag.Diagnostics) {
	p := pair{name: m.Name.ValueString(), complete: known(m.Nodes), whole: known(m.Nodes)}
	var diags diag.Diagnostics
	for _, v := range m.settings() {
		raw, err := v.ToTerraformValue(ctx)
		if err != nil {
			diags.AddError(invalid, err.Error()+".")
			return p, diags
		}
		p.whole = p.whole && raw.IsFullyKnown()
	}
	nodes := map[string]types.Object{}
	if p.complete {
		diags.Append(m.Nodes.ElementsAs(ctx, &nodes, false)...)
	}
	p.body = spec.Pair{
		Driver: spec.ReplicationDriver(m.Driver.ValueString()), Ends: map[string]spec.PairEnd{},
		Owner: m.Owner.ValueString(), Group: m.Group.ValueString(), Objective: int(m.Objective.ValueInt64()),
	}
	for _, key := range slices.Sorted(maps.Keys(nodes)) {
		e, more := readEnd(ctx, key, nodes[key])
		diags.Append(more...)
		p.ends = append(p.ends, e)
		if p.cluster == "" {
			p.cluster = e.cluster
		}
		if p.whole = p.whole && e.node.Name != "" && e.cluster != "" && known(e.path) && !e.coldPath.IsUnknown(); e.node.Name != "" {
			p.body.Ends[e.node.Name] = spec.PairEnd{Path: e.path.ValueString(), ColdPath: e.coldPath.ValueString()}
		}
		if key == m.Leader.ValueString() {
			p.body.Leader = e.node.Name
		}
	}
	patterns, more := reference.Strings(ctx, m.Exclude)
	diags.Append(more...)
	if len(patterns) > 0 {
		p.body.Exclude = patterns
	}
	p.body.Limits, more = m.limits(ctx)
	diags.Append(more...)
	p.body.Cold, more = m.cold(ctx)
	diags.Append(more...)
	p.body.Standby, more = m.standby(ctx)
	diags.Append(more...)
	p.body.After, more = m.after(ctx)
	diags.Append(more...)
	return p, diags
}

func readEnd(ctx context.Context, key string, o types.Object) (end, diag.Diagnostics) {
	e := end{key: key, path: types.StringUnknown(), coldPath: types.StringUnknown()}
	if o.IsNull() {
		e.missing = []string{"node", "path"}
	}
	if !known(o) {
		return e, nil
	}
	var in struct {
		Node types.Object `tfsdk:"node"`
		Path types.String `tfsdk:"path"`
		Cold types.String `tfsdk:"cold_path"`
	}
	diags := o.As(ctx, &in, basetypes.ObjectAsOptions{})
	e.path, e.coldPath, e.described = in.Path, in.Cold, true
	if in.Node.IsNull() {
		e.missing = append(e.missing, "node")
	}
	if in.Path.IsNull() {
		e.missing = append(e.missing, "path")
	}
	n, ok, more := reference.PlacedNodeFrom(ctx, in.Node)
	if diags.Append(more...); !ok {
		return e, diags
	}
	cluster, more := n.ClusterName(ctx)
	diags.Append(more...)
	endpoints, more := n.Addresses(ctx)
	diags.Append(more...)
	e.domain, more = n.Domain(ctx)
	diags.Append(more...)
	e.cluster = cluster.ValueString()
	e.node = operator.Peer{Name: n.Name.ValueString(), Endpoints: endpoints, Identity: n.Identity.ValueString()}
	return e, diags
}

// settle fills in what follows from the rest and was not configured.
func (m *Model) settle(config *Model) {
	if config.Group.IsNull() {
		m.Group = m.Owner
	}
	if config.Leader.IsNull() {
		m.Leader = types.StringUnknown()
		if known(m.Nodes) && len(m.Nodes.Elements()) > 0 {
			m.Leader = types.StringValue(slices.Min(slices.Collect(maps.Keys(m.Nodes.Elements()))))
		}
	}
}

// fromSpec sets what a pair object says. Nodes that the model has keep their keys and what else it knows of them; of others seen tells.
func (m *Model) fromSpec(ctx context.Context, p *pair, body spec.Pair, seen operator.Known) diag.Diagnostics {
	m.ID, m.Name = types.StringValue(p.id()), types.StringValue(p.name)
	m.Driver, m.Owner, m.Group = types.StringValue(string(body.Driver)), types.StringValue(body.Owner), types.StringValue(body.Group)
	m.Exclude, m.Objective = reference.StringList(body.Exclude), types.Int64Value(int64(body.Objective))
	diags := m.setLimits(ctx, body.Limits)
	m.setCold(body.Cold)
	m.setStandby(body.Standby)
	m.setAfter(body.After)
	keys := p.keys()
	nodes := map[string]attr.Value{}
	for _, name := range body.Nodes() {
		key, node := keys[name], attr.Value(nil)
		if key != "" {
			if had, ok := m.Nodes.Elements()[key].(types.Object); ok {
				node = had.Attributes()["node"]
			}
		}
		if node == nil {
			key, keys[name] = name, name
			n, identity := seen.Nodes[name], ""
			if admitted, ok := seen.Members[name]; ok {
				identity = admitted.Identity.String()
			}
			node = reference.PlacedNodeValue(p.cluster, name, seen.Endpoints("")[name], identity, n.Provider, n.Site)
		}
		nodes[key] = types.ObjectValueMust(nodeTypes(), map[string]attr.Value{"node": node, "path": types.StringValue(body.Ends[name].Path), "cold_path": textOrNull(body.Ends[name].ColdPath)})
	}
	m.Nodes = types.MapValueMust(types.ObjectType{AttrTypes: nodeTypes()}, nodes)
	m.Leader = types.StringValue(keys[body.Leader])
	return diags
}
