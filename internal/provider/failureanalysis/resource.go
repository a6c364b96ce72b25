package failureanalysis

import (
	"context"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
)

var (
	_ resource.Resource                = (*Resource)(nil)
	_ resource.ResourceWithConfigure   = (*Resource)(nil)
	_ resource.ResourceWithImportState = (*Resource)(nil)
	_ resource.ResourceWithModifyPlan  = (*Resource)(nil)
)

// Resource is atoll_failure_analysis.
type Resource struct{ op *operator.Operator }

// NewResource returns the resource.
func NewResource() resource.Resource { return &Resource{} }

// Metadata sets the resource's name.
func (r *Resource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = ResourceType
}

// Configure takes the operator.
func (r *Resource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.op = operator.From(req.ProviderData, &resp.Diagnostics)
}

// Schema returns the schema.
func (r *Resource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = Schema(ctx)
}

// ModifyPlan analyses what is known of the configuration and says what it finds. The results are planned once everything is known.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	q := plan.question(ctx)
	resp.Diagnostics.Append(q.diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	result := analysis.Analyze(q.Input)
	if r.op != nil {
		resp.Diagnostics.Append(q.diagnose(result, r.op.Cluster(q.ClusterName))...)
	}
	plan.ID, plan.Findings = types.StringUnknown(), types.ListUnknown(types.ObjectType{AttrTypes: findingTypes()})
	plan.Losses, plan.Points = types.MapUnknown(types.ListType{ElemType: types.StringType}), types.ListUnknown(types.StringType)
	if q.whole {
		for _, unused := range result.Unused {
			resp.Diagnostics.AddAttributeWarning(path.Root("accept"), "Nothing to accept",
				unused+" accepts nothing: the loss does not stop it, or a smaller one does already.\n\nMend it or take it away.")
		}
		resp.Diagnostics.Append(plan.set(ctx, q, result)...)
	}
	resp.Diagnostics.Append(resp.Plan.Set(ctx, &plan)...)
}

// answer sets what follows from arguments that are known by now.
func (m *Model) answer(ctx context.Context) diag.Diagnostics {
	q := m.question(ctx)
	if q.diags.HasError() {
		return q.diags
	}
	return m.set(ctx, q, analysis.Analyze(q.Input))
}

// set sets what was found. Lists are empty rather than null: a configuration asks what they contain.
func (m *Model) set(ctx context.Context, q *question, r analysis.Result) diag.Diagnostics {
	findings, losses, points := []finding{}, map[string][]string{}, []string{}
	for _, f := range r.Findings {
		one := finding{
			Severity: string(f.Severity), Problem: string(f.Problem), Losses: []string{}, Affected: []string{}, Nodes: append([]string{}, f.Nodes...),
			Message: f.Message, Remedy: f.Remedy, Accept: f.Accept, Accepted: f.Accepted,
		}
		for _, l := range f.Losses {
			one.Losses = append(one.Losses, l.String())
		}
		for _, ref := range f.Affected {
			one.Affected = append(one.Affected, ref.String())
		}
		findings = append(findings, one)
		if len(f.Losses) > 0 && !f.Accepted {
			points = append(points, f.Losses[0].String())
		}
	}
	slices.Sort(points)
	for _, i := range r.Impacts {
		stops := []string{}
		for _, ref := range i.Stops {
			stops = append(stops, ref.String())
		}
		losses[i.Loss.String()] = stops
	}
	var diags, more diag.Diagnostics
	m.ID = types.StringValue(q.ClusterName)
	m.Findings, diags = types.ListValueFrom(ctx, types.ObjectType{AttrTypes: findingTypes()}, findings)
	m.Losses, more = types.MapValueFrom(ctx, types.ListType{ElemType: types.StringType}, losses)
	diags.Append(more...)
	m.Points, more = types.ListValueFrom(ctx, types.StringType, slices.Compact(points))
	return append(diags, more...)
}

// Create keeps what was found.
func (r *Resource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(plan.answer(ctx)...)
	if !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	}
}

// Read keeps the state: there is nothing to ask.
func (r *Resource) Read(context.Context, resource.ReadRequest, *resource.ReadResponse) {}

// Update keeps what was found.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(plan.answer(ctx)...)
	if !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	}
}

// Delete forgets what was found.
func (r *Resource) Delete(context.Context, resource.DeleteRequest, *resource.DeleteResponse) {}

// ImportState takes the cluster's name. The next apply fills in the rest, in place.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughID(ctx, path.Root("id"), req, resp)
}
