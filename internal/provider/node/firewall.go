package node

import (
	"context"
	"reflect"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// firewallModel is the argument firewall.
type firewallModel struct {
	Inbound  types.List   `tfsdk:"inbound"`
	Outbound types.List   `tfsdk:"outbound"`
	Mesh     types.List   `tfsdk:"mesh"`
	Accept   types.Object `tfsdk:"accept"`
}

type ruleModel struct {
	Protocol types.String `tfsdk:"protocol"`
	Ports    types.Set    `tfsdk:"ports"`
	Peers    types.Set    `tfsdk:"peers"`
}

type firewallAcceptModel struct {
	Blocked types.Set `tfsdk:"blocked"`
}

func firewallTypes() map[string]attr.Type {
	rules := types.ListType{ElemType: types.ObjectType{AttrTypes: ruleTypes()}}
	return map[string]attr.Type{
		"inbound": rules, "outbound": rules, "mesh": rules, "accept": types.ObjectType{AttrTypes: firewallAcceptTypes()},
	}
}

func ruleTypes() map[string]attr.Type {
	set := types.SetType{ElemType: types.StringType}
	return map[string]attr.Type{"protocol": types.StringType, "ports": set, "peers": set}
}

func firewallAcceptTypes() map[string]attr.Type {
	return map[string]attr.Type{"blocked": types.SetType{ElemType: types.StringType}}
}

func firewallAttribute() schema.SingleNestedAttribute {
	rules := rulesAttribute
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "What stands between the node and the others and is not Atoll's: a firewall of the provider's, such as the one of `linode.firewall_id`, " +
			"or an adopted machine's own. Atoll changes nothing of it (the one that it keeps itself is `host_firewall`). It is written down so that a plan can say who is kept from whom: a firewall that is open to one side " +
			"only is found otherwise when another node dies. Without it nothing is known to stand there. Answers to what was let out are let in, as with every firewall that keeps state.",
		Attributes: map[string]schema.Attribute{
			"inbound":  rules("What it lets in at the node's public addresses. Default: everything; `[]` is nothing."),
			"outbound": rules("What it lets out to other nodes' public addresses; the ports are theirs. Default: everything."),
			"mesh":     rules("What it lets in over the mesh, at the node's `mesh_address`: for a machine whose own firewall filters there too. Networks and addresses are those of the mesh. Default: everything."),
			"accept": schema.SingleNestedAttribute{
				Optional:            true,
				MarkdownDescription: "What of this is meant to be so. Without it, that two nodes are kept apart is an error.",
				Attributes: map[string]schema.Attribute{
					"blocked": schema.SetAttribute{
						Optional: true, ElementType: types.StringType,
						Validators:          []validator.Set{setvalidator.ValueStringsAre(specValidator{"is a node's name", func(text string) spec.Problems { return spec.ValidateName("blocked", text) }})},
						MarkdownDescription: "Names of nodes that this firewall may keep from the node, or the node from them.",
					},
				},
			},
		},
	}
}

// rulesAttribute is a list of rules of a firewall.
func rulesAttribute(description string) schema.ListNestedAttribute {
	var protocols []string
	for _, p := range spec.FirewallProtocols() {
		protocols = append(protocols, string(p))
	}
	return schema.ListNestedAttribute{
		Optional: true, MarkdownDescription: description,
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"protocol": schema.StringAttribute{
				Required: true, Validators: []validator.String{stringvalidator.OneOf(protocols...)}, MarkdownDescription: "`tcp` or `udp`.",
			},
			"ports": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				Validators: []validator.Set{setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(specValidator{"is a port or a range of ports", func(text string) spec.Problems {
					if _, _, ok := spec.ParsePorts(text); !ok {
						return spec.Problems{{Field: "ports", Message: `"` + text + `" is no port`, Remedy: `write one from 1 to 65535, or a range such as "8000-8080"`}}
					}
					return nil
				}})},
				MarkdownDescription: "Ports of the side that is connected to, for example `[655, \"8000-8080\"]`. Default: all.",
			},
			"peers": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				Validators:          []validator.Set{setvalidator.ValueStringsAre(specValidator{"is a node's name, an address or a network", func(text string) spec.Problems { return spec.ValidatePeer("peers", text) }})},
				MarkdownDescription: "Who is on the other side: names of nodes, IP addresses and networks, for example `[\"hk1\", \"192.0.2.0/24\"]`. Default: everybody; `[]` is nobody.",
			},
		}},
	}
}

// specValidator checks a text by a rule of spec.
type specValidator struct {
	description string
	check       func(string) spec.Problems
}

// Description implements validator.Describer.
func (v specValidator) Description(context.Context) string { return v.description }

// MarkdownDescription implements validator.Describer.
func (v specValidator) MarkdownDescription(context.Context) string { return v.description }

// ValidateString implements validator.String.
func (v specValidator) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if !known(req.ConfigValue) {
		return
	}
	for _, p := range v.check(req.ConfigValue.ValueString()) {
		resp.Diagnostics.AddAttributeError(req.Path, invalid, diagnose.Sentence(p.Field+": "+p.Message, p.Remedy))
	}
}

// firewall returns the firewall, nil for none. While a part of it is unknown it is not whole, and what it lets through is left open.
func (m Model) firewall(ctx context.Context) (f *spec.Firewall, whole bool, diags diag.Diagnostics) {
	if m.Firewall.IsNull() {
		return nil, true, nil
	}
	raw, err := m.Firewall.ToTerraformValue(ctx)
	if err != nil || !raw.IsFullyKnown() {
		return nil, false, nil
	}
	var fm firewallModel
	diags.Append(m.Firewall.As(ctx, &fm, basetypes.ObjectAsOptions{})...)
	f = &spec.Firewall{}
	for _, list := range []struct {
		from types.List
		to   *[]spec.FirewallRule
	}{{fm.Inbound, &f.Inbound}, {fm.Outbound, &f.Outbound}, {fm.Mesh, &f.Mesh}} {
		rules, more := rulesFrom(ctx, list.from)
		diags.Append(more...)
		*list.to = rules
	}
	if known(fm.Accept) {
		var accept firewallAcceptModel
		diags.Append(fm.Accept.As(ctx, &accept, basetypes.ObjectAsOptions{})...)
		if blocked := textsOf(accept.Blocked); len(blocked) > 0 {
			f.Accept.Blocked = blocked
		}
	}
	return f, true, diags
}

// rulesFrom returns the rules of a list that is known, nil for one that is null.
func rulesFrom(ctx context.Context, list types.List) ([]spec.FirewallRule, diag.Diagnostics) {
	if list.IsNull() {
		return nil, nil
	}
	var rules []ruleModel
	diags := list.ElementsAs(ctx, &rules, false)
	out := make([]spec.FirewallRule, 0, len(rules))
	for _, r := range rules {
		out = append(out, spec.FirewallRule{
			Protocol: spec.FirewallProtocol(r.Protocol.ValueString()), Ports: textsOf(r.Ports), Peers: textsOf(r.Peers),
		})
	}
	return out, diags
}

// textsOf returns the elements of a set, sorted; nil for a set that is null.
func textsOf(s types.Set) []string {
	if s.IsNull() {
		return nil
	}
	out := []string{}
	for _, e := range s.Elements() {
		if text, ok := e.(types.String); ok {
			out = append(out, text.ValueString())
		}
	}
	slices.Sort(out)
	return out
}

// setFirewall sets the firewall, unless the model says the same in another way.
func (m *Model) setFirewall(ctx context.Context, f *spec.Firewall) {
	if have, whole, diags := m.firewall(ctx); whole && !diags.HasError() && reflect.DeepEqual(have, f) && !m.Firewall.IsUnknown() {
		return
	}
	m.Firewall = FirewallValue(f)
}

// FirewallValue returns a firewall as the argument has it, null for none.
func FirewallValue(f *spec.Firewall) types.Object {
	if f == nil {
		return types.ObjectNull(firewallTypes())
	}
	accept := types.ObjectNull(firewallAcceptTypes())
	if len(f.Accept.Blocked) > 0 {
		accept = types.ObjectValueMust(firewallAcceptTypes(), map[string]attr.Value{"blocked": textSet(f.Accept.Blocked)})
	}
	return types.ObjectValueMust(firewallTypes(), map[string]attr.Value{
		"inbound": rulesValue(f.Inbound), "outbound": rulesValue(f.Outbound), "mesh": rulesValue(f.Mesh), "accept": accept,
	})
}

func rulesValue(rules []spec.FirewallRule) types.List {
	element := types.ObjectType{AttrTypes: ruleTypes()}
	if rules == nil {
		return types.ListNull(element)
	}
	values := make([]attr.Value, len(rules))
	for i, r := range rules {
		values[i] = types.ObjectValueMust(ruleTypes(), map[string]attr.Value{
			"protocol": types.StringValue(string(r.Protocol)), "ports": textSet(r.Ports), "peers": textSet(r.Peers),
		})
	}
	return types.ListValueMust(element, values)
}

// textSet returns a set, null for nil.
func textSet(texts []string) types.Set {
	if texts == nil {
		return types.SetNull(types.StringType)
	}
	values := make([]attr.Value, len(texts))
	for i, text := range texts {
		values[i] = types.StringValue(text)
	}
	return types.SetValueMust(types.StringType, values)
}
