package node

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// hostFirewallModel is the argument host_firewall.
type hostFirewallModel struct {
	Enforce       types.Bool  `tfsdk:"enforce"`
	Operators     types.Set   `tfsdk:"operators"`
	Open          types.List  `tfsdk:"open"`
	ConfirmWithin types.Int64 `tfsdk:"confirm_within"`
}

func hostFirewallTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"enforce": types.BoolType, "operators": types.SetType{ElemType: types.StringType},
		"open": types.ListType{ElemType: types.ObjectType{AttrTypes: ruleTypes()}}, "confirm_within": types.Int64Type,
	}
}

func hostFirewallAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "A packet filter on the node itself that its agent keeps, as the nftables table `inet atoll`. It lets in exactly what the cluster needs, from whom it needs it " +
			"(the table that `provider::atoll::ports` and `atoll ports` print): what visitors and monitors use from everybody, the mesh and the agent from the other nodes' `addresses`, " +
			"databases and gossip over the mesh from the nodes that use them, SSH and the agent's API from `operators`, and all of it is kept as nodes and services come and go. " +
			"Everything else from outside and over the mesh is dropped and counted; other firewalls of the machine go on beside it. Without this argument there is none.\n\n" +
			"A change that could lock somebody out is tried first: unless the operator (when `operators` changes; `terraform apply` does it) or another node comes through within `confirm_within`, " +
			"the node's kernel goes back to what was confirmed last by itself, also when the agent is dead, and the apply says so. Connections that are there stay.",
		Attributes: map[string]schema.Attribute{
			"enforce": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(true), MarkdownDescription: "Whether the filter is in force. Default `true`.",
			},
			"operators": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				Validators: []validator.Set{
					setvalidator.SizeAtLeast(1),
					setvalidator.ValueStringsAre(specValidator{"is an address or a network", func(text string) spec.Problems { return spec.ValidateNetwork("operators", text) }}),
				},
				MarkdownDescription: "IP addresses and networks that the machine is administered from, for example `[\"203.0.113.0/24\"]`: SSH and the agent's API are open to them, " +
					"so Terraform has to run there. Default: everybody.",
			},
			"open": rulesAttribute("What is let in beside, at the node's public addresses and over the mesh, for example from a monitoring system: `[{ protocol = \"tcp\", ports = [9100], peers = [\"198.51.100.7\"] }]`. " +
				"A node's name stands for its `addresses` as far as they are IP addresses, and its mesh address. Ports for everybody are better in `public_ports`, which firewalls elsewhere see too."),
			"confirm_within": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(spec.DefaultConfirmSeconds),
				Validators: []validator.Int64{int64validator.Between(spec.MinConfirmSeconds, spec.MaxConfirmSeconds)},
				MarkdownDescription: fmt.Sprintf("Seconds, from %d to %d, within which somebody has to come through a change. Default %d.",
					spec.MinConfirmSeconds, spec.MaxConfirmSeconds, spec.DefaultConfirmSeconds),
			},
		},
	}
}

// hostFirewall returns the node's packet filter, nil for none and while a part of it is unknown.
func (m Model) hostFirewall(ctx context.Context) (*spec.HostFirewall, diag.Diagnostics) {
	if m.HostFirewall.IsNull() {
		return nil, nil
	}
	raw, err := m.HostFirewall.ToTerraformValue(ctx)
	if err != nil || !raw.IsFullyKnown() {
		return nil, nil
	}
	var fm hostFirewallModel
	diags := m.HostFirewall.As(ctx, &fm, basetypes.ObjectAsOptions{})
	f := &spec.HostFirewall{Enforce: true, Operators: textsOf(fm.Operators), ConfirmSeconds: spec.DefaultConfirmSeconds}
	// A configuration has null where a plan has the default.
	if !fm.Enforce.IsNull() {
		f.Enforce = fm.Enforce.ValueBool()
	}
	if !fm.ConfirmWithin.IsNull() {
		f.ConfirmSeconds = int(fm.ConfirmWithin.ValueInt64())
	}
	rules, more := rulesFrom(ctx, fm.Open)
	diags.Append(more...)
	if len(rules) > 0 {
		f.Open = rules
	}
	return f, diags
}

// setHostFirewall sets the packet filter, unless the model says the same in another way.
func (m *Model) setHostFirewall(ctx context.Context, f *spec.HostFirewall) {
	have, diags := m.hostFirewall(ctx)
	if !m.HostFirewall.IsUnknown() && !diags.HasError() && reflect.DeepEqual(have, f) {
		return
	}
	if f == nil {
		m.HostFirewall = types.ObjectNull(hostFirewallTypes())
		return
	}
	m.HostFirewall = types.ObjectValueMust(hostFirewallTypes(), map[string]attr.Value{
		"enforce": types.BoolValue(f.Enforce), "operators": textSet(f.Operators), "open": rulesValue(f.Open),
		"confirm_within": types.Int64Value(int64(f.ConfirmSeconds)),
	})
}

// filterTakenBack is the summary of what a user is told of a filter that nobody came through.
const filterTakenBack = "Packet filter is not in force"

// newFilter tells whether another packet filter than before is to be in force.
func (t *task) newFilter(ctx context.Context, state Model) (bool, diag.Diagnostics) {
	want, diags := t.model.hostFirewall(ctx)
	was, more := state.hostFirewall(ctx)
	diags.Append(more...)
	return !diags.HasError() && want != nil && want.Enforce && !reflect.DeepEqual(want, was), diags
}

// awaitFilter waits until the node's packet filter holds, if it is another than before. Each look is a connection of its own, by
// which the operator comes through what is on trial.
func (t *task) awaitFilter(ctx context.Context, state Model, generation uint64) diag.Diagnostics {
	changed, diags := t.newFilter(ctx, state)
	if !changed {
		return diags
	}
	n, more := t.model.ToSpec(ctx)
	diags.Append(more...)
	node := operator.Peer{Name: t.name, Endpoints: n.Endpoints(t.api), Identity: t.model.Identity.ValueString()}
	began, reason := time.Now(), "it has not reported"
	for {
		status, err := t.op.Status(ctx, t.root.Cluster, node)
		seen := status.Nodes[t.name]
		c, found := (spec.Status{Conditions: seen.Conditions}).Condition(spec.ConditionFirewallReady)
		switch {
		case err != nil && ctx.Err() == nil:
			reason = err.Error()
		case err == nil && found && seen.Applied[t.ref()] >= generation && c.Status == spec.ConditionTrue:
			return diags
		case err == nil && found && seen.Applied[t.ref()] >= generation && c.Status == spec.ConditionFalse:
			diags.AddAttributeError(path.Root("host_firewall"), filterTakenBack, fmt.Sprintf("Node %q: %s.", t.name, c.Message))
			return diags
		case err == nil:
			if applied, there := (spec.Status{Conditions: seen.Conditions}).Condition(spec.ConditionApplied); there && !applied.Good() {
				c = applied
			}
			reason = fmt.Sprintf("%s is %s (%s): %s", c.Type, c.Status, c.Reason, c.Message)
		}
		if !operator.Pause(ctx, t.op.Patience().Poll) {
			diags.AddAttributeError(path.Root("host_firewall"), filterTakenBack, fmt.Sprintf(
				"Node %q has its new description, but its packet filter did not come into force within %s: %s.\n\n"+
					"Its agent goes on by itself; `atoll status` tells how it is.", t.name, time.Since(began).Round(time.Second), reason))
			return diags
		}
	}
}

// asWarnings returns diagnostics none of which is an error, for what is no reason to make a machine again.
func asWarnings(diags diag.Diagnostics) diag.Diagnostics {
	var out diag.Diagnostics
	for _, d := range diags {
		if at, ok := d.(diag.DiagnosticWithPath); ok {
			out.AddAttributeWarning(at.Path(), d.Summary(), d.Detail())
		} else {
			out.AddWarning(d.Summary(), d.Detail())
		}
	}
	return out
}
