package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

var (
	_ resource.Resource                   = (*Resource)(nil)
	_ resource.ResourceWithConfigure      = (*Resource)(nil)
	_ resource.ResourceWithImportState    = (*Resource)(nil)
	_ resource.ResourceWithModifyPlan     = (*Resource)(nil)
	_ resource.ResourceWithValidateConfig = (*Resource)(nil)
)

// Resource is atoll_image.
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

// memory is what the resource keeps in private state: the tag by which it holds its images.
type memory struct {
	Holder string `json:"holder"`
}

const memoryKey = "image"

type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

func recall(ctx context.Context, p privateReader) (memory, diag.Diagnostics) {
	var m memory
	data, diags := p.GetKey(ctx, memoryKey)
	if len(data) > 0 && !diags.HasError() {
		if err := json.Unmarshal(data, &m); err != nil {
			diags.AddWarning("Private state", fmt.Sprintf("By which tag this state holds its image cannot be read: %v.", err))
		}
	}
	return m, diags
}

func (m memory) save(ctx context.Context, p privateWriter) diag.Diagnostics {
	data, err := json.Marshal(m)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("Private state", err.Error())}
	}
	return p.SetKey(ctx, memoryKey, data)
}

// Create uploads the image, unless the account has its content already.
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
	resp.Diagnostics.Append(t.upload(ctx, "create", timeout)...)
	if resp.Diagnostics.HasError() {
		// An image in state would be tainted, and the next apply would upload all of it again. One that nobody holds is
		// found by its content.
		resp.Diagnostics.Append(t.letGo(ctx)...)
		return
	}
	plan.setPrevious(nil)
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}

// Read compares the state with the image.
func (r *Resource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	mem, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	t, diags := r.begin(ctx, &state, mem)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	image, err := t.client.Image(ctx, state.ID.ValueString())
	switch {
	case errors.Is(err, linode.ErrNotFound):
		// The state still knows the earlier images, so it is kept; the next plan uploads the image again.
		state.Status = types.StringValue(statusGone)
		resp.Diagnostics.AddAttributeWarning(path.Root("id"), "Image is gone", fmt.Sprintf(
			"Image %s does not exist any more. Unless it is to go, the next apply uploads it again. Machines that were made of it are not affected.", state.ID.ValueString()))
	case err != nil:
		resp.Diagnostics.Append(linodeDiagnostics("Read image", err)...)
		return
	default:
		resp.Diagnostics.Append(t.fromAPI(ctx, image)...)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
}

// fromAPI brings the model in line with the image. What several share is not held against one of them: each may want
// another label.
func (t *task) fromAPI(ctx context.Context, image linode.Image) diag.Diagnostics {
	m := t.model
	m.setImage(image)
	wanted, diags := m.places(ctx)
	var missing, more []string
	for region := range image.Regions {
		if image.In(region) && !slices.Contains(wanted, region) {
			more = append(more, region)
		}
	}
	for _, region := range wanted {
		if !image.In(region) {
			missing = append(missing, region)
		}
	}
	if len(missing) > 0 || len(more) > 0 && !t.shared(image) {
		m.setPlaces(image)
	}
	if t.shared(image) {
		return diags
	}
	m.Label, m.Description = types.StringValue(image.Label), types.StringValue(image.Description)
	tags := slices.DeleteFunc(slices.Clone(image.Tags), reserved)
	slices.Sort(tags)
	if now, _ := stringsOf(ctx, m.Tags); !slices.Equal(now, slices.Compact(tags)) {
		m.Tags = stringSet(tags)
	}
	return diags
}

// setPlaces sets the regions as they are.
func (m *Model) setPlaces(image linode.Image) {
	var there []string
	for region := range image.Regions {
		if image.In(region) {
			there = append(there, region)
		}
	}
	slices.Sort(there)
	if len(there) > 0 && !slices.Contains(there, m.Region.ValueString()) {
		m.Region = types.StringValue(there[0])
	}
	m.Replicas = stringSet(slices.DeleteFunc(there, func(region string) bool { return region == m.Region.ValueString() }))
}

// Update changes what describes the image, copies it, or uploads new content beside it.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	mem, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Update(ctx, updateTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t, diags := r.begin(ctx, &plan, mem)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	previous, diags := state.previous(ctx)
	resp.Diagnostics.Append(diags...)
	if plan.ID.IsUnknown() {
		resp.Diagnostics.Append(t.upload(ctx, "update", timeout)...)
		if state.usable() && !resp.Diagnostics.HasError() && plan.ID.ValueString() != state.ID.ValueString() {
			previous = append([]string{state.ID.ValueString()}, previous...)
		}
	} else {
		resp.Diagnostics.Append(t.amend(ctx, state, timeout)...)
	}
	// The holder must last also when something has failed: images may have its tag by now.
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
	if resp.Diagnostics.HasError() {
		return
	}
	previous = slices.DeleteFunc(previous, func(id string) bool { return id == plan.ID.ValueString() })
	kept, diags := t.trim(ctx, previous, int(plan.KeepPrevious.ValueInt64()))
	resp.Diagnostics.Append(diags...)
	plan.setPrevious(kept)
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
}

// Delete removes the images that nobody else needs.
func (r *Resource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	mem, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := state.Timeouts.Delete(ctx, deleteTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t, diags := r.begin(ctx, &state, mem)
	resp.Diagnostics.Append(diags...)
	previous, diags := state.previous(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	for _, id := range append([]string{state.ID.ValueString()}, previous...) {
		resp.Diagnostics.Append(t.release(ctx, id, state.RetainOnDestroy.ValueBool())...)
	}
}

var imageID = regexp.MustCompile(`^private/[1-9][0-9]*$`)

// ImportState reads an image that an atoll_image has uploaded: private/N.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	const failed = "Import image"
	if !imageID.MatchString(req.ID) {
		resp.Diagnostics.AddError("Import ID", fmt.Sprintf("%q is not the id of an image.\n\nWrite private/N, as Linode shows it.", req.ID))
		return
	}
	var m Model
	// Any value makes an object of the empty state, which then can be read with all its types.
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("id"), req.ID)...)
	resp.Diagnostics.Append(resp.State.Get(ctx, &m)...)
	t, diags := r.begin(ctx, &m, memory{})
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	image, err := t.client.Image(ctx, req.ID)
	if err != nil {
		resp.Diagnostics.Append(linodeDiagnostics(failed, err)...)
		return
	}
	tagged := nodeimage.ReadTags(image.Tags)
	if tagged.SHA256 == "" {
		resp.Diagnostics.AddError(failed, fmt.Sprintf("Image %s was not uploaded by an atoll_image: no tag tells its content.\n\n"+
			"An atoll_node takes its id as it is (linode.image); it needs no atoll_image.", req.ID))
		return
	}
	// Its state was lost or is another one's; whoever holds the image alone is taken to be this one.
	if holders := image.Holders(); len(holders) == 1 {
		t.memory.Holder = holders[0]
	}
	m.SHA256 = types.StringValue(tagged.SHA256)
	m.setFacts(tagged.Facts)
	m.setPrevious(nil)
	m.Label, m.Description = types.StringValue(image.Label), types.StringValue(image.Description)
	m.setPlaces(image)
	resp.Diagnostics.Append(t.fromAPI(ctx, image)...)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	resp.Diagnostics.Append(t.memory.save(ctx, resp.Private)...)
}
