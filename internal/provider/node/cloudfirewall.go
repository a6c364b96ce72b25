package node

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"

	"github.com/hashicorp/terraform-plugin-framework-validators/objectvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/cloudfirewall"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// cloudFirewallModel is the argument linode.firewall.
type cloudFirewallModel struct {
	Operators types.Set  `tfsdk:"operators"`
	Open      types.List `tfsdk:"open"`
}

func cloudFirewallTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"operators": types.SetType{ElemType: types.StringType}, "open": types.ListType{ElemType: types.ObjectType{AttrTypes: ruleTypes()}},
	}
}

func cloudFirewallAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		Validators: []validator.Object{
			objectvalidator.ConflictsWith(path.MatchRelative().AtParent().AtName("firewall_id")),
		},
		MarkdownDescription: "A Cloud Firewall of the node's own that Atoll makes and keeps; `{}` asks for one as it is by itself. It is before the instance from its first second on, lets in what the cluster needs at public addresses, from " +
			"whom it needs it, drops everything else, and is deleted after the instance. Its rules follow from the cluster's resources, as those of `host_firewall` do: whenever a node or a load balancer comes, changes " +
			"or goes, the same apply changes the rules, and what somebody else changed is a difference that the next plan shows and puts right (`linode_firewall`). Everything goes out, and ICMP comes in. " +
			"It can be added to an instance that is there, and taken off again. The token needs the scope `firewall:read_write`.",
		Attributes: map[string]schema.Attribute{
			"operators": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				Validators: []validator.Set{
					setvalidator.SizeAtLeast(1),
					setvalidator.ValueStringsAre(specValidator{"is an address or a network", func(text string) spec.Problems { return spec.ValidateNetwork("operators", text) }}),
				},
				MarkdownDescription: "IP addresses and networks that the machine is administered from, for example `[\"203.0.113.0/24\"]`: SSH and the agent's API are open to them, " +
					"so Terraform has to run there; a change that keeps it out is taken back. Default: everybody.",
			},
			"open": rulesAttribute("What is let in beside at the public addresses, for example from a monitoring system: `[{ protocol = \"tcp\", ports = [9100], peers = [\"198.51.100.7\"] }]`. " +
				"A node's name stands for its `addresses` as far as they are IP addresses. Ports for everybody are better in `public_ports`, which firewalls elsewhere see too."),
		},
	}
}

// linodeFirewallAttribute is what is observed of it.
func linodeFirewallAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Computed:            true,
		MarkdownDescription: "The Cloud Firewall that `linode.firewall` asks for, as it is; null without.",
		Attributes: map[string]schema.Attribute{
			"id":     schema.Int64Attribute{Computed: true, MarkdownDescription: "Linode's id of it."},
			"status": schema.StringAttribute{Computed: true, MarkdownDescription: "`enabled`, or what is wrong: `disabled`, or `detached` when it is not before the instance. The next apply puts it right."},
			"rules": schema.ListAttribute{
				Computed: true, ElementType: types.StringType,
				MarkdownDescription: "What it lets in, one thing a line, for example `tcp 655, 7443 from 192.0.2.7`. Rules that do the same in another way have the same lines.",
			},
		},
	}
}

// linodeFirewallModel is the attribute linode_firewall.
type linodeFirewallModel struct {
	ID     types.Int64  `tfsdk:"id"`
	Status types.String `tfsdk:"status"`
	Rules  types.List   `tfsdk:"rules"`
}

func linodeFirewallTypes() map[string]attr.Type {
	return map[string]attr.Type{"id": types.Int64Type, "status": types.StringType, "rules": types.ListType{ElemType: types.StringType}}
}

// What status says.
const (
	wallEnabled  = "enabled"
	wallDisabled = "disabled"
	wallDetached = "detached"
)

func wallValue(id types.Int64, status string, rules types.List) types.Object {
	return types.ObjectValueMust(linodeFirewallTypes(), map[string]attr.Value{"id": id, "status": types.StringValue(status), "rules": rules})
}

func linesValue(lines []string) types.List {
	values := make([]attr.Value, len(lines))
	for i, l := range lines {
		values[i] = types.StringValue(l)
	}
	return types.ListValueMust(types.StringType, values)
}

// wall returns what is known of the firewall, ok false for nothing.
func (m Model) wall(ctx context.Context) (w linodeFirewallModel, ok bool, diags diag.Diagnostics) {
	if !known(m.LinodeFirewall) {
		return w, false, nil
	}
	diags = m.LinodeFirewall.As(ctx, &w, basetypes.ObjectAsOptions{UnhandledUnknownAsEmpty: true})
	return w, !diags.HasError() && known(w.ID), diags
}

// cloudFirewall returns the firewall that is asked for, nil for none; whole is false while a part of it is not known.
func (m Model) cloudFirewall(ctx context.Context) (f *spec.CloudFirewall, whole bool, diags diag.Diagnostics) {
	l, ok, diags := m.linode(ctx)
	if !ok || l.Firewall.IsNull() {
		return nil, !m.Linode.IsUnknown(), diags
	}
	raw, err := l.Firewall.ToTerraformValue(ctx)
	if err != nil || !raw.IsFullyKnown() {
		return nil, false, diags
	}
	var fm cloudFirewallModel
	diags.Append(l.Firewall.As(ctx, &fm, basetypes.ObjectAsOptions{})...)
	f = &spec.CloudFirewall{Operators: textsOf(fm.Operators)}
	rules, more := rulesFrom(ctx, fm.Open)
	diags.Append(more...)
	if len(rules) > 0 {
		f.Open = rules
	}
	return f, true, diags
}

// setCloudFirewall sets what is asked for, unless the model says the same in another way. A node that is no Linode has nothing to set.
func (m *Model) setCloudFirewall(ctx context.Context, f *spec.CloudFirewall) diag.Diagnostics {
	l, ok, diags := m.linode(ctx)
	if !ok {
		return diags
	}
	have, whole, more := m.cloudFirewall(ctx)
	diags.Append(more...)
	if whole && !diags.HasError() && reflect.DeepEqual(have, f) {
		return diags
	}
	l.setFirewall(f)
	diags.Append(m.setLinode(ctx, l)...)
	return diags
}

func (l *linodeModel) setFirewall(f *spec.CloudFirewall) {
	l.Firewall = types.ObjectNull(cloudFirewallTypes())
	if f != nil {
		l.Firewall = types.ObjectValueMust(cloudFirewallTypes(), map[string]attr.Value{"operators": textSet(f.Operators), "open": rulesValue(f.Open)})
	}
}

// planWall plans what will be observed of the firewall. What its rules will be is known while only the firewall itself has to be put
// right; a change of the node or its cluster may change them.
func (m *Model) planWall(ctx context.Context, state *Model, mem memory) diag.Diagnostics {
	wish, whole, diags := m.cloudFirewall(ctx)
	unknown := types.ListUnknown(types.StringType)
	if l, ok, _ := m.linode(ctx); !whole || ok && l.Firewall.IsUnknown() {
		m.LinodeFirewall = types.ObjectUnknown(linodeFirewallTypes())
		return diags
	}
	if wish == nil {
		m.LinodeFirewall = types.ObjectNull(linodeFirewallTypes())
		return diags
	}
	m.LinodeFirewall = wallValue(types.Int64Unknown(), wallEnabled, unknown)
	if state == nil {
		return diags
	}
	have, there, more := state.wall(ctx)
	diags.Append(more...)
	if !there {
		return diags
	}
	now, more := m.ToSpec(ctx)
	diags.Append(more...)
	was, more := state.ToSpec(ctx)
	diags.Append(more...)
	switch {
	case !sameNode(now, was) || !m.Cluster.Equal(state.Cluster) || !known(m.Addresses) || mem.Wall == wallStale:
		m.LinodeFirewall = wallValue(have.ID, wallEnabled, unknown)
	case mem.Wall == wallDiffers:
		m.LinodeFirewall = wallValue(have.ID, wallEnabled, linesValue(mem.WallLines))
	default:
		m.LinodeFirewall = state.LinodeFirewall
	}
	return diags
}

// What a refresh has found out about the firewall, in memory.Wall.
const (
	// wallStale: it is not as it should be, and nobody answered who knows what its rules have to be.
	wallStale = "stale"
	// wallDiffers: it should have the rules of memory.WallLines.
	wallDiffers = "differs"
)

// readWall reads the firewall. One that is gone is made again by the next apply.
func (t *task) readWall(ctx context.Context, client *linode.Client, inst linode.Instance) diag.Diagnostics {
	w, there, diags := t.model.wall(ctx)
	var f linode.Firewall
	var err error
	if there {
		f, err = client.Firewall(ctx, int(w.ID.ValueInt64()))
	} else if wish, _, _ := t.model.cloudFirewall(ctx); wish == nil {
		t.model.LinodeFirewall = types.ObjectNull(linodeFirewallTypes())
		return diags
	}
	if !there || errors.Is(err, linode.ErrNotFound) {
		var found bool
		if f, found, err = client.FindFirewall(ctx, cloudfirewall.Label(t.root.Cluster, t.name)); err == nil && (!found || !slices.Contains(f.Tags, t.mark())) {
			t.model.LinodeFirewall = types.ObjectNull(linodeFirewallTypes())
			return diags
		}
	}
	if err != nil {
		diags.Append(cloudfirewall.Problem(err)...)
		return diags
	}
	t.model.LinodeFirewall = wallFrom(f, inst.ID)
	return diags
}

func wallFrom(f linode.Firewall, instance int) types.Object {
	status := wallEnabled
	switch {
	case !slices.Contains(f.Instances, instance):
		status = wallDetached
	case !f.Enabled:
		status = wallDisabled
	}
	return wallValue(types.Int64Value(int64(f.ID)), status, linesValue(f.Rules.Lines()))
}

// noteWall remembers how the firewall that was read differs from what it should be, by what the node's agent holds.
func (t *task) noteWall(ctx context.Context, mem *memory, holds *topology.Input) diag.Diagnostics {
	mem.Wall, mem.WallLines = "", nil
	w, there, diags := t.model.wall(ctx)
	if !there {
		return diags
	}
	if w.Status.ValueString() != wallEnabled {
		mem.Wall = wallStale
	}
	if holds == nil || holds.Nodes[t.name].CloudFirewall == nil {
		return diags
	}
	rules, err := cloudfirewall.Rules(*holds, t.name)
	if err != nil {
		mem.Wall = wallStale // the apply says what is wrong
		return diags
	}
	if mem.Wall == wallStale || !linesValue(rules.Lines()).Equal(w.Rules) {
		mem.Wall, mem.WallLines = wallDiffers, rules.Lines()
	}
	return diags
}

// instanceNumber is the id of the machine, 0 for none.
func (m Model) instanceNumber() int {
	id, err := strconv.Atoi(m.InstanceID.ValueString())
	if err != nil {
		return 0
	}
	return id
}

// moved tells whether an instance is to stand behind somebody else's firewall instead of Atoll's. It is put there when it is made, so
// that it must be made again.
func moved(ctx context.Context, plan, state Model) bool {
	now, ok, _ := plan.linode(ctx)
	was, had, _ := state.linode(ctx)
	return ok && had && !was.Firewall.IsNull() && now.Firewall.IsNull() && !now.FirewallID.IsNull()
}
