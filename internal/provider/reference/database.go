package reference

import (
	"context"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Database is what a member takes of its database. Values inside may be unknown.
type Database struct {
	Cluster          types.Object `tfsdk:"cluster"`
	Name             types.String `tfsdk:"name"`
	Group            types.String `tfsdk:"group"`
	Votes            types.Int64  `tfsdk:"votes"`
	Port             types.Int64  `tfsdk:"port"`
	PreferredPrimary types.Object `tfsdk:"preferred_primary"`
	Router           types.Object `tfsdk:"router"`
	Accept           types.Object `tfsdk:"accept"`
	// Revision changes with everything that members have to put into effect.
	Revision types.String `tfsdk:"revision"`
}

// RouterPorts are the ports of a database's router.
type RouterPorts struct {
	WritePort types.Int64 `tfsdk:"write_port"`
	ReadPort  types.Int64 `tfsdk:"read_port"`
}

// Accept is what the operator has accepted of where members are.
type Accept struct {
	ProviderMajority types.Set `tfsdk:"provider_majority"`
	SiteMajority     types.Set `tfsdk:"site_majority"`
}

// RouterPortTypes returns the attribute types of RouterPorts.
func RouterPortTypes() map[string]attr.Type {
	return map[string]attr.Type{"write_port": types.Int64Type, "read_port": types.Int64Type}
}

// AcceptTypes returns the attribute types of Accept.
func AcceptTypes() map[string]attr.Type {
	set := types.SetType{ElemType: types.StringType}
	return map[string]attr.Type{"provider_majority": set, "site_majority": set}
}

// DatabaseTypes returns the attribute types of Database.
func DatabaseTypes() map[string]attr.Type {
	named := types.ObjectType{AttrTypes: NamedTypes()}
	return map[string]attr.Type{
		"cluster": named, "name": types.StringType, "group": types.StringType, "votes": types.Int64Type, "port": types.Int64Type,
		"preferred_primary": named, "router": types.ObjectType{AttrTypes: RouterPortTypes()},
		"accept": types.ObjectType{AttrTypes: AcceptTypes()}, "revision": types.StringType,
	}
}

// DatabaseAttribute returns the schema of an argument that takes an atoll_database. Another database means another resource.
func DatabaseAttribute(description string) schema.SingleNestedAttribute {
	replace := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	number := func(description string) schema.Int64Attribute {
		return schema.Int64Attribute{Optional: true, MarkdownDescription: description}
	}
	set := func(description string) schema.SetAttribute {
		return schema.SetAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: description}
	}
	return schema.SingleNestedAttribute{
		Required:            true,
		MarkdownDescription: description,
		Attributes: map[string]schema.Attribute{
			"cluster": schema.SingleNestedAttribute{
				Required: true, MarkdownDescription: "The database's `cluster`.",
				Attributes: map[string]schema.Attribute{
					"name": schema.StringAttribute{Required: true, MarkdownDescription: "The cluster's `name`.", PlanModifiers: replace},
				},
			},
			"name":              schema.StringAttribute{Required: true, MarkdownDescription: "The database's `name`.", PlanModifiers: replace},
			"group":             schema.StringAttribute{Required: true, MarkdownDescription: "The database's `group`.", PlanModifiers: replace},
			"votes":             number("The database's `votes`."),
			"port":              number("The database's `port`."),
			"preferred_primary": NamedAttribute("The database's `preferred_primary`.", "The node's `name`.", false),
			"router": schema.SingleNestedAttribute{
				Optional: true, MarkdownDescription: "The database's `router`.",
				Attributes: map[string]schema.Attribute{
					"write_port": number("Port for writes."), "read_port": number("Port for reads."),
				},
			},
			"accept": schema.SingleNestedAttribute{
				Optional: true, MarkdownDescription: "The database's `accept`.",
				Attributes: map[string]schema.Attribute{
					"provider_majority": set("Providers that may have a majority."), "site_majority": set("Sites that may have a majority."),
				},
			},
			"revision": schema.StringAttribute{Optional: true, MarkdownDescription: "The database's `revision`."},
		},
	}
}

// DatabaseFrom reads the reference. Values inside may be unknown; ok is false when the whole object is.
func DatabaseFrom(ctx context.Context, o types.Object) (d Database, ok bool, diags diag.Diagnostics) {
	if o.IsUnknown() || o.IsNull() {
		return Database{}, false, nil
	}
	diags = o.As(ctx, &d, basetypes.ObjectAsOptions{})
	return d, !diags.HasError(), diags
}

// DatabaseValue returns the reference to a database, as Terraform makes it of atoll_database.
func DatabaseValue(cluster, name string, d spec.Database, revision string) types.Object {
	number := func(n int) attr.Value { return types.Int64Value(int64(n)) }
	return types.ObjectValueMust(DatabaseTypes(), map[string]attr.Value{
		"cluster": NamedValue(cluster), "name": types.StringValue(name), "group": types.StringValue(d.Group), "votes": number(d.Votes), "port": number(d.Port),
		"preferred_primary": NamedValue(d.Bootstrap.Node),
		"router": types.ObjectValueMust(RouterPortTypes(), map[string]attr.Value{
			"write_port": number(d.Router.WritePort), "read_port": number(d.Router.ReadPort),
		}),
		"accept": AcceptValue(d.Accept), "revision": types.StringValue(revision),
	})
}

// AcceptValue returns what is accepted as a configuration has it: null for nothing.
func AcceptValue(a spec.Accepted) types.Object {
	if len(a.Providers) == 0 && len(a.Sites) == 0 {
		return types.ObjectNull(AcceptTypes())
	}
	return types.ObjectValueMust(AcceptTypes(), map[string]attr.Value{
		"provider_majority": StringSetOrNull(a.Providers), "site_majority": StringSetOrNull(a.Sites),
	})
}

// StringSetOrNull returns a known set of the strings, null for none.
func StringSetOrNull(in []string) types.Set {
	if len(in) == 0 {
		return types.SetNull(types.StringType)
	}
	return types.SetValueMust(types.StringType, StringList(in).Elements())
}

// SetStrings returns the set's known elements, sorted, and whether all of them are known.
func SetStrings(s types.Set) (out []string, complete bool) {
	complete = !s.IsUnknown()
	for _, e := range s.Elements() {
		text, ok := e.(types.String)
		switch {
		case !ok || text.IsNull():
		case text.IsUnknown():
			complete = false
		default:
			out = append(out, text.ValueString())
		}
	}
	slices.Sort(out)
	return out, complete
}

// Accepted returns what is accepted, and whether all of it is known.
func Accepted(ctx context.Context, o types.Object) (accepted spec.Accepted, complete bool, diags diag.Diagnostics) {
	if o.IsUnknown() || o.IsNull() {
		return accepted, !o.IsUnknown(), nil
	}
	var a Accept
	diags = o.As(ctx, &a, basetypes.ObjectAsOptions{})
	var whole bool
	accepted.Providers, complete = SetStrings(a.ProviderMajority)
	accepted.Sites, whole = SetStrings(a.SiteMajority)
	return accepted, complete && whole, diags
}
