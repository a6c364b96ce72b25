package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const invalid = "Invalid node"

// ValidateConfig reports everything that is wrong with the values that are known.
func (r *Resource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var m Model
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	n, diags := m.ToSpec(ctx)
	resp.Diagnostics.Append(diags...)
	wanted := map[string]bool{"mesh_address": known(m.MeshAddress), "addresses": true}
	var ps spec.Problems
	if known(m.Name) {
		ps = spec.ValidateName("name", m.Name.ValueString())
	}
	for _, p := range n.Validate() {
		if wanted[p.Field] {
			ps = append(ps, p)
		}
	}
	resp.Diagnostics.Append(diagnose.Problems(invalid, path.Empty(), nil, ps)...)
	if ssh, ok, _ := m.ssh(ctx); ok && known(ssh.Host) {
		resp.Diagnostics.Append(diagnose.Problems(invalid, path.Empty(), nil, spec.ValidateHost("ssh.host", ssh.Host.ValueString()))...)
	}
	if seed, ok, _ := m.seed(ctx); ok && known(seed.Host) {
		resp.Diagnostics.Append(diagnose.Problems(invalid, path.Empty(), nil, spec.ValidateHost("seed.host", seed.Host.ValueString()))...)
	}
	if (known(m.SSH) || known(m.Seed)) && m.FailureDomain.IsNull() {
		resp.Diagnostics.AddAttributeError(path.Root("failure_domain"), invalid,
			"Whose machine it is and where it stands is not known of a machine that Atoll did not create.\n\n"+
				"Write it down, for example failure_domain = { provider = \"colo\", site = \"hong-kong\" }.")
	}
}

// ModifyPlan fills in what follows from the configuration, and checks the node against the other nodes of the plan.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan, config Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	var state *Model
	if !req.State.Raw.IsNull() {
		state = &Model{}
		resp.Diagnostics.Append(req.State.Get(ctx, state)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	c, clusterKnown, diags := reference.ClusterFrom(ctx, plan.Cluster)
	resp.Diagnostics.Append(diags...)
	resp.Diagnostics.Append(plan.derive(ctx, config, state, c)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if state != nil && state.Identity.IsNull() {
		plan.Identity = types.StringUnknown() // a change, so that replacement has an effect
	}
	mem, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	resp.Diagnostics.Append(plan.planWall(ctx, state, mem)...)
	resp.Diagnostics.Append(resp.Plan.Set(ctx, &plan)...)
	resp.Diagnostics.Append(r.checkImage(ctx, plan, state)...)
	if state != nil {
		resp.RequiresReplace = append(resp.RequiresReplace, replacement(ctx, plan, *state)...)
	}
	if r.op != nil && clusterKnown && known(c.Name) && known(c.MeshCIDR) && known(plan.Name) {
		sum := sha256.Sum256([]byte(req.Config.Raw.String()))
		resp.Diagnostics.Append(r.checkPlan(ctx, plan, c, operator.Planned{Origin: hex.EncodeToString(sum[:]), New: state == nil})...)
		resp.Diagnostics.Append(r.checkApart(ctx, plan, c)...)
		resp.Diagnostics.Append(r.checkWall(ctx, plan, c)...)
	}
}

// derive sets the planned values that follow from others.
func (m *Model) derive(ctx context.Context, config Model, state *Model, c reference.Cluster) diag.Diagnostics {
	var diags diag.Diagnostics
	m.ID = types.StringUnknown()
	if known(c.Name) && known(m.Name) {
		m.ID = types.StringValue(clusterID(c.Name.ValueString(), m.Name.ValueString()))
	}
	api, _, more := c.PortsFrom(ctx)
	diags.Append(more...)
	ssh, isSSH, more := m.ssh(ctx)
	diags.Append(more...)
	seed, isSeed, more := m.seed(ctx)
	diags.Append(more...)
	l, isLinode, more := m.linode(ctx)
	diags.Append(more...)
	if isSSH || isSeed {
		m.InstanceID = types.StringNull()
	}
	if isLinode {
		if config.FailureDomain.IsNull() && known(l.Region) {
			m.FailureDomain = domainValue("linode", l.Region.ValueString())
		}
		if l.Label.IsUnknown() && known(c.Name) && known(m.Name) {
			if cl, ok, _ := config.linode(ctx); ok && cl.Label.IsNull() {
				l.Label = types.StringValue(instanceLabel(c.Name.ValueString(), m.Name.ValueString()))
				diags.Append(m.setLinode(ctx, l)...)
			}
		}
	}
	if config.Addresses.IsNull() {
		switch {
		case isSSH && known(ssh.Host):
			m.Addresses = reference.StringList([]string{ssh.Host.ValueString()})
		case isSeed && known(seed.Host):
			m.Addresses = reference.StringList([]string{seed.Host.ValueString()})
		case isSeed && seed.Host.IsNull():
			m.Addresses = reference.StringList(nil)
		case !isSSH && !isSeed && state != nil && known(state.Addresses):
			m.Addresses = state.Addresses
		default:
			m.Addresses = types.ListUnknown(types.StringType)
		}
	}
	addresses, more := reference.Strings(ctx, m.Addresses)
	diags.Append(more...)
	m.Endpoints = types.ListUnknown(types.StringType)
	if addresses != nil && api != 0 {
		m.setAddresses(addresses, api)
	}
	return diags
}

// replacement returns the attributes because of which the node must be made again.
func replacement(ctx context.Context, plan, state Model) path.Paths {
	var out path.Paths
	if state.Identity.IsNull() {
		// It is no member any more: its machine vanished, or another run removed it.
		out.Append(path.Root("identity"))
	}
	if moved(ctx, plan, state) {
		out.Append(path.Root("linode").AtName("firewall_id"))
	}
	switch {
	case plan.Linode.IsNull() != state.Linode.IsNull() && (!state.Linode.IsNull() || !state.SSH.IsNull() || !state.Seed.IsNull()):
		out.Append(path.Root("linode"))
	case known(state.InstanceID) && !plan.SSH.IsNull():
		out.Append(path.Root("ssh"))
	case known(state.InstanceID) && !plan.Seed.IsNull():
		out.Append(path.Root("seed"))
	}
	return out
}

// checkPlan checks the node against the others that are planned or exist, as far as this run has seen them.
func (r *Resource) checkPlan(ctx context.Context, plan Model, c reference.Cluster, p operator.Planned) diag.Diagnostics {
	n, diags := plan.ToSpec(ctx)
	cidr, err := netip.ParsePrefix(c.MeshCIDR.ValueString())
	if err != nil {
		return diags // the cluster's own check says so
	}
	name := plan.Name.ValueString()
	p.MeshAddress, p.Addresses = n.MeshAddress, n.Addresses
	ps, other := r.op.Cluster(c.Name.ValueString()).Plan(cidr, name, p)
	if other {
		diags.AddAttributeError(path.Root("name"), invalid, "Another atoll_node of cluster "+c.Name.ValueString()+
			" has the name "+name+" too.\n\nGive each node of a cluster its own name.")
	}
	diags.Append(clusterProblems(name, ps)...)
	return diags
}

// clusterProblems puts problems between a node and the rest of its cluster onto the node's attributes.
func clusterProblems(name string, ps spec.Problems) diag.Diagnostics {
	var diags diag.Diagnostics
	for _, p := range ps {
		object, field, _ := strings.Cut(p.Field, ".")
		at, prefix := path.Root(field), field+" "
		switch object {
		case spec.Ref{Kind: spec.KindNode, Name: name}.String():
		default:
			if strings.HasPrefix(object, string(spec.KindCluster)+"/") {
				at = path.Root("cluster").AtName(field)
			}
			prefix = object + ": " + field + " "
		}
		diags.AddAttributeError(at, invalid, diagnose.Sentence(prefix+p.Message, p.Remedy))
	}
	return diags
}
