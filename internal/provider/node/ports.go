package node

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/setdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// portsModel is the argument public_ports.
type portsModel struct {
	TCP types.Set `tfsdk:"tcp"`
	UDP types.Set `tfsdk:"udp"`
}

func portsTypes() map[string]attr.Type {
	set := types.SetType{ElemType: types.Int64Type}
	return map[string]attr.Type{"tcp": set, "udp": set}
}

func portsAttribute() schema.SingleNestedAttribute {
	// A set that is not written is empty, so that an imported node is as its configuration says.
	none := setdefault.StaticValue(portSet(nil))
	valid := []validator.Set{setvalidator.ValueInt64sAre(int64validator.Between(1, 65535))}
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Ports of applications that everybody may reach on the node, such as the one behind an `atoll_load_balancer`. " +
			"The firewall of Atoll's node image is closed but for SSH and the cluster's own ports; these are opened beside them, and closed again when they are not here any more. " +
			"A machine that was adopted keeps its firewall as it is, and so does a Cloud Firewall (`linode.firewall_id`): open the ports there yourself. A change is made in place.",
		Attributes: map[string]schema.Attribute{
			"tcp": schema.SetAttribute{
				Optional: true, Computed: true, ElementType: types.Int64Type, Default: none, Validators: valid, MarkdownDescription: "TCP ports, for example `[80, 443]`. Default none.",
			},
			"udp": schema.SetAttribute{
				Optional: true, Computed: true, ElementType: types.Int64Type, Default: none, Validators: valid, MarkdownDescription: "UDP ports. Default none.",
			},
		},
	}
}

// publicPorts returns the ports that are known, in ascending order.
func (m Model) publicPorts(ctx context.Context) (spec.PublicPorts, diag.Diagnostics) {
	if !known(m.PublicPorts) {
		return spec.PublicPorts{}, nil
	}
	var p portsModel
	diags := m.PublicPorts.As(ctx, &p, basetypes.ObjectAsOptions{})
	return spec.PublicPorts{TCP: portsOf(p.TCP), UDP: portsOf(p.UDP)}, diags
}

// setPublicPorts sets the ports. That there are none is null unless the model says it in another way.
func (m *Model) setPublicPorts(ctx context.Context, p spec.PublicPorts) {
	if have, diags := m.publicPorts(ctx); known(m.PublicPorts) && !diags.HasError() && samePorts(have, p) {
		return
	}
	if p.IsZero() {
		m.PublicPorts = types.ObjectNull(portsTypes())
		return
	}
	m.PublicPorts = types.ObjectValueMust(portsTypes(), map[string]attr.Value{"tcp": portSet(p.TCP), "udp": portSet(p.UDP)})
}

func portsOf(s types.Set) []int {
	var out []int
	for _, e := range s.Elements() {
		if port, ok := e.(types.Int64); ok && known(port) {
			out = append(out, int(port.ValueInt64()))
		}
	}
	slices.Sort(out)
	return out
}

func portSet(ports []int) types.Set {
	values := make([]attr.Value, len(ports))
	for i, p := range ports {
		values[i] = types.Int64Value(int64(p))
	}
	return types.SetValueMust(types.Int64Type, values)
}

func samePorts(a, b spec.PublicPorts) bool {
	sorted := func(p []int) []int { return append([]int{}, slices.Sorted(slices.Values(p))...) }
	return reflect.DeepEqual(sorted(a.TCP), sorted(b.TCP)) && reflect.DeepEqual(sorted(a.UDP), sorted(b.UDP))
}

// awaitPorts waits until the node has put its object of this generation into effect, if other ports are to be open than before:
// who opens a port wants to use it next.
func (t *task) awaitPorts(ctx context.Context, state Model, generation uint64) diag.Diagnostics {
	n, diags := t.model.ToSpec(ctx)
	was, more := state.publicPorts(ctx)
	diags.Append(more...)
	if diags.HasError() || samePorts(n.PublicPorts, was) {
		return diags
	}
	node := operator.Peer{Name: t.name, Endpoints: n.Endpoints(t.api), Identity: t.model.Identity.ValueString()}
	began, reason := time.Now(), "it has not reported"
	for {
		status, err := t.op.Status(ctx, t.root.Cluster, node)
		switch seen := status.Nodes[t.name]; {
		case err == nil && seen.Applied[t.ref()] >= generation:
			return diags
		case err == nil:
			if c, found := (spec.Status{Conditions: seen.Conditions}).Condition(spec.ConditionApplied); found && !c.Good() {
				reason = fmt.Sprintf("%s is %s (%s): %s", c.Type, c.Status, c.Reason, c.Message)
			}
		case ctx.Err() == nil:
			reason = err.Error()
		}
		if !operator.Pause(ctx, t.op.Patience().Poll) {
			diags.AddAttributeError(path.Root("public_ports"), "Ports are not as described yet", fmt.Sprintf(
				"Node %q has its new description, but did not put it into effect within %s: %s.\n\n"+
					"Its agent goes on trying; `atoll status` tells when it has done so.", t.name, time.Since(began).Round(time.Second), reason))
			return diags
		}
	}
}
