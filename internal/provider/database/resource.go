package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const invalid = "Invalid database"

var (
	_ resource.Resource                = (*Resource)(nil)
	_ resource.ResourceWithConfigure   = (*Resource)(nil)
	_ resource.ResourceWithImportState = (*Resource)(nil)
	_ resource.ResourceWithModifyPlan  = (*Resource)(nil)
)

// Resource is atoll_database.
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

// Create signs the database and gives it to the nodes. It begins when its members are there.
func (r *Resource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan, config Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
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
	resp.Diagnostics.Append(t.make(ctx, &plan, &config, func() diag.Diagnostics {
		// The state knows of it before the first node does, or one could hold a database that nobody knows.
		saved := plan
		saved.Observe(nil)
		diags := resp.State.Set(ctx, &saved)
		diags.Append(t.memory.save(ctx, resp.Private)...)
		return diags
	})...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.Observe(t.view(ctx))
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}

// Update gives the changed database to the nodes and waits until its members have accepted it. What takes restarts is theirs to do,
// one after the other.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, config Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	known, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Update(ctx, updateTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t, diags := r.begin(ctx, &plan, known)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.change(ctx, &plan, &config)...)
	// The generation that the nodes know now is kept even when they have not accepted it: the next run changes it again.
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.Observe(t.view(ctx))
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
}

// Read shows how the database fares and what the nodes hold of it. Nodes that do not answer change nothing but that.
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
	have, alive := seen.Databases[t.ref.Name]
	generation := seen.Generations[t.ref]
	switch {
	case err == nil && alive && generation >= known.Generation:
		resp.Diagnostics.Append(state.FromSpec(t.cluster, t.ref.Name, have)...)
		t.memory.Generation = generation
		t.meet(seen.Known)
		resp.Diagnostics.Append(tooMany(t.ref.Name, have, seen.Known)...)
	case err == nil && !alive && (generation > known.Generation || generation == 0 && len(seen.Silent) == 0):
		resp.State.RemoveResource(ctx)
		return
	case err == nil:
		// Who answers has not heard of the newest yet, which says nothing of the database.
		resp.Diagnostics.AddWarning("Database cannot be read", fmt.Sprintf("No node that answers knows the newest of database %s yet; it is kept as it was.", state.ID.ValueString()))
	default:
		resp.Diagnostics.AddWarning("Database cannot be read", fmt.Sprintf("Database %s is kept as it was: %v.", state.ID.ValueString(), err))
	}
	if resp.Diagnostics.HasError() {
		return
	}
	state.Observe(t.overview(ctx))
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}

// tooMany warns of members that no votes are for, such as one that a run was interrupted in making and that no state knows.
func tooMany(name string, d spec.Database, seen operator.Known) diag.Diagnostics {
	var diags diag.Diagnostics
	var voters []string
	for _, m := range seen.DatabaseMembers {
		if m.Database == name && m.Role == spec.MemberVoter {
			voters = append(voters, m.Node)
		}
	}
	if slices.Sort(voters); len(voters) > d.Votes {
		diags.AddWarning("More members than votes", fmt.Sprintf("Database %q has %d votes and %d voting members (%s). While that is so no member restarts for new settings, and an outage of all members does not end by itself.\n\n"+
			"Remove the ones that are too many, or raise votes. One that no configuration has is taken back by `terraform import` of an atoll_database_member and its removal.",
			name, d.Votes, len(voters), strings.Join(voters, ", ")))
	}
	return diags
}

// Delete removes the database, with whatever members it still has. Each node stops its server and keeps the data aside.
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

// begin prepares an operation on the database that m describes.
func (r *Resource) begin(ctx context.Context, m *Model, known memory) (*task, diag.Diagnostics) {
	d, diags := m.describe(ctx)
	t := &task{
		described: d, memory: known, ref: spec.Ref{Kind: spec.KindDatabase, Name: d.name}, patience: r.op.Patience(),
	}
	endpoints, more := d.primary.Addresses(ctx)
	diags.Append(more...)
	t.crew, more = newCrew(r.op, d, endpoints, known)
	diags.Append(more...)
	return t, diags
}

// prior is what a plan starts from.
func prior(ctx context.Context, req resource.ModifyPlanRequest) (*Model, diag.Diagnostics) {
	if req.State.Raw.IsNull() {
		return nil, nil
	}
	var state Model
	diags := req.State.Get(ctx, &state)
	return &state, diags
}

// ModifyPlan checks the database as far as it is known and computes what follows.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	state, diags := prior(ctx, req)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	d, diags := plan.describe(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(d.validate(&plan)...)
	resp.Diagnostics.Append(d.validateChange(&plan, state)...)
	if d.cluster != "" && d.name != "" {
		resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("id"), databaseID(d.cluster, d.name))...)
		if r.op != nil && state == nil && !r.op.Note("database planned: "+databaseID(d.cluster, d.name)) {
			resp.Diagnostics.AddAttributeError(path.Root("name"), invalid, fmt.Sprintf("Another %s is named %q in cluster %q too.\n\nGive each its own name.", ResourceType, d.name, d.cluster))
		}
	}
	if !d.complete || resp.Diagnostics.HasError() {
		return
	}
	mark, err := Revision(d.body)
	if err != nil {
		resp.Diagnostics.AddError(invalid, err.Error()+".")
		return
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("revision"), mark)...)
}
