package node

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Model is the resource's state.
type Model struct {
	ID             types.String   `tfsdk:"id"`
	Cluster        types.Object   `tfsdk:"cluster"`
	Name           types.String   `tfsdk:"name"`
	FailureDomain  types.Object   `tfsdk:"failure_domain"`
	MeshAddress    types.String   `tfsdk:"mesh_address"`
	Addresses      types.List     `tfsdk:"addresses"`
	PublicPorts    types.Object   `tfsdk:"public_ports"`
	Firewall       types.Object   `tfsdk:"firewall"`
	HostFirewall   types.Object   `tfsdk:"host_firewall"`
	Linode         types.Object   `tfsdk:"linode"`
	SSH            types.Object   `tfsdk:"ssh"`
	Seed           types.Object   `tfsdk:"seed"`
	Endpoints      types.List     `tfsdk:"endpoints"`
	Identity       types.String   `tfsdk:"identity"`
	InstanceID     types.String   `tfsdk:"instance_id"`
	LinodeFirewall types.Object   `tfsdk:"linode_firewall"`
	Timeouts       timeouts.Value `tfsdk:"timeouts"`
}

type domainModel struct {
	Provider types.String `tfsdk:"provider"`
	Site     types.String `tfsdk:"site"`
}

func domainTypes() map[string]attr.Type {
	return map[string]attr.Type{"provider": types.StringType, "site": types.StringType}
}

func domainValue(provider, site string) types.Object {
	return types.ObjectValueMust(domainTypes(), map[string]attr.Value{
		"provider": types.StringValue(provider), "site": types.StringValue(site),
	})
}

// clusterID returns the resource's id.
func clusterID(cluster, name string) string { return cluster + "/" + name }

// ToSpec returns the node that the model describes. What is unknown or null is left at its zero value.
func (m Model) ToSpec(ctx context.Context) (spec.Node, diag.Diagnostics) {
	var n spec.Node
	var diags diag.Diagnostics
	if known(m.FailureDomain) {
		var d domainModel
		diags.Append(m.FailureDomain.As(ctx, &d, basetypes.ObjectAsOptions{})...)
		n.Provider, n.Site = d.Provider.ValueString(), d.Site.ValueString()
	}
	if known(m.MeshAddress) {
		// What does not parse stays invalid, which Validate reports.
		n.MeshAddress, _ = netip.ParseAddr(m.MeshAddress.ValueString())
	}
	var more diag.Diagnostics
	n.Addresses, more = reference.Strings(ctx, m.Addresses)
	diags.Append(more...)
	n.Identity = m.Identity.ValueString()
	n.PublicPorts, more = m.publicPorts(ctx)
	diags.Append(more...)
	n.Firewall, _, more = m.firewall(ctx)
	diags.Append(more...)
	n.HostFirewall, more = m.hostFirewall(ctx)
	diags.Append(more...)
	n.CloudFirewall, _, more = m.cloudFirewall(ctx)
	diags.Append(more...)
	n.Machine = spec.Machine{Variant: m.variant(), ID: m.InstanceID.ValueString()}
	return n, diags
}

// variant tells where the node's machine comes from. An imported node that is not a Linode has neither argument in state.
func (m Model) variant() spec.MachineVariant {
	switch {
	case !m.Linode.IsNull():
		return spec.MachineLinode
	case !m.Seed.IsNull():
		return spec.MachineManual
	}
	return spec.MachineSSH
}

// FromSpec sets what a node object says.
func (m *Model) FromSpec(ctx context.Context, cluster, name string, n spec.Node, apiPort int) {
	m.ID, m.Name = types.StringValue(clusterID(cluster, name)), types.StringValue(name)
	m.FailureDomain = domainValue(n.Provider, n.Site)
	m.MeshAddress = types.StringValue(n.MeshAddress.String())
	m.setAddresses(n.Addresses, apiPort)
	m.setPublicPorts(ctx, n.PublicPorts)
	m.setFirewall(ctx, n.Firewall)
	m.setHostFirewall(ctx, n.HostFirewall)
	m.setCloudFirewall(ctx, n.CloudFirewall)
	m.Identity = stringOrNull(n.Identity)
	m.InstanceID = stringOrNull(n.Machine.ID)
}

// setAddresses sets the addresses and what follows from them.
func (m *Model) setAddresses(addresses []string, apiPort int) {
	m.Addresses = reference.StringList(addresses)
	m.Endpoints = reference.StringList(spec.Node{Addresses: addresses}.Endpoints(apiPort))
}

// settle makes null of what is still unknown, for a state that is saved before the end.
func (m *Model) settle() {
	for _, s := range []*types.String{&m.MeshAddress, &m.Identity, &m.InstanceID} {
		if s.IsUnknown() {
			*s = types.StringNull()
		}
	}
	for _, l := range []*types.List{&m.Addresses, &m.Endpoints} {
		if l.IsUnknown() {
			*l = types.ListNull(types.StringType)
		}
	}
	if m.LinodeFirewall.IsUnknown() {
		m.LinodeFirewall = types.ObjectNull(linodeFirewallTypes())
	}
	if m.FailureDomain.IsUnknown() {
		m.FailureDomain = types.ObjectNull(domainTypes())
	}
}

func stringOrNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

func known(v attr.Value) bool { return !v.IsNull() && !v.IsUnknown() }

// sshModel is the argument ssh.
type sshModel struct {
	Host    types.String `tfsdk:"host"`
	Port    types.Int64  `tfsdk:"port"`
	User    types.String `tfsdk:"user"`
	HostKey types.String `tfsdk:"host_key"`
}

// linodeModel is the argument linode.
type linodeModel struct {
	Region              types.String `tfsdk:"region"`
	Type                types.String `tfsdk:"type"`
	Image               types.String `tfsdk:"image"`
	Label               types.String `tfsdk:"label"`
	Tags                types.Set    `tfsdk:"tags"`
	AuthorizedKeys      types.Set    `tfsdk:"authorized_keys"`
	UserData            types.String `tfsdk:"user_data"`
	FirewallID          types.Int64  `tfsdk:"firewall_id"`
	Firewall            types.Object `tfsdk:"firewall"`
	InterfaceGeneration types.String `tfsdk:"interface_generation"`
}

func linodeTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"region": types.StringType, "type": types.StringType, "image": types.StringType, "label": types.StringType,
		"tags": types.SetType{ElemType: types.StringType}, "authorized_keys": types.SetType{ElemType: types.StringType},
		"user_data":   types.StringType,
		"firewall_id": types.Int64Type, "firewall": types.ObjectType{AttrTypes: cloudFirewallTypes()}, "interface_generation": types.StringType,
	}
}

func (m Model) ssh(ctx context.Context) (s sshModel, ok bool, diags diag.Diagnostics) {
	if !known(m.SSH) {
		return sshModel{}, false, nil
	}
	diags = m.SSH.As(ctx, &s, basetypes.ObjectAsOptions{})
	return s, !diags.HasError(), diags
}

func (m Model) linode(ctx context.Context) (l linodeModel, ok bool, diags diag.Diagnostics) {
	if !known(m.Linode) {
		return linodeModel{}, false, nil
	}
	diags = m.Linode.As(ctx, &l, basetypes.ObjectAsOptions{})
	return l, !diags.HasError(), diags
}

func (m *Model) setLinode(ctx context.Context, l linodeModel) diag.Diagnostics {
	o, diags := types.ObjectValueFrom(ctx, linodeTypes(), l)
	m.Linode = o
	return diags
}

// String names the node.
func (m Model) String() string { return fmt.Sprintf("node %s", m.ID.ValueString()) }
