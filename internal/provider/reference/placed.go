package reference

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"
)

// PlacedNode is what is taken of a node where it matters what fails together with it.
type PlacedNode struct {
	Cluster       types.Object `tfsdk:"cluster"`
	Name          types.String `tfsdk:"name"`
	Endpoints     types.List   `tfsdk:"endpoints"`
	Identity      types.String `tfsdk:"identity"`
	FailureDomain types.Object `tfsdk:"failure_domain"`
}

// Domain is what fails together with a node.
type Domain struct {
	Provider types.String `tfsdk:"provider"`
	Site     types.String `tfsdk:"site"`
}

// DomainTypes returns the attribute types of Domain.
func DomainTypes() map[string]attr.Type {
	return map[string]attr.Type{"provider": types.StringType, "site": types.StringType}
}

// PlacedNodeTypes returns the attribute types of PlacedNode.
func PlacedNodeTypes() map[string]attr.Type {
	out := NodeTypes()
	out["failure_domain"] = types.ObjectType{AttrTypes: DomainTypes()}
	return out
}

// PlacedNodeAttribute returns the schema of an argument that takes an atoll_node with its failure domain. Another node means
// another resource.
func PlacedNodeAttribute(description string) schema.SingleNestedAttribute {
	out := NodeAttribute(description)
	out.Attributes["failure_domain"] = schema.SingleNestedAttribute{
		Optional: true, MarkdownDescription: "The node's `failure_domain`.",
		Attributes: map[string]schema.Attribute{
			"provider": schema.StringAttribute{Optional: true, MarkdownDescription: "Whose machine it is."},
			"site":     schema.StringAttribute{Optional: true, MarkdownDescription: "Where it stands."},
		},
	}
	return out
}

// PlacedNodeFrom reads the reference. Values inside may be unknown; ok is false when the whole object is.
func PlacedNodeFrom(ctx context.Context, o types.Object) (n PlacedNode, ok bool, diags diag.Diagnostics) {
	if o.IsUnknown() || o.IsNull() {
		return PlacedNode{}, false, nil
	}
	diags = o.As(ctx, &n, basetypes.ObjectAsOptions{})
	return n, !diags.HasError(), diags
}

// ClusterName returns the name of the node's cluster, unknown or null where that is.
func (n PlacedNode) ClusterName(ctx context.Context) (types.String, diag.Diagnostics) {
	return NameOf(ctx, n.Cluster)
}

// Addresses returns the endpoints, nil while they are unknown.
func (n PlacedNode) Addresses(ctx context.Context) ([]string, diag.Diagnostics) {
	return Strings(ctx, n.Endpoints)
}

// Domain returns the failure domain, with empty values where it is not known.
func (n PlacedNode) Domain(ctx context.Context) (Domain, diag.Diagnostics) {
	var d Domain
	if n.FailureDomain.IsUnknown() || n.FailureDomain.IsNull() {
		return d, nil
	}
	diags := n.FailureDomain.As(ctx, &d, basetypes.ObjectAsOptions{})
	return d, diags
}

// PlacedNodeValue returns the reference to a node, as Terraform makes it of atoll_node.
func PlacedNodeValue(cluster, name string, endpoints []string, identity, provider, site string) types.Object {
	values := NodeValue(cluster, name, endpoints, identity).Attributes()
	values["failure_domain"] = types.ObjectValueMust(DomainTypes(), map[string]attr.Value{
		"provider": types.StringValue(provider), "site": types.StringValue(site),
	})
	return types.ObjectValueMust(PlacedNodeTypes(), values)
}

// NameOf returns the name inside an object such as a node's cluster, unknown where the object is.
func NameOf(ctx context.Context, o types.Object) (types.String, diag.Diagnostics) {
	switch {
	case o.IsUnknown():
		return types.StringUnknown(), nil
	case o.IsNull():
		return types.StringNull(), nil
	}
	var n Named
	diags := o.As(ctx, &n, basetypes.ObjectAsOptions{})
	return n.Name, diags
}

// NamedValue returns an object with a name.
func NamedValue(name string) types.Object {
	return types.ObjectValueMust(NamedTypes(), map[string]attr.Value{"name": types.StringValue(name)})
}

// NamedAttribute returns the schema of an argument that takes a resource of which only the name counts.
func NamedAttribute(description, name string, required bool) schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Required: required, Optional: !required, MarkdownDescription: description,
		Attributes: map[string]schema.Attribute{"name": schema.StringAttribute{Required: true, MarkdownDescription: name}},
	}
}
