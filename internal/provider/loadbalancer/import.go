package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

const importFailed = "Import load balancer"

// ImportState reads a load balancer, or the DNS records of mode dns, by the hostname.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	hostname := strings.ToLower(strings.TrimSpace(req.ID))
	var m Model
	// Any value makes an object of the empty state, which then can be read with all its types.
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("hostname"), hostname)...)
	resp.Diagnostics.Append(resp.State.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	t, diags := r.begin(&m, nil)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	z, diags := t.zoneOf(ctx, hostname)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	m.ID, m.Zone = types.StringValue(hostname), types.StringValue(z.Name)
	m.ShadowDNSRecords, m.NodeSettings = types.BoolNull(), types.MapNull(types.ObjectType{AttrTypes: settingsTypes()})
	m.Sites, m.CheckRegions = types.MapNull(types.ObjectType{AttrTypes: siteTypes()}), types.SetNull(types.StringType)
	lb, isBalancer, err := t.client.FindLoadBalancer(ctx, z.ID, hostname)
	if err != nil && !errors.Is(err, cloudflare.ErrForbidden) {
		resp.Diagnostics.Append(t.fail(ctx, importFailed, path.Empty(), err)...)
		return
	}
	if isBalancer {
		resp.Diagnostics.Append(t.importBalancer(ctx, &m, lb)...)
	} else {
		resp.Diagnostics.Append(t.importRecords(ctx, &m, hostname)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	// Whether its nodes have been told something is not known here: the next apply, which knows them, looks.
	c := &crew{memory: memory{Told: toldByOther}, private: resp.Private}
	resp.Diagnostics.Append(c.remember(ctx)...)
	m.setIDs(t.ids)
	m.setDrift(nil)
	m.Health, m.Removed = noHealth(), knownSet(t.removed)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

// zoneOf finds the zone that a hostname is in: the longest name that is one.
func (t *task) zoneOf(ctx context.Context, hostname string) (cloudflare.Zone, diag.Diagnostics) {
	for name := hostname; strings.Contains(name, "."); {
		z, err := t.client.FindZone(ctx, name)
		if err == nil {
			t.ids.zone, t.ids.account = z.ID, z.AccountID
			return z, nil
		}
		if !errors.Is(err, cloudflare.ErrNotFound) {
			return z, t.fail(ctx, importFailed, path.Empty(), err)
		}
		_, name, _ = strings.Cut(name, ".")
	}
	var diags diag.Diagnostics
	diags.AddError(importFailed, fmt.Sprintf("%q is in none of the zones that the token sees.\n\nWrite the hostname, for example www.example.com, "+
		"and give the token the permission %s for its zone.", hostname, cloudflare.PermissionZone()))
	return cloudflare.Zone{}, diags
}

func (t *task) importBalancer(ctx context.Context, m *Model, lb cloudflare.LoadBalancer) diag.Diagnostics {
	var diags diag.Diagnostics
	m.Mode = types.StringValue(string(ModeBalancer))
	t.ids.balancer = lb.ID
	seen := &found{balancer: &lb, pools: map[string]cloudflare.Pool{}}
	var nodes []importedNode
	sites := map[string]siteModel{}
	for _, id := range lb.DefaultPools {
		p, err := t.client.Pool(ctx, t.ids.account, id)
		if err != nil {
			return t.fail(ctx, importFailed, path.Empty(), err)
		}
		site, ours := marked(lb.Name, p.Description)
		if !ours || site == "" {
			site = p.Name
		}
		t.ids.pools[site] = p.ID
		seen.pools[site] = p
		t.removed = append(t.removed, removedOf(map[string]cloudflare.Pool{site: p})...)
		for _, o := range p.Origins {
			nodes = append(nodes, importedNode{o, site})
		}
		if p.Monitor != "" && t.ids.monitor == "" {
			t.ids.monitor = p.Monitor
		}
		m.EndpointSteering = types.StringValue(string(p.OriginSteering))
		sites[site] = importSite(p, lb)
	}
	if t.ids.monitor != "" {
		mon, err := t.client.Monitor(ctx, t.ids.account, t.ids.monitor)
		if err != nil {
			return t.fail(ctx, importFailed, path.Empty(), err)
		}
		seen.monitor = &mon
	}
	m.PoolIDs = stringMap(t.ids.pools)
	diags.Append(m.setNodes(ctx, nodes)...)
	diags.Append(m.setSites(ctx, sites, lb.DefaultPools, t.ids.pools)...)
	diags.Append(m.observe(ctx, seen)...)
	return diags
}

// importSite returns what is particular of a site.
func importSite(p cloudflare.Pool, lb cloudflare.LoadBalancer) siteModel {
	s := siteModel{Regions: types.SetNull(types.StringType)}
	if !p.Enabled {
		s.Enabled = types.BoolValue(false)
	}
	if p.Latitude != nil && p.Longitude != nil {
		s.Latitude, s.Longitude = types.Float64Value(*p.Latitude), types.Float64Value(*p.Longitude)
	}
	if p.MinimumOrigins > 1 {
		s.MinimumHealthy = types.Int64Value(int64(p.MinimumOrigins))
	}
	if w, ok := lb.PoolWeights[p.ID]; ok && lb.Steering.Weighted() && w != 1 {
		s.Weight = types.Float64Value(w)
	}
	var regions []string
	for r, ids := range lb.RegionPools {
		if slices.Contains(ids, p.ID) {
			regions = append(regions, r)
		}
	}
	slices.Sort(regions)
	s.Regions = stringSet(regions)
	return s
}

// setSites sets what is particular of sites, their order included when it is not that of their names.
func (m *Model) setSites(ctx context.Context, sites map[string]siteModel, order []string, pools map[string]string) diag.Diagnostics {
	var names []string
	for _, id := range order {
		for site, pool := range pools {
			if pool == id {
				names = append(names, site)
			}
		}
	}
	sorted := slices.IsSorted(names)
	kept := map[string]siteModel{}
	for i, name := range names {
		s := sites[name]
		if !sorted {
			s.Priority = types.Int64Value(int64(i))
		}
		if !sorted || !s.Enabled.IsNull() || !s.Latitude.IsNull() || !s.MinimumHealthy.IsNull() || !s.Weight.IsNull() || !s.Regions.IsNull() {
			kept[name] = s
		}
	}
	if len(kept) == 0 {
		return nil
	}
	value, diags := types.MapValueFrom(ctx, types.ObjectType{AttrTypes: siteTypes()}, kept)
	m.Sites = value
	return diags
}

type importedNode struct {
	cloudflare.Origin
	site string
}

// setNodes sets nodes and node_settings. Of a node only what Cloudflare knows is there; the next plan takes over the rest, which
// changes nothing at Cloudflare.
func (m *Model) setNodes(ctx context.Context, nodes []importedNode) diag.Diagnostics {
	values := map[string]attr.Value{}
	settings := map[string]settingsModel{}
	for i, n := range nodes {
		if i == 0 {
			m.Port, m.HostHeader = number64(n.Port), stringOrNull(n.Host)
		}
		domain := types.ObjectNull(domainTypes())
		if n.site != "" {
			domain = types.ObjectValueMust(domainTypes(), map[string]attr.Value{"provider": types.StringNull(), "site": types.StringValue(n.site)})
		}
		values[n.Name] = types.ObjectValueMust(nodeTypes(), map[string]attr.Value{
			"cluster": types.ObjectNull(clusterTypes()), "name": types.StringValue(n.Name), "failure_domain": domain,
			"endpoints": types.ListNull(types.StringType), "identity": types.StringNull(), "public_ports": types.ObjectNull(publicTypes()),
			"addresses": types.ListValueMust(types.StringType, []attr.Value{types.StringValue(n.Address)}),
		})
		s := settingsModel{}
		if !n.Enabled {
			s.Enabled = types.BoolValue(false)
		}
		if n.Weight != 1 {
			s.Weight = types.Float64Value(n.Weight)
		}
		if n.Port != int(m.Port.ValueInt64()) {
			s.Port = number64(n.Port)
		}
		if s != (settingsModel{}) {
			settings[n.Name] = s
		}
	}
	m.Nodes = types.MapValueMust(types.ObjectType{AttrTypes: nodeTypes()}, values)
	if len(settings) == 0 {
		return nil
	}
	value, diags := types.MapValueFrom(ctx, types.ObjectType{AttrTypes: settingsTypes()}, settings)
	m.NodeSettings = value
	return diags
}

func (t *task) importRecords(ctx context.Context, m *Model, hostname string) diag.Diagnostics {
	var diags diag.Diagnostics
	records, err := t.client.Records(ctx, t.ids.zone, hostname)
	if err != nil {
		return t.fail(ctx, importFailed, path.Empty(), err)
	}
	m.Mode = types.StringValue(string(ModeDNS))
	addresses := map[string][]attr.Value{}
	for _, r := range records {
		if r.Type != cloudflare.RecordA && r.Type != cloudflare.RecordAAAA {
			continue
		}
		node, ours := marked(hostname, r.Comment)
		if !ours || node == "" {
			node = r.Content
		}
		t.ids.records[r.Content] = r.ID
		addresses[node] = append(addresses[node], types.StringValue(r.Content))
		m.Proxied, m.TTL = types.BoolValue(r.Proxied), types.Int64Null()
		if !r.Proxied {
			m.TTL = types.Int64Value(int64(r.TTL))
		}
	}
	if len(addresses) == 0 {
		diags.AddError(importFailed, fmt.Sprintf("%s has neither a load balancer nor A or AAAA records.\n\nWrite the hostname of one that exists.", hostname))
		return diags
	}
	values := map[string]attr.Value{}
	for node, list := range addresses {
		values[node] = types.ObjectValueMust(nodeTypes(), map[string]attr.Value{
			"cluster": types.ObjectNull(clusterTypes()), "name": types.StringValue(node), "failure_domain": types.ObjectNull(domainTypes()),
			"endpoints": types.ListNull(types.StringType), "identity": types.StringNull(), "public_ports": types.ObjectNull(publicTypes()),
			"addresses": types.ListValueMust(types.StringType, list),
		})
	}
	m.Nodes = types.MapValueMust(types.ObjectType{AttrTypes: nodeTypes()}, values)
	m.Monitor, m.SessionAffinity = types.ObjectNull(monitorTypes()), types.ObjectNull(sessionTypes())
	return diags
}
