package loadbalancer

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
)

// endpoint is one node as it serves the hostname.
type endpoint struct {
	key, name string
	// site is empty while it is unknown.
	site     string
	provider string
	// homeless tells that it is known to have no site.
	homeless bool
	// addresses are the node's own, nil while they are unknown; address is the configured one, empty for none.
	addresses []string
	address   string
	port      int
	enabled   bool
	weight    float64
	// healthPort is that of the node's cluster, 0 while it is unknown.
	healthPort int
	// cluster is the name of the node's cluster, apis where its agent's API listens, and identity the agent's; each is empty while it
	// is unknown.
	cluster, identity string
	apis              []string
	// public are the TCP ports that everybody may reach on the node, nil when the node does not say.
	public []int
	// mute tells that it is known to have no API, and nameless that it is known to have no identity.
	mute, nameless bool
}

// site is what is particular of one site.
type site struct {
	name      string
	settings  siteModel
	endpoints []endpoint
}

// view is the model in plain terms.
type view struct {
	// endpoints are in the order of their keys.
	endpoints []endpoint
	settings  map[string]siteModel
	// complete tells that nothing is unknown, placed that at least every node's site is known, and settled that what is particular
	// of nodes and sites is.
	complete, placed, settled bool
}

// view reads nodes, node_settings and sites. Values inside may be unknown.
func (m *Model) view(ctx context.Context) (view, diag.Diagnostics) {
	var diags diag.Diagnostics
	v := view{settled: true, settings: map[string]siteModel{}}
	settings := map[string]settingsModel{}
	read(ctx, m.NodeSettings, settings, &v.settled, &diags)
	read(ctx, m.Sites, v.settings, &v.settled, &diags)
	nodes := map[string]nodeModel{}
	whole := true
	read(ctx, m.Nodes, nodes, &whole, &diags)
	v.complete, v.placed = v.settled && whole, whole
	for key, n := range nodes {
		e, more := n.endpoint(ctx, key, settings[key])
		diags.Append(more...)
		if e.name == "" || e.site == "" && !e.homeless || e.addresses == nil && e.address == "" {
			v.complete = false
		}
		if e.site == "" {
			v.placed = false
		}
		v.endpoints = append(v.endpoints, e)
	}
	slices.SortFunc(v.endpoints, func(a, b endpoint) int { return cmp.Compare(a.key, b.key) })
	return v, diags
}

// read decodes the known elements of a map of objects. Complete is cleared when there are others.
func read[T any](ctx context.Context, from types.Map, into map[string]T, complete *bool, diags *diag.Diagnostics) {
	if from.IsUnknown() {
		*complete = false
	}
	for key, value := range from.Elements() {
		o, ok := value.(types.Object)
		if !ok || o.IsNull() {
			continue
		}
		if o.IsUnknown() {
			*complete = false
			continue
		}
		var one T
		diags.Append(o.As(ctx, &one, basetypes.ObjectAsOptions{})...)
		into[key] = one
	}
}

func (n nodeModel) endpoint(ctx context.Context, key string, s settingsModel) (endpoint, diag.Diagnostics) {
	e := endpoint{
		key: key, name: n.Name.ValueString(), address: s.Address.ValueString(), port: int(s.Port.ValueInt64()),
		enabled: s.Enabled.IsNull() || s.Enabled.ValueBool(), weight: 1,
	}
	if known(s.Weight) {
		e.weight = s.Weight.ValueFloat64()
	}
	var diags diag.Diagnostics
	e.homeless = n.FailureDomain.IsNull()
	if known(n.FailureDomain) {
		var d domainModel
		diags.Append(n.FailureDomain.As(ctx, &d, basetypes.ObjectAsOptions{})...)
		e.site, e.provider = d.Site.ValueString(), d.Provider.ValueString()
		e.homeless = e.site == "" && !d.Site.IsUnknown()
	}
	var more diag.Diagnostics
	e.addresses, more = reference.Strings(ctx, n.Addresses)
	diags.Append(more...)
	if known(n.Cluster) {
		var c clusterModel
		var p portsModel
		diags.Append(n.Cluster.As(ctx, &c, basetypes.ObjectAsOptions{})...)
		if known(c.Ports) {
			diags.Append(c.Ports.As(ctx, &p, basetypes.ObjectAsOptions{})...)
		}
		e.healthPort, e.cluster = int(p.Health.ValueInt64()), c.Name.ValueString()
	}
	e.identity, e.mute, e.nameless = n.Identity.ValueString(), n.Endpoints.IsNull(), n.Identity.IsNull()
	e.apis, more = reference.Strings(ctx, n.Endpoints)
	diags.Append(more...)
	if known(n.PublicPorts) {
		var p publicModel
		diags.Append(n.PublicPorts.As(ctx, &p, basetypes.ObjectAsOptions{})...)
		e.public = portsOf(p.TCP)
	}
	return e, diags
}

// serves returns where Cloudflare's load balancer finds the node, empty while that is unknown.
func (e endpoint) serves() string {
	if e.address == "" && len(e.addresses) > 0 {
		return e.addresses[0]
	}
	return e.address
}

// ips returns the IP addresses that DNS records of the node have.
func (e endpoint) ips() []netip.Addr {
	candidates := e.addresses
	if e.address != "" {
		candidates = []string{e.address}
	}
	var out []netip.Addr
	for _, c := range candidates {
		if a, err := netip.ParseAddr(c); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// sites returns the sites in order of preference. It is complete only when every node is placed.
func (v view) sites() []site {
	var out []site
	for _, e := range v.endpoints {
		if e.site == "" {
			continue
		}
		at := slices.IndexFunc(out, func(s site) bool { return s.name == e.site })
		if at < 0 {
			at = len(out)
			out = append(out, site{name: e.site, settings: v.settings[e.site]})
		}
		out[at].endpoints = append(out[at].endpoints, e)
	}
	slices.SortFunc(out, func(a, b site) int {
		return cmp.Or(cmp.Compare(a.settings.Priority.ValueInt64(), b.settings.Priority.ValueInt64()), cmp.Compare(a.name, b.name))
	})
	return out
}

func (s site) enabled() bool { return s.settings.Enabled.IsNull() || s.settings.Enabled.ValueBool() }

// weight is the site's share of the traffic.
func (s site) weight() float64 {
	if known(s.settings.Weight) {
		return s.settings.Weight.ValueFloat64()
	}
	return 1
}

// minimum is how many of its nodes must be healthy.
func (s site) minimum() int { return int(max(s.settings.MinimumHealthy.ValueInt64(), 1)) }

// serving tells whether the site has a node that may get traffic.
func (s site) serving() bool {
	return s.enabled() && slices.ContainsFunc(s.endpoints, func(e endpoint) bool { return e.enabled && e.weight > 0 })
}

// gets tells whether an endpoint may get traffic: it, its site and its share let it.
func (v view) gets(e endpoint) bool {
	return e.enabled && e.weight > 0 && site{settings: v.settings[e.site]}.enabled()
}

// at is the attribute path of a node.
func (e endpoint) at() path.Path { return path.Root("nodes").AtMapKey(e.key) }

// setting is the attribute path of what is particular of a node.
func (e endpoint) setting(name string) path.Path {
	return path.Root("node_settings").AtMapKey(e.key).AtName(name)
}

// portsOf returns the ports of a set, nil while the set is null or one of them is unknown.
func portsOf(s types.Set) []int {
	if !known(s) {
		return nil
	}
	out := []int{}
	for _, e := range s.Elements() {
		port, ok := e.(types.Int64)
		if !ok || !known(port) {
			return nil
		}
		out = append(out, int(port.ValueInt64()))
	}
	return out
}

func stringSet(in []string) types.Set {
	if len(in) == 0 {
		return types.SetNull(types.StringType)
	}
	values := make([]attr.Value, len(in))
	for i, s := range in {
		values[i] = types.StringValue(s)
	}
	return types.SetValueMust(types.StringType, values)
}

// knownSet is stringSet with an empty set for nothing.
func knownSet(in []string) types.Set {
	if len(in) == 0 {
		return types.SetValueMust(types.StringType, []attr.Value{})
	}
	return stringSet(slices.Compact(slices.Sorted(slices.Values(in))))
}

// setStrings returns the set's elements in order, nil while the set or one of them is unknown.
func setStrings(s types.Set) []string {
	var out []string
	for _, e := range s.Elements() {
		t, ok := e.(types.String)
		if !ok || t.IsUnknown() {
			return nil
		}
		out = append(out, t.ValueString())
	}
	slices.Sort(out)
	return out
}

// stringMap returns a known map of the strings.
func stringMap(in map[string]string) types.Map {
	values := make(map[string]attr.Value, len(in))
	for k, v := range in {
		values[k] = types.StringValue(v)
	}
	return types.MapValueMust(types.StringType, values)
}

// mapStrings is the reverse of stringMap; what is unknown is left out.
func mapStrings(m types.Map) map[string]string {
	out := map[string]string{}
	for k, v := range m.Elements() {
		if s, ok := v.(types.String); ok && known(s) {
			out[k] = s.ValueString()
		}
	}
	return out
}
