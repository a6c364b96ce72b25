package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

const invalid = "Invalid image"

func sourcePath() path.Path { return path.Root("source") }

// ValidateConfig reports what is wrong with the values that are known.
func (r *Resource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var m Model
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !known(m.Replicas) || !known(m.Region) {
		return
	}
	for _, v := range m.Replicas.Elements() {
		if v.Equal(m.Region) {
			resp.Diagnostics.AddAttributeError(path.Root("replicas"), invalid, fmt.Sprintf(
				"replicas has the region %s, which is the image's own.\n\nList further regions only.", m.Region.ValueString()))
		}
	}
}

// ModifyPlan hashes the file, so that the plan shows whether its content is new, and refuses what could not be used.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan, config Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	var state *Model
	if !req.State.Raw.IsNull() {
		state = &Model{}
		resp.Diagnostics.Append(req.State.Get(ctx, state)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	if plan.Source.IsUnknown() {
		plan.forgetImage()
		plan.SHA256, plan.Version, plan.Architecture, plan.Wire = types.StringUnknown(), types.StringUnknown(), types.StringUnknown(), types.Int64Unknown()
		if config.Label.IsNull() {
			plan.Label = types.StringUnknown()
		}
		if config.Description.IsNull() {
			plan.Description = types.StringUnknown()
		}
		resp.Diagnostics.Append(resp.Plan.Set(ctx, &plan)...)
		return
	}
	source, err := nodeimage.Open(ctx, plan.Source.ValueString(), nodeimage.KindLinode)
	switch {
	case errors.Is(err, fs.ErrNotExist) && state.usable():
		// The state may be applied where nobody has built the image.
		resp.Diagnostics.AddAttributeWarning(sourcePath(), "Image file is not here", fmt.Sprintf(
			"%v. Image %s stays as it is; whether its content is still the wanted one is not known.", err, state.ID.ValueString()))
		plan.keep(*state)
	case err != nil:
		resp.Diagnostics.Append(sourceDiagnostic(err))
		return
	case state.usable() && state.SHA256.ValueString() == source.SHA256:
		plan.keep(*state)
		plan.setContent(source)
	default:
		resp.Diagnostics.Append(checkSource(source)...)
		plan.setContent(source)
		plan.forgetImage()
		plan.describeBy(config, source)
	}
	resp.Diagnostics.Append(resp.Plan.Set(ctx, &plan)...)
}

// usable tells whether there is an image.
func (m *Model) usable() bool {
	return m != nil && known(m.ID) && m.Status.ValueString() != statusGone
}

// keep plans that the image stays, with what changes because its regions or its predecessors do.
func (m *Model) keep(state Model) {
	m.ID, m.SHA256, m.Size, m.Status = state.ID, state.SHA256, state.Size, state.Status
	m.Version, m.Architecture, m.Wire = state.Version, state.Architecture, state.Wire
	if m.Regions = state.Regions; !m.Region.Equal(state.Region) || !m.Replicas.Equal(state.Replicas) {
		m.Regions = types.MapUnknown(types.StringType)
	}
	if m.Previous = state.Previous; m.KeepPrevious.IsUnknown() || int64(len(state.Previous.Elements())) > m.KeepPrevious.ValueInt64() {
		m.Previous = types.ListUnknown(types.StringType)
	}
	if m.Label.IsUnknown() {
		m.Label = state.Label
	}
	if m.Description.IsUnknown() {
		m.Description = state.Description
	}
}

// checkSource reports why a file that can be read cannot be used.
func checkSource(s nodeimage.Source) diag.Diagnostics {
	var errs []error
	if s.Facts != nil {
		errs = append(errs, s.Facts.CheckArchitecture(linode.ImageArchitecture), s.Facts.CheckWire())
	}
	if s.Size > linode.MaxImageUpload {
		errs = append(errs, &nodeimage.ContentError{
			Path: s.Path, Problem: fmt.Sprintf("has %d bytes, and Linode takes at most %d", s.Size, int64(linode.MaxImageUpload)), Remedy: "build a smaller image",
		})
	}
	errs = append(errs, checkSize(s.Path, s.UncompressedSize))
	var diags diag.Diagnostics
	for _, err := range slices.DeleteFunc(errs, func(err error) bool { return err == nil }) {
		diags.Append(sourceDiagnostic(err))
	}
	return diags
}

func checkSize(file string, uncompressed int64) error {
	if uncompressed <= linode.MaxImageSize {
		return nil
	}
	return &nodeimage.ContentError{
		Path: file, Problem: fmt.Sprintf("holds %d bytes, and Linode takes at most %d uncompressed", uncompressed, int64(linode.MaxImageSize)),
		Remedy: "build an image with a smaller root file system",
	}
}

// sourceDiagnostic puts what is wrong with the file onto the attribute source.
func sourceDiagnostic(err error) diag.Diagnostic {
	detail := err.Error() + "."
	if errors.Is(err, fs.ErrNotExist) {
		detail += "\n\nBuild the image (`make image`), or give the path of its manifest or of the file to upload."
	}
	return diag.NewAttributeErrorDiagnostic(sourcePath(), invalid, detail)
}
