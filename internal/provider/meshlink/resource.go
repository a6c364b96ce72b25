package meshlink

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const invalid = "Invalid link"

var (
	_ resource.Resource                = (*Resource)(nil)
	_ resource.ResourceWithConfigure   = (*Resource)(nil)
	_ resource.ResourceWithImportState = (*Resource)(nil)
	_ resource.ResourceWithModifyPlan  = (*Resource)(nil)
)

// Resource is atoll_mesh_link.
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

// ModifyPlan checks the pair as soon as both ends are known.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	e, diags := plan.ends(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() || !e.named() {
		return
	}
	resp.Diagnostics.Append(validate(plan, e)...)
	resp.Diagnostics.Append(r.suit(plan, e)...)
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("id"), linkID(e.cluster(), plan.ToSpec(e)))...)
}

func validate(m Model, e ends) diag.Diagnostics {
	diags := diagnose.Problems(invalid, path.Empty(), map[string]path.Path{
		"from": path.Root("from").AtName("name"), "to": path.Root("to").AtName("name"),
		"settings.mtu": path.Root("mtu"),
	}, m.ToSpec(e).Validate())
	if from, to := e.cluster(), e.to.Cluster.Name.ValueString(); from != to {
		diags.AddAttributeError(path.Root("to").AtName("cluster"), invalid,
			fmt.Sprintf("from is a node of cluster %q, to one of %q.\n\nName two nodes of one cluster.", from, to))
	}
	return diags
}

// suit checks that the cluster's mesh can do what the link asks for, where the cluster is planned in the same run.
func (r *Resource) suit(m Model, e ends) diag.Diagnostics {
	if r.op == nil {
		return nil
	}
	c := r.op.Cluster(e.cluster()).Described()
	if c == nil {
		return nil
	}
	return diagnose.Problems(invalid, path.Empty(), nil, m.ToSpec(e).Settings.Suit(c.Mesh.Driver))
}

// Create makes the nodes known to each other, signs the link and waits until each reaches the other.
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
	save := func() diag.Diagnostics {
		saved := plan
		saved.Observe(nil, "")
		return resp.State.Set(ctx, &saved)
	}
	resp.Diagnostics.Append(r.apply(ctx, &plan, 0, resp.Private, save)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
}

// Update signs the changed link, or introduces nodes that were made again.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	generation, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Update(ctx, updateTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp.Diagnostics.Append(r.apply(ctx, &plan, generation, resp.Private, func() diag.Diagnostics { return nil })...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
}

// Read shows how the link fares. Nodes that do not answer change nothing but that.
func (r *Resource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	p, diags := r.begin(ctx, state)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	seen, ok := p.glance(ctx)
	if !ok {
		state.Observe(nil, "")
		resp.Diagnostics.AddWarning("Link cannot be read", fmt.Sprintf("Neither %q nor %q answers; the link's settings are kept as they were.", p.from.Name, p.to.Name))
		resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
		return
	}
	l, alive := seen.Links[p.link.Name()]
	if !alive {
		resp.State.RemoveResource(ctx)
		return
	}
	state.FromSpec(p.cluster, l)
	state.Observe(p.overview(ctx), p.link.From)
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
	resp.Diagnostics.Append(remember(ctx, resp.Private, seen.Generations[p.ref()])...)
}

// Delete removes the link's settings. The pair stays in the mesh.
func (r *Resource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	generation, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := state.Timeouts.Delete(ctx, deleteTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p, diags := r.begin(ctx, state)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(p.remove(ctx, generation)...)
}

// ImportState reads a link from any node of its cluster: CLUSTER/A/B@host:port.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	id, err := reference.ParseImportID(req.ID, 3)
	if err != nil {
		resp.Diagnostics.AddError("Import ID", fmt.Sprintf("%v.\n\nWrite CLUSTER/FROM/TO@host:port, where host:port is the API of any node of the cluster.", err))
		return
	}
	if _, err := r.op.Key(); err != nil {
		resp.Diagnostics.Append(diagnose.SigningKey(err))
		return
	}
	cluster, from, to := id.Names[0], id.Names[1], id.Names[2]
	seen, err := r.op.Look(ctx, cluster, "", []string{id.Endpoint}, "")
	if err != nil {
		resp.Diagnostics.AddError("Import link", fmt.Sprintf("Cannot read the link from %s: %v.", id.Endpoint, err))
		return
	}
	l, alive := seen.Links[spec.LinkName(from, to)]
	endpoints := seen.Endpoints("")
	if !alive || l.From != from || seen.Cluster == nil {
		resp.Diagnostics.AddError("Import link", fmt.Sprintf("The node at %s knows no link from %q to %q in cluster %q. The order of the nodes matters.", id.Endpoint, from, to, cluster))
		return
	}
	var m Model
	// Any value makes an object of the empty state, which then can be read with all its types.
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("id"), linkID(cluster, l))...)
	resp.Diagnostics.Append(resp.State.Get(ctx, &m)...)
	m.From = reference.NodeValue(cluster, from, endpoints[from], seen.Nodes[from].Identity)
	m.To = reference.NodeValue(cluster, to, endpoints[to], seen.Nodes[to].Identity)
	m.FromSpec(cluster, l)
	m.State = types.StringNull()
	m.Forward, m.Reverse = types.ObjectNull(directionTypes()), types.ObjectNull(directionTypes())
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}
