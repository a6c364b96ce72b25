package image

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// Model is the resource's state.
type Model struct {
	ID              types.String   `tfsdk:"id"`
	Source          types.String   `tfsdk:"source"`
	Region          types.String   `tfsdk:"region"`
	Replicas        types.Set      `tfsdk:"replicas"`
	Label           types.String   `tfsdk:"label"`
	Description     types.String   `tfsdk:"description"`
	Tags            types.Set      `tfsdk:"tags"`
	KeepPrevious    types.Int64    `tfsdk:"keep_previous"`
	RetainOnDestroy types.Bool     `tfsdk:"retain_on_destroy"`
	SHA256          types.String   `tfsdk:"sha256"`
	Size            types.Int64    `tfsdk:"size"`
	Status          types.String   `tfsdk:"status"`
	Version         types.String   `tfsdk:"version"`
	Architecture    types.String   `tfsdk:"architecture"`
	Wire            types.Int64    `tfsdk:"wire"`
	Regions         types.Map      `tfsdk:"regions"`
	Previous        types.List     `tfsdk:"previous"`
	Timeouts        timeouts.Value `tfsdk:"timeouts"`
}

// statusGone is the status of an image that somebody else has deleted.
const statusGone = "gone"

func known(v attr.Value) bool { return !v.IsNull() && !v.IsUnknown() }

func reserved(tag string) bool { return strings.HasPrefix(tag, nodeimage.TagPrefix) }

// setContent sets what follows from the content that is to be uploaded.
func (m *Model) setContent(s nodeimage.Source) {
	m.SHA256 = types.StringValue(s.SHA256)
	var facts nodeimage.Facts
	if s.Facts != nil {
		facts = *s.Facts
	}
	m.setFacts(facts)
}

func (m *Model) setFacts(f nodeimage.Facts) {
	m.Version, m.Architecture, m.Wire = types.StringNull(), types.StringNull(), types.Int64Null()
	if f.Version != "" {
		m.Version = types.StringValue(f.Version)
	}
	if f.Architecture != "" {
		m.Architecture = types.StringValue(f.Architecture)
	}
	if f.Wire != 0 {
		m.Wire = types.Int64Value(int64(f.Wire))
	}
}

// setImage sets what Linode says of the image and nobody configures.
func (m *Model) setImage(image linode.Image) {
	m.ID, m.Status = types.StringValue(image.ID), types.StringValue(string(image.Status))
	m.Size = types.Int64Value(int64(image.Size))
	regions := map[string]attr.Value{}
	for region, status := range image.Regions {
		if image.In(region) { // a copy that is about to go would show as a change when it has gone
			regions[region] = types.StringValue(status)
		}
	}
	m.Regions = types.MapValueMust(types.StringType, regions)
}

// forgetImage makes unknown what only an image that is still to be uploaded has.
func (m *Model) forgetImage() {
	m.ID, m.Status, m.Size = types.StringUnknown(), types.StringUnknown(), types.Int64Unknown()
	m.Regions, m.Previous = types.MapUnknown(types.StringType), types.ListUnknown(types.StringType)
}

// places returns the regions that the image is to be in, the one for the upload first.
func (m Model) places(ctx context.Context) ([]string, diag.Diagnostics) {
	more, diags := stringsOf(ctx, m.Replicas)
	out := []string{m.Region.ValueString()}
	for _, region := range more {
		if !slices.Contains(out, region) {
			out = append(out, region)
		}
	}
	return out, diags
}

func stringsOf(ctx context.Context, s types.Set) ([]string, diag.Diagnostics) {
	if !known(s) {
		return nil, nil
	}
	var out []string
	diags := s.ElementsAs(ctx, &out, false)
	slices.Sort(out)
	return out, diags
}

func stringSet(in []string) types.Set {
	if len(in) == 0 {
		return types.SetNull(types.StringType)
	}
	values := make([]attr.Value, len(in))
	for i, s := range in {
		values[i] = types.StringValue(s)
	}
	return types.SetValueMust(types.StringType, values)
}

func (m Model) previous(ctx context.Context) ([]string, diag.Diagnostics) {
	if !known(m.Previous) {
		return nil, nil
	}
	var out []string
	diags := m.Previous.ElementsAs(ctx, &out, false)
	return out, diags
}

func (m *Model) setPrevious(ids []string) {
	values := make([]attr.Value, len(ids))
	for i, id := range ids {
		values[i] = types.StringValue(id)
	}
	m.Previous = types.ListValueMust(types.StringType, values)
}

// fitting is what Linode takes in a label.
var fitting = regexp.MustCompile(`[^a-zA-Z0-9,.?_\s'-]+`)

// defaultLabel is the label of an image that is given none.
func defaultLabel(s nodeimage.Source) string {
	label := "atoll-node"
	if s.Facts != nil {
		label += "-" + s.Facts.Version
	} else if name, _, _ := strings.Cut(filepath.Base(s.Path), ".img"); name != "" {
		label = name
	}
	label = fitting.ReplaceAllString(label, "-")
	return strings.TrimRight(label[:min(len(label), linode.MaxImageLabel)], "-. ")
}

// defaultDescription is the description of an image that is given none. Linode takes no empty one.
func defaultDescription(s nodeimage.Source) string {
	if s.Facts == nil {
		return "Atoll node image from " + filepath.Base(s.Path)
	}
	text := fmt.Sprintf("Atoll %s node image, Debian %s, %s, built %s", s.Facts.Version, s.Facts.Debian, s.Facts.Architecture, s.Facts.Built.Format(time.DateOnly))
	if len(s.Facts.Databases) > 0 {
		text += ", with " + strings.Join(s.Facts.Databases, ", ")
	}
	return text
}

// describeBy plans label and description of new content where none are configured.
func (m *Model) describeBy(config Model, s nodeimage.Source) {
	if config.Label.IsNull() {
		m.Label = types.StringValue(defaultLabel(s))
	}
	if config.Description.IsNull() {
		m.Description = types.StringValue(defaultDescription(s))
	}
}
