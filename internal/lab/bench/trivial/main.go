// Command trivial is the yardstick of the plan benchmark: a provider in the shape of HashiCorp's scaffolding, with one
// resource that has as many attributes as a node and does nothing at all. What a plan of it costs is the price of
// Terraform, the plugin protocol and the framework, which no provider can go below.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/listdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

func main() {
	err := providerserver.Serve(context.Background(), func() provider.Provider { return trivial{} }, providerserver.ServeOpts{
		Address: "registry.terraform.io/atollhq/trivial",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "serve the provider:", err)
		os.Exit(1)
	}
}

type trivial struct{}

func (trivial) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = "trivial"
}
func (trivial) Schema(context.Context, provider.SchemaRequest, *provider.SchemaResponse)          {}
func (trivial) Configure(context.Context, provider.ConfigureRequest, *provider.ConfigureResponse) {}
func (trivial) DataSources(context.Context) []func() datasource.DataSource                        { return nil }

func (trivial) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{func() resource.Resource { return thing{} }}
}

type model struct {
	ID          types.String `tfsdk:"id"`
	Name        types.String `tfsdk:"name"`
	Parent      types.Object `tfsdk:"parent"`
	To          types.Object `tfsdk:"to"`
	Provider    types.String `tfsdk:"provider_name"`
	Site        types.String `tfsdk:"site"`
	Size        types.Int64  `tfsdk:"size"`
	Comment     types.String `tfsdk:"comment"`
	Address     types.String `tfsdk:"address"`
	Identity    types.String `tfsdk:"identity"`
	Fingerprint types.String `tfsdk:"fingerprint"`
	Generation  types.Int64  `tfsdk:"generation"`
	Addresses   types.List   `tfsdk:"addresses"`
}

type thing struct{}

func (thing) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = "trivial_thing"
}

func (thing) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	keep := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	reference := schema.SingleNestedAttribute{Optional: true, Attributes: map[string]schema.Attribute{
		"id":   schema.StringAttribute{Required: true},
		"name": schema.StringAttribute{Required: true},
	}}
	computed := schema.StringAttribute{Computed: true, PlanModifiers: keep}
	resp.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id":            computed,
		"name":          schema.StringAttribute{Required: true},
		"parent":        reference,
		"to":            reference,
		"provider_name": schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString("none")},
		"site":          schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString("none")},
		"size":          schema.Int64Attribute{Optional: true, Computed: true, Default: int64default.StaticInt64(1)},
		"comment":       schema.StringAttribute{Optional: true},
		"address":       computed,
		"identity":      computed,
		"fingerprint":   computed,
		"generation":    schema.Int64Attribute{Computed: true, Default: int64default.StaticInt64(1)},
		"addresses": schema.ListAttribute{
			Computed: true, ElementType: types.StringType,
			Default: listdefault.StaticValue(types.ListValueMust(types.StringType, []attr.Value{types.StringValue("192.0.2.1")})),
		},
	}}
}

func (thing) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var m model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	id := "thing-" + m.Name.ValueString()
	for _, computed := range []*types.String{&m.ID, &m.Address, &m.Identity, &m.Fingerprint} {
		*computed = types.StringValue(id)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

func (thing) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var m model
	resp.Diagnostics.Append(req.State.Get(ctx, &m)...)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

func (thing) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var m model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

func (thing) Delete(context.Context, resource.DeleteRequest, *resource.DeleteResponse) {}
