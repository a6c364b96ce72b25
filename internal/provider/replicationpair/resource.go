package replicationpair

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

var (
	_ resource.Resource                = (*Resource)(nil)
	_ resource.ResourceWithConfigure   = (*Resource)(nil)
	_ resource.ResourceWithImportState = (*Resource)(nil)
	_ resource.ResourceWithModifyPlan  = (*Resource)(nil)
)

// Resource is atoll_replication_pair.
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

// Create makes the nodes known to each other, tells them of the pair and waits until their trees are equal. The state knows of the
// pair before the first node does.
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
	plan.settle(&config)
	t, diags := r.begin(ctx, &plan, memory{})
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.ID = stringOf(t.id())
	resp.Diagnostics.Append(t.push(ctx, true, func() diag.Diagnostics {
		saved := plan
		saved.Observe(nil, nil)
		diags := resp.State.Set(ctx, &saved)
		return append(diags, t.memory.save(ctx, resp.Private)...)
	})...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.await(ctx, true)...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.Observe(t.view(ctx), t.keys())
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}

// Update tells the nodes what is new of the pair and waits until both have put it into effect. With another tree, or a node that
// was made again, it waits until the trees are equal.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state, config Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	remembered, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Update(ctx, updateTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	plan.settle(&config)
	was, diags := state.pair(ctx)
	resp.Diagnostics.Append(diags...)
	t, diags := r.begin(ctx, &plan, remembered)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.ID = stringOf(t.id())
	resp.Diagnostics.Append(t.push(ctx, false, func() diag.Diagnostics { return nil })...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.await(ctx, t.newTrees(&was))...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.Observe(t.view(ctx), t.keys())
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}

// newTrees tells whether a side is a tree that the pair has not had before.
func (p *pair) newTrees(was *pair) bool {
	for _, e := range p.ends {
		before, ok := was.end(e.node.Name)
		if !ok || before.node.Identity != e.node.Identity || !before.path.Equal(e.path) {
			return true
		}
	}
	return false
}

// Read shows how the pair fares. Nodes that do not answer change nothing but that.
func (r *Resource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	remembered, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	t, diags := r.begin(ctx, &state, remembered)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	seen, err := t.crew.Glance(ctx, t.ref(), remembered.Generation)
	have, alive := seen.Pairs[t.name]
	generation := seen.Generations[t.ref()]
	switch {
	case err == nil && alive && generation >= remembered.Generation:
		t.meet(seen.Known)
		t.memory.Generation = generation
		resp.Diagnostics.Append(state.fromSpec(ctx, &t.pair, have, seen.Known)...)
	case err == nil && !alive && (generation > remembered.Generation || generation == 0 && len(seen.Silent) == 0):
		resp.State.RemoveResource(ctx)
		return
	case err == nil:
		resp.Diagnostics.AddWarning("Pair cannot be read", fmt.Sprintf("No node that answers knows the newest of pair %s yet; it is kept as it was.", t.id()))
	default:
		resp.Diagnostics.AddWarning("Pair cannot be read", fmt.Sprintf("Pair %s is kept as it was: %v.", t.id(), err))
	}
	p, diags := state.pair(ctx)
	resp.Diagnostics.Append(diags...)
	state.Observe(t.overview(ctx), p.keys())
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}

// Delete stops the synchronization. The trees stay.
func (r *Resource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	remembered, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := state.Timeouts.Delete(ctx, deleteTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t, diags := r.begin(ctx, &state, remembered)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.remove(ctx)...)
}

// begin prepares an operation on the pair that m describes.
func (r *Resource) begin(ctx context.Context, m *Model, remembered memory) (*task, diag.Diagnostics) {
	p, diags := m.pair(ctx)
	t := &task{pair: p, memory: remembered, patience: r.op.Patience()}
	var more diag.Diagnostics
	t.crew, more = newCrew(r.op, &p, remembered)
	diags.Append(more...)
	return t, diags
}
