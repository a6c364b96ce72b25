// Package nodestatus is the data source atoll_node: one node, read from any node of its cluster.
package nodestatus

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/node"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// DataSourceType is the data source's name in configurations.
const DataSourceType = "atoll_node"

var (
	_ datasource.DataSource              = (*DataSource)(nil)
	_ datasource.DataSourceWithConfigure = (*DataSource)(nil)
)

// Model is the data source's state.
type Model struct {
	Cluster       reference.Named `tfsdk:"cluster"`
	Name          types.String    `tfsdk:"name"`
	From          []string        `tfsdk:"from"`
	FailureDomain *Domain         `tfsdk:"failure_domain"`
	MeshAddress   types.String    `tfsdk:"mesh_address"`
	Addresses     []string        `tfsdk:"addresses"`
	Endpoints     []string        `tfsdk:"endpoints"`
	Firewall      types.Object    `tfsdk:"firewall"`
	Identity      types.String    `tfsdk:"identity"`
	InstanceID    types.String    `tfsdk:"instance_id"`
}

// Domain is what fails together with the node.
type Domain struct {
	Provider string `tfsdk:"provider"`
	Site     string `tfsdk:"site"`
}

// FromSpec sets what a node object says.
func (m *Model) FromSpec(n spec.Node, apiPort int) {
	m.FailureDomain = &Domain{Provider: n.Provider, Site: n.Site}
	m.MeshAddress = types.StringValue(n.MeshAddress.String())
	m.Addresses, m.Endpoints = append([]string{}, n.Addresses...), n.Endpoints(apiPort)
	m.Firewall = node.FirewallValue(n.Firewall)
	m.Identity, m.InstanceID = stringOrNull(n.Identity), stringOrNull(n.Machine.ID)
}

func stringOrNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

// Schema returns the data source's schema.
func Schema(context.Context) schema.Schema {
	return schema.Schema{
		MarkdownDescription: "One node of a cluster, read from any of its nodes. It can be used wherever an `atoll_node` resource can, " +
			"for example as the end of an `atoll_mesh_link` to a node that another state describes.",
		Attributes: map[string]schema.Attribute{
			"cluster": reference.ClusterNameDataAttribute("The cluster: an `atoll_cluster`."),
			"name":    schema.StringAttribute{Required: true, MarkdownDescription: "Name of the node."},
			"from": schema.ListAttribute{
				Required: true, ElementType: types.StringType,
				MarkdownDescription: "Endpoints (`host:port` of an agent's API) of any nodes of the cluster, asked until one answers.",
			},
			"failure_domain": schema.SingleNestedAttribute{
				Computed: true, MarkdownDescription: "What fails together with the node.",
				Attributes: map[string]schema.Attribute{
					"provider": schema.StringAttribute{Computed: true, MarkdownDescription: "Whose machine it is."},
					"site":     schema.StringAttribute{Computed: true, MarkdownDescription: "Where it stands."},
				},
			},
			"mesh_address": schema.StringAttribute{Computed: true, MarkdownDescription: "Its address in the mesh."},
			"addresses":    schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "Its public addresses, best first."},
			"endpoints":    schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "`host:port` of its API at each address."},
			"firewall":     firewallAttribute(),
			"identity":     schema.StringAttribute{Computed: true, MarkdownDescription: "Its pinned identity key; null before it has joined."},
			"instance_id":  schema.StringAttribute{Computed: true, MarkdownDescription: "The vendor's id of its machine."},
		},
	}
}

// DataSource is the data source atoll_node.
type DataSource struct{ op *operator.Operator }

// NewDataSource returns the data source.
func NewDataSource() datasource.DataSource { return &DataSource{} }

// Metadata sets the data source's name.
func (d *DataSource) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = DataSourceType
}

// Configure takes the operator.
func (d *DataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.op = operator.From(req.ProviderData, &resp.Diagnostics)
}

// Schema returns the schema.
func (d *DataSource) Schema(ctx context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = Schema(ctx)
}

// Read asks the endpoints for the node's description.
func (d *DataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m Model
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if _, err := d.op.Key(); err != nil {
		resp.Diagnostics.Append(diagnose.SigningKey(err))
		return
	}
	cluster, name := m.Cluster.Name.ValueString(), m.Name.ValueString()
	seen, err := d.op.Look(ctx, cluster, "", m.From, "")
	if err != nil {
		resp.Diagnostics.AddAttributeError(path.Root("from"), "Node cannot be read", fmt.Sprintf("No endpoint answers for cluster %q: %v.", cluster, err))
		return
	}
	n, alive := seen.Nodes[name]
	if !alive || seen.Cluster == nil {
		resp.Diagnostics.AddAttributeError(path.Root("name"), "Node does not exist", fmt.Sprintf("Cluster %q has no node %q.", cluster, name))
		return
	}
	m.FromSpec(n, seen.Cluster.Cluster.Ports.API)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}
