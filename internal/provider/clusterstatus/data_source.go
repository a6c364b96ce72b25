package clusterstatus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
)

var (
	_ datasource.DataSource              = (*DataSource)(nil)
	_ datasource.DataSourceWithConfigure = (*DataSource)(nil)
)

// DataSource is atoll_cluster_status.
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

// Read asks the nodes, in the order of their names, until one answers.
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
	status, diags, err := d.ask(ctx, m)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	if status == nil {
		resp.Diagnostics.AddAttributeWarning(path.Root("nodes"), "No node answers",
			fmt.Sprintf("The status of cluster %q cannot be read: %v.", m.Cluster.Name.ValueString(), err))
	}
	m.FromStatus(status)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

func (d *DataSource) ask(ctx context.Context, m Model) (*api.ClusterStatus, diag.Diagnostics, error) {
	var diags diag.Diagnostics
	failed := errors.New("no node is given")
	for i, name := range slices.Sorted(maps.Keys(m.Nodes)) {
		n := m.Nodes[name]
		endpoints, more := reference.Strings(ctx, n.Endpoints)
		diags.Append(more...)
		status, err := d.op.Status(ctx, m.Cluster.Name.ValueString(), operator.Peer{
			Name: n.Name.ValueString(), Endpoints: endpoints, Identity: n.Identity.ValueString(),
		})
		if err == nil {
			return &status, diags, nil
		}
		if i == 0 {
			failed = err
			continue
		}
		failed = errors.Join(failed, err)
	}
	return nil, diags, failed
}
