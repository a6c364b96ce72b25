package reference

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	datasource "github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"
)

// Named is what a node reference holds of the node's cluster.
type Named struct {
	Name types.String `tfsdk:"name"`
}

// Node is what a link or a data source takes of a node.
type Node struct {
	Cluster   Named        `tfsdk:"cluster"`
	Name      types.String `tfsdk:"name"`
	Endpoints types.List   `tfsdk:"endpoints"`
	// Identity changes when the node is made again, which lets its dependents notice.
	Identity types.String `tfsdk:"identity"`
}

// NamedTypes returns the attribute types of Named.
func NamedTypes() map[string]attr.Type { return map[string]attr.Type{"name": types.StringType} }

// NodeTypes returns the attribute types of Node.
func NodeTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"cluster":   types.ObjectType{AttrTypes: NamedTypes()},
		"name":      types.StringType,
		"endpoints": types.ListType{ElemType: types.StringType},
		"identity":  types.StringType,
	}
}

// NodeAttribute returns the schema of an argument that takes an atoll_node. Another node means another resource.
func NodeAttribute(description string) schema.SingleNestedAttribute {
	return nodeAttribute(description, []planmodifier.String{stringplanmodifier.RequiresReplace()})
}

// ChangingNodeAttribute is NodeAttribute for a resource that may go over to another node.
func ChangingNodeAttribute(description string) schema.SingleNestedAttribute {
	return nodeAttribute(description, nil)
}

func nodeAttribute(description string, replace []planmodifier.String) schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Required:            true,
		MarkdownDescription: description,
		Attributes: map[string]schema.Attribute{
			"cluster": schema.SingleNestedAttribute{
				Required: true, MarkdownDescription: "The node's `cluster`.",
				Attributes: map[string]schema.Attribute{
					"name": schema.StringAttribute{Required: true, MarkdownDescription: "The cluster's `name`.", PlanModifiers: replace},
				},
			},
			"name": schema.StringAttribute{Required: true, MarkdownDescription: "The node's `name`.", PlanModifiers: replace},
			"endpoints": schema.ListAttribute{
				Required: true, ElementType: types.StringType, MarkdownDescription: "The node's `endpoints`.",
			},
			"identity": schema.StringAttribute{Optional: true, MarkdownDescription: "The node's `identity`."},
		},
	}
}

// NodesDataAttribute returns the schema of a data source's argument that takes a map of nodes. What a node always has is
// optional here all the same: the framework calls a required attribute missing while a whole node in the map is unknown.
func NodesDataAttribute(description string) datasource.MapNestedAttribute {
	text := func(description string) datasource.StringAttribute {
		return datasource.StringAttribute{Optional: true, MarkdownDescription: description}
	}
	return datasource.MapNestedAttribute{
		Required:            true,
		MarkdownDescription: description,
		NestedObject: datasource.NestedAttributeObject{Attributes: map[string]datasource.Attribute{
			"cluster": datasource.SingleNestedAttribute{
				Optional: true, MarkdownDescription: "The node's `cluster`.",
				Attributes: map[string]datasource.Attribute{"name": text("The cluster's `name`.")},
			},
			"name":      text("The node's `name`."),
			"endpoints": datasource.ListAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "The node's `endpoints`."},
			"identity":  text("The node's `identity`."),
		}},
	}
}

// ClusterNameDataAttribute returns the schema of a data source's argument that takes an atoll_cluster.
func ClusterNameDataAttribute(description string) datasource.SingleNestedAttribute {
	return datasource.SingleNestedAttribute{
		Required: true, MarkdownDescription: description,
		Attributes: map[string]datasource.Attribute{
			"name": datasource.StringAttribute{Required: true, MarkdownDescription: "The cluster's `name`."},
		},
	}
}

// NodeFrom reads the reference. Values inside may be unknown; ok is false when the whole object or its cluster is.
func NodeFrom(ctx context.Context, o types.Object) (n Node, ok bool, diags diag.Diagnostics) {
	if o.IsUnknown() || o.IsNull() {
		return Node{}, false, nil
	}
	if c, found := o.Attributes()["cluster"]; !found || c.IsUnknown() || c.IsNull() {
		return Node{}, false, nil
	}
	diags = o.As(ctx, &n, basetypes.ObjectAsOptions{})
	return n, !diags.HasError(), diags
}

// Addresses returns the endpoints, nil while they are unknown.
func (n Node) Addresses(ctx context.Context) ([]string, diag.Diagnostics) {
	return Strings(ctx, n.Endpoints)
}

// NodeValue returns the reference to a node, as Terraform makes it of atoll_node.
func NodeValue(cluster, name string, endpoints []string, identity string) types.Object {
	pin := types.StringNull()
	if identity != "" {
		pin = types.StringValue(identity)
	}
	return types.ObjectValueMust(NodeTypes(), map[string]attr.Value{
		"cluster":   types.ObjectValueMust(NamedTypes(), map[string]attr.Value{"name": types.StringValue(cluster)}),
		"name":      types.StringValue(name),
		"endpoints": StringList(endpoints),
		"identity":  pin,
	})
}

// Strings returns the list's elements, nil while the list or one of them is unknown.
func Strings(ctx context.Context, l types.List) ([]string, diag.Diagnostics) {
	if l.IsNull() || l.IsUnknown() {
		return nil, nil
	}
	for _, e := range l.Elements() {
		if e.IsUnknown() {
			return nil, nil
		}
	}
	out := []string{}
	diags := l.ElementsAs(ctx, &out, false)
	return out, diags
}

// StringList returns a known list of the strings.
func StringList(in []string) types.List {
	out := make([]attr.Value, len(in))
	for i, s := range in {
		out[i] = types.StringValue(s)
	}
	return types.ListValueMust(types.StringType, out)
}
