package databasemember

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const invalid = "Invalid member"

var (
	_ resource.Resource                = (*Resource)(nil)
	_ resource.ResourceWithConfigure   = (*Resource)(nil)
	_ resource.ResourceWithImportState = (*Resource)(nil)
	_ resource.ResourceWithModifyPlan  = (*Resource)(nil)
)

// Resource is atoll_database_member.
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

// ModifyPlan checks the member against the others of this run, as far as it is known.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan, config Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	if resp.Diagnostics.HasError() {
		return
	}
	p, diags := plan.part(ctx)
	resp.Diagnostics.Append(diags...)
	if config.Weight.IsNull() {
		p.Weight = UsualWeight
		weight := types.Int64Value(UsualWeight)
		switch {
		case p.preferred.IsUnknown() || p.Node == "":
			weight = types.Int64Unknown()
		case p.preferred.ValueString() == p.Node:
			p.Weight, weight = PreferredWeight, types.Int64Value(PreferredWeight)
		}
		resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("weight"), weight)...)
	}
	if resp.Diagnostics.HasError() || !p.named() {
		return
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("id"), memberID(p.cluster, p.Member))...)
	resp.Diagnostics.Append(p.validate()...)
	if r.op != nil && p.whole && !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(r.place(p, req.State.Raw.IsNull())...)
	}
}

// validate returns what is wrong with the member by itself.
func (p part) validate() diag.Diagnostics {
	body := p.Member
	body.Key = "planned"
	diags := diagnose.Problems(invalid, path.Empty(), map[string]path.Path{
		"database": path.Root("database").AtName("name"), "node": path.Root("node").AtName("name"),
	}, body.Validate())
	if p.nodeCluster != "" && p.nodeCluster != p.cluster {
		diags.AddAttributeError(path.Root("node").AtName("cluster"), invalid,
			fmt.Sprintf("database is one of cluster %q, node a node of cluster %q.\n\nName a node of the database's cluster.", p.cluster, p.nodeCluster))
	}
	return diags
}

// place checks where the members of the database are. What it finds no other member can mend, so whoever completes it says so.
func (r *Resource) place(p part, fresh bool) diag.Diagnostics {
	ps, twice := r.op.Cluster(p.cluster).PlanMember(operator.PlannedMember{
		Member: p.Member, Of: p.of, Provider: p.domain.Provider.ValueString(), Site: p.domain.Site.ValueString(), New: fresh,
	})
	var diags diag.Diagnostics
	if twice {
		diags.AddAttributeError(path.Root("node"), invalid, fmt.Sprintf(
			"Another %s is node %q's part in database %q too.\n\nA node has one part in a database: remove one of them.", ResourceType, p.Node, p.Database))
	}
	for _, problem := range ps {
		diags.AddAttributeError(path.Root(problem.Field), invalid, diagnose.Sentence(upper(problem.Message), problem.Remedy))
	}
	return diags
}

// upper returns a sentence with its beginning in upper case.
func upper(s string) string {
	if s == "" {
		return s
	}
	if c := s[0]; c >= 'a' && c <= 'z' {
		return string(c-'a'+'A') + s[1:]
	}
	return s
}

// Create tells the node of its part and waits until it is online. Until then the state does not know of the member: one that
// Terraform took for broken would be removed and made again, and its data be put aside, when all that it needs is more time.
func (r *Resource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Create(ctx, createTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t, diags := r.begin(ctx, &plan, memory{})
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.push(ctx, true)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.awaitOnline(ctx)...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.Observe(t.view(ctx))
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}

// Update tells the node what is new of its part, and waits until it has put it and the database's newest settings into effect.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	known, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Update(ctx, updateTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	was, diags := state.part(ctx)
	resp.Diagnostics.Append(diags...)
	t, diags := r.begin(ctx, &plan, known)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	if was.Role != t.Role || was.Weight != t.Weight || was.node.Identity != t.node.Identity {
		resp.Diagnostics.Append(t.push(ctx, false)...)
		resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.awaitCurrent(ctx)...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.Observe(t.view(ctx))
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}

// Read shows how the member fares. Nodes that do not answer change nothing but that.
func (r *Resource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	known, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	t, diags := r.begin(ctx, &state, known)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	seen, err := t.crew.Glance(ctx, t.ref, known.Generation)
	have, alive := seen.DatabaseMembers[t.ref.Name]
	generation := seen.Generations[t.ref]
	switch {
	case err == nil && alive && generation >= known.Generation:
		state.Role, state.Weight = types.StringValue(string(have.Role)), types.Int64Value(int64(have.Weight))
		t.memory.Generation = generation
		t.meet(seen.Known)
	case err == nil && !alive && (generation > known.Generation || generation == 0 && len(seen.Silent) == 0):
		resp.State.RemoveResource(ctx)
		return
	case err == nil:
		resp.Diagnostics.AddWarning("Member cannot be read", fmt.Sprintf("No node that answers knows the newest of member %s yet; it is kept as it was.", state.ID.ValueString()))
	default:
		resp.Diagnostics.AddWarning("Member cannot be read", fmt.Sprintf("Member %s is kept as it was: %v.", state.ID.ValueString(), err))
	}
	state.Observe(t.overview(ctx))
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}

// Delete takes the member out of the database. A primary hands over first; the data is kept aside on the node.
func (r *Resource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	known, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := state.Timeouts.Delete(ctx, deleteTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t, diags := r.begin(ctx, &state, known)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.remove(ctx)...)
}

// begin prepares an operation on the member that m describes.
func (r *Resource) begin(ctx context.Context, m *Model, known memory) (*task, diag.Diagnostics) {
	p, diags := m.part(ctx)
	t := &task{part: p, memory: known, ref: spec.Ref{Kind: spec.KindMember, Name: p.Name()}, patience: r.op.Patience()}
	var more diag.Diagnostics
	t.crew, more = newCrew(r.op, p, known)
	diags.Append(more...)
	return t, diags
}
