package replicationpair

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
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

// afterModel is the argument after_change.
type afterModel struct {
	Command types.List  `tfsdk:"command"`
	Timeout types.Int64 `tfsdk:"timeout_seconds"`
}

func afterTypes() map[string]attr.Type {
	return map[string]attr.Type{"command": types.ListType{ElemType: types.StringType}, "timeout_seconds": types.Int64Type}
}

func afterAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "A command that a node runs after changes of the other one have arrived in its tree, as `owner` and `group`, in the tree's root: for example `php occ upgrade`, so that an app which was " +
			"enabled on one node is on the other, too. It runs at least once for each change, also after crashes, never two at a time, and once for many that come together. While it fails it is tried again, after pauses " +
			"from 5 s to 5 minutes. What it writes goes to the other node like any change, so it has to change nothing when there is nothing to do. " +
			"It sees `ATOLL_PAIR`, `ATOLL_NODE` and `ATOLL_TREE`. The guide on files has the details. Default: nothing is run.",
		Attributes: map[string]schema.Attribute{
			"command": schema.ListAttribute{
				Required: true, ElementType: types.StringType, Validators: []validator.List{listvalidator.NoNullValues()},
				MarkdownDescription: "The program by its absolute path on the nodes, and its arguments. No shell reads them: for one, write `[\"/bin/sh\", \"-c\", \"…\"]`. The command is part of what every node of the cluster knows: no passwords.",
			},
			"timeout_seconds": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(spec.DefaultAfterTimeout), Validators: []validator.Int64{int64validator.Between(1, spec.MaxAfterTimeout)},
				MarkdownDescription: fmt.Sprintf("How long it may take, in seconds, from 1 to %d. Then it is killed with all that it has started, and has failed. Default %d.", spec.MaxAfterTimeout, spec.DefaultAfterTimeout),
			},
		},
	}
}

// afterStatus is what is observed of it on one node.
func afterStatus() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Computed: true, MarkdownDescription: "How far the node is with `after_change`; null without it, and when nothing is known.",
		Attributes: map[string]schema.Attribute{
			"state":    schema.StringAttribute{Computed: true, MarkdownDescription: "`done`, `due`, `running`, or `failed`, which is tried again."},
			"last_run": schema.StringAttribute{Computed: true, MarkdownDescription: "When it ended last (RFC 3339); null before the first time since the pair's programs started."},
			"problem":  schema.StringAttribute{Computed: true, MarkdownDescription: "Why it has failed, with the end of what it has said; null for nothing."},
		},
	}
}

func afterStatusTypes() map[string]attr.Type {
	return map[string]attr.Type{"state": types.StringType, "last_run": types.StringType, "problem": types.StringType}
}

func afterStatusValue(s *spec.AfterStatus) types.Object {
	if s == nil {
		return types.ObjectNull(afterStatusTypes())
	}
	last := types.StringNull()
	if !s.Last.IsZero() {
		last = types.StringValue(s.Last.UTC().Format(time.RFC3339))
	}
	return types.ObjectValueMust(afterStatusTypes(), map[string]attr.Value{"state": types.StringValue(string(s.State)), "last_run": last, "problem": textOrNull(s.Problem)})
}

// after reads the argument, nil for none. Values inside may be unknown, which count as empty.
func (m *Model) after(ctx context.Context) (*spec.PairAfter, diag.Diagnostics) {
	if !known(m.After) {
		return nil, nil
	}
	var a afterModel
	diags := m.After.As(ctx, &a, basetypes.ObjectAsOptions{})
	out := &spec.PairAfter{Timeout: int(a.Timeout.ValueInt64())}
	if known(a.Command) {
		var words []types.String
		diags.Append(a.Command.ElementsAs(ctx, &words, false)...)
		for _, word := range words {
			out.Command = append(out.Command, word.ValueString())
		}
	}
	return out, diags
}

func (m *Model) setAfter(a *spec.PairAfter) {
	m.After = types.ObjectNull(afterTypes())
	if a == nil {
		return
	}
	m.After = types.ObjectValueMust(afterTypes(), map[string]attr.Value{"command": reference.StringList(a.Command), "timeout_seconds": types.Int64Value(int64(a.Timeout))})
}

// validateAfter returns what is wrong with it as far as it is known.
func (m *Model) validateAfter(ctx context.Context) diag.Diagnostics {
	var diags diag.Diagnostics
	if !known(m.After) {
		return diags
	}
	raw, err := m.After.ToTerraformValue(ctx)
	if err != nil || !raw.IsFullyKnown() {
		return diags
	}
	a, diags := m.after(ctx)
	for _, one := range spec.ValidateAfterCommand("command", a.Command) {
		diags.AddAttributeError(path.Root("after_change").AtName("command"), invalid, diagnose.Sentence(one.Field+" "+one.Message, one.Remedy))
	}
	return diags
}
