package cluster

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
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const invalid = "Invalid cluster"

// Resource is atoll_cluster.
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

// ValidateConfig reports everything that is wrong with the values that are known.
func (r *Resource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var m Model
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(validate(ctx, m)...)
}

func validate(ctx context.Context, m Model) diag.Diagnostics {
	c, diags := m.ToSpec(ctx)
	var ps spec.Problems
	if known(m.Name) {
		ps = append(ps, spec.ValidateName("name", m.Name.ValueString())...)
	}
	for _, p := range c.Validate() {
		if p.Field != "mesh_cidr" || known(m.MeshCIDR) {
			ps = append(ps, p)
		}
	}
	diags.Append(diagnose.Problems(invalid, path.Empty(), nil, ps)...)
	return diags
}

// ModifyPlan keeps the signed object when nothing changes, and refuses to go on with another signing key.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan, state Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if known(plan.Name) {
		resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("id"), plan.Name)...)
	}
	resp.Diagnostics.Append(r.describe(ctx, plan)...)
	key := r.publicKey()
	if key != "" {
		resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("public_key"), key)...)
	}
	if req.State.Raw.IsNull() {
		return
	}
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(sameDriver(ctx, state, plan)...)
	resp.Diagnostics.Append(laterKeys(ctx, state, plan)...)
	if key != "" && known(state.PublicKey) && state.PublicKey.ValueString() != key {
		resp.Diagnostics.AddAttributeError(path.Root("public_key"), "Another signing key",
			fmt.Sprintf("Cluster %q trusts the signing key %s, but the provider has %s.\n\nGive the provider the key that the cluster was made with; "+
				"its nodes accept no other. A cluster with a new key is a new cluster.", state.Name.ValueString(), state.PublicKey.ValueString(), key))
	}
}

// sameDriver refuses another driver for the mesh of a cluster that is there: nodes would change one by one, and those that
// have changed would not hear the others any more, nor the databases and pairs that live on the mesh.
func sameDriver(ctx context.Context, state, plan Model) diag.Diagnostics {
	if !known(plan.Mesh) || plan.Name.IsUnknown() || plan.Name.ValueString() != state.Name.ValueString() {
		return nil // another cluster, which is made anew
	}
	if driver, ok := plan.Mesh.Attributes()["driver"]; ok && driver.IsUnknown() {
		return nil
	}
	was, diags := state.ToSpec(ctx)
	will, more := plan.ToSpec(ctx)
	diags.Append(more...)
	if diags.HasError() || was.Mesh.Driver == will.Mesh.Driver {
		return diags
	}
	diags.AddAttributeError(path.Root("mesh").AtName("driver"), "Mesh driver cannot change",
		fmt.Sprintf("Cluster %q has a mesh of driver %q, and the configuration asks for %q. The nodes of a cluster cannot change from one to the other "+
			"without losing each other, and what lives on their mesh with them.\n\nLeave mesh.driver at %q, or make a cluster of another name with "+
			"the new driver and move to it node by node.", state.Name.ValueString(), was.Mesh.Driver, will.Mesh.Driver, was.Mesh.Driver))
	return diags
}

// describe notes the cluster for what is planned after it, once all of it is known that its nodes listen on.
func (r *Resource) describe(ctx context.Context, plan Model) diag.Diagnostics {
	for _, o := range []types.Object{plan.Mesh, plan.Ports} {
		raw, err := o.ToTerraformValue(ctx)
		if err != nil || !raw.IsFullyKnown() {
			return nil
		}
	}
	c, diags := plan.ToSpec(ctx)
	if r.op != nil && known(plan.Name) && !diags.HasError() {
		r.op.Cluster(plan.Name.ValueString()).Describe(c)
	}
	return diags
}

// publicKey returns the provider's public key, empty when it has none (yet): plans work without it.
func (r *Resource) publicKey() string {
	if r.op == nil {
		return ""
	}
	key, err := r.op.Key()
	if err != nil {
		return ""
	}
	return key.Public().String()
}

// Create signs the cluster object.
func (r *Resource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(r.sign(ctx, &plan, 0)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
}

// Read keeps the state: the cluster is what was signed, and what agents hold is the nodes' to compare. After an import it
// fills in what the signed object says.
func (r *Resource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	key, err := r.op.Key()
	if err != nil {
		return // nothing to compare with; whatever needs the key will say so
	}
	root := trust.Root{Cluster: state.Name.ValueString(), Key: key.Public()}
	s, err := reference.OpenSigned(root, state.SignedObject.ValueString())
	if err != nil {
		return // ModifyPlan reports another key
	}
	if err := state.FromSigned(s, key.Public()); err != nil {
		resp.Diagnostics.AddError("Cluster object", err.Error())
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
}

// Update signs the changed cluster object with a higher generation.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	var generation uint64
	key, err := r.op.Key()
	if err == nil {
		root := trust.Root{Cluster: state.Name.ValueString(), Key: key.Public()}
		if s, err := reference.OpenSigned(root, state.SignedObject.ValueString()); err == nil {
			generation = s.Object.Generation
		}
	}
	resp.Diagnostics.Append(r.sign(ctx, &plan, generation)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
}

// Delete forgets the cluster. It has no machine of its own; its nodes are removed by their own resources.
func (r *Resource) Delete(context.Context, resource.DeleteRequest, *resource.DeleteResponse) {}

// ImportState reads the cluster object from any node: NAME@host:port.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	id, err := reference.ParseImportID(req.ID, 1)
	if err != nil {
		resp.Diagnostics.AddError("Import ID", fmt.Sprintf("%v.\n\nWrite NAME@host:port, where host:port is the API of any node of the cluster.", err))
		return
	}
	key, err := r.op.Key()
	if err != nil {
		resp.Diagnostics.Append(diagnose.SigningKey(err))
		return
	}
	seen, err := r.op.Look(ctx, id.Names[0], "", []string{id.Endpoint}, "")
	if err != nil {
		resp.Diagnostics.AddError("Import cluster", fmt.Sprintf("Cannot read cluster %q from %s: %v.", id.Names[0], id.Endpoint, err))
		return
	}
	if seen.Cluster == nil {
		resp.Diagnostics.AddError("Import cluster", fmt.Sprintf("The node at %s holds no cluster object of %q.", id.Endpoint, id.Names[0]))
		return
	}
	m := Model{Seeds: types.SetNull(types.StringType)}
	if err := m.FromSigned(*seen.Cluster, key.Public()); err != nil {
		resp.Diagnostics.AddError("Import cluster", err.Error())
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

// sign fills in the computed values of a planned cluster whose newest known generation is known.
func (r *Resource) sign(ctx context.Context, m *Model, known uint64) diag.Diagnostics {
	diags := validate(ctx, *m)
	c, more := m.ToSpec(ctx)
	diags.Append(more...)
	if diags.HasError() {
		return diags
	}
	key, err := r.op.Key()
	if err != nil {
		diags.Append(diagnose.SigningKey(err))
		return diags
	}
	now := r.op.Now()
	name := m.Name.ValueString()
	o, err := spec.NewObject(name, name, operator.Generation(known, now), uint64(now.UnixMilli()), c)
	if err != nil {
		diags.AddError("Cluster object", err.Error())
		return diags
	}
	e, err := trust.SignObject(key, o)
	if err != nil {
		diags.AddError("Cluster object", err.Error())
		return diags
	}
	if err := m.FromSigned(reference.Signed{Envelope: e, Object: o, Cluster: c}, key.Public()); err != nil {
		diags.AddError("Cluster object", err.Error())
	}
	return diags
}
