package replicationpair

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// standbyModel is the argument standby.
type standbyModel struct {
	Centre types.Object `tfsdk:"centre"`
	After  types.Int64  `tfsdk:"after_seconds"`
}

func centreType() types.ObjectType { return types.ObjectType{AttrTypes: reference.NamedTypes()} }

func standbyTypes() map[string]attr.Type {
	return map[string]attr.Type{"centre": centreType(), "after_seconds": types.Int64Type}
}

func standbyAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Makes this a standby pair, for a tree that more than two nodes have. They make a star: each is paired with one and the same node, the centre, which leads these pairs. " +
			"A standby pair is between a backup of the centre, which leads it, and one of the others, with the same paths, `owner`, `group` and `exclude`; each of the others needs one. " +
			"While the centre is dead, by what most nodes of the cluster find, standby pairs carry changes over. Else they only take note of what both nodes have. " +
			"The guide on files has the details. Default: a pair that always works.",
		Attributes: map[string]schema.Attribute{
			"centre": schema.SingleNestedAttribute{
				Required: true, MarkdownDescription: "The centre: an `atoll_node`. It is none of `nodes`, and has a pair with each of them.",
				Attributes: map[string]schema.Attribute{"name": schema.StringAttribute{Required: true, MarkdownDescription: "The node's `name`."}},
			},
			"after_seconds": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(spec.DefaultStandbyAfter), Validators: []validator.Int64{int64validator.Between(spec.MinStandbyAfter, spec.MaxStandbyAfter)},
				MarkdownDescription: fmt.Sprintf("For how long the centre has to be dead until the pair stands in for it, and for how long it has to be back, with all files, until the pair rests again, in seconds, from %d to %d. Default %d.",
					spec.MinStandbyAfter, spec.MaxStandbyAfter, spec.DefaultStandbyAfter),
			},
		},
	}
}

// standby reads the argument, nil for none. Values inside may be unknown, which count as empty.
func (m *Model) standby(ctx context.Context) (*spec.PairStandby, diag.Diagnostics) {
	if !known(m.Standby) {
		return nil, nil
	}
	var s standbyModel
	diags := m.Standby.As(ctx, &s, basetypes.ObjectAsOptions{})
	out := &spec.PairStandby{After: int(s.After.ValueInt64())}
	if known(s.Centre) {
		var named struct {
			Name types.String `tfsdk:"name"`
		}
		diags.Append(s.Centre.As(ctx, &named, basetypes.ObjectAsOptions{})...)
		out.For = named.Name.ValueString()
	}
	return out, diags
}

func (m *Model) setStandby(s *spec.PairStandby) {
	m.Standby = types.ObjectNull(standbyTypes())
	if s == nil {
		return
	}
	m.Standby = types.ObjectValueMust(standbyTypes(), map[string]attr.Value{
		"centre":        types.ObjectValueMust(reference.NamedTypes(), map[string]attr.Value{"name": types.StringValue(s.For)}),
		"after_seconds": types.Int64Value(int64(s.After)),
	})
}

// validateStandby returns what is wrong with it as far as it is known.
func (m *Model) validateStandby(p *pair) diag.Diagnostics {
	var diags diag.Diagnostics
	if p.body.Standby == nil {
		return diags
	}
	at := path.Root("standby").AtName("centre")
	for _, e := range p.ends {
		if e.node.Name != "" && e.node.Name == p.body.Standby.For {
			diags.AddAttributeError(at, invalid, fmt.Sprintf("%s is the centre, and a node of this pair.\n\nName the node that both nodes of this pair are paired with.", e.key))
		}
	}
	if known(m.Cold) {
		diags.AddAttributeError(path.Root("cold"), invalid, diagnose.Sentence("a tree of several pairs has no cold files", "leave cold out"))
	}
	return diags
}
