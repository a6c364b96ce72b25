package reference

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Cluster is what a node takes of its cluster.
type Cluster struct {
	Name     types.String `tfsdk:"name"`
	MeshCIDR types.String `tfsdk:"mesh_cidr"`
	Ports    types.Object `tfsdk:"ports"`
	// SignedObject is the cluster object in its signed form, an envelope in JSON. It is public.
	SignedObject types.String `tfsdk:"signed_object"`
}

// Ports are the ports of a cluster that others need to reach its nodes.
type Ports struct {
	API    types.Int64 `tfsdk:"api"`
	Health types.Int64 `tfsdk:"health"`
}

// ClusterTypes returns the attribute types of Cluster.
func ClusterTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"name":          types.StringType,
		"mesh_cidr":     types.StringType,
		"ports":         types.ObjectType{AttrTypes: PortTypes()},
		"signed_object": types.StringType,
	}
}

// PortTypes returns the attribute types of Ports.
func PortTypes() map[string]attr.Type {
	return map[string]attr.Type{"api": types.Int64Type, "health": types.Int64Type}
}

// ClusterAttribute returns the schema of an argument that takes an atoll_cluster. Another cluster means another resource.
func ClusterAttribute(description string) schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Required:            true,
		MarkdownDescription: description,
		Attributes: map[string]schema.Attribute{
			"name": schema.StringAttribute{
				Required: true, MarkdownDescription: "The cluster's `name`.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
			},
			"mesh_cidr": schema.StringAttribute{Required: true, MarkdownDescription: "The cluster's `mesh_cidr`."},
			"ports": schema.SingleNestedAttribute{
				Required: true, MarkdownDescription: "The cluster's `ports`.",
				Attributes: map[string]schema.Attribute{
					"api":    schema.Int64Attribute{Required: true, MarkdownDescription: "Port of the agents' API."},
					"health": schema.Int64Attribute{Required: true, MarkdownDescription: "Port of the agents' health endpoint."},
				},
			},
			"signed_object": schema.StringAttribute{Required: true, MarkdownDescription: "The cluster's `signed_object`."},
		},
	}
}

// ClusterFrom reads the reference. Values inside may be unknown; ok is false when the whole object is.
func ClusterFrom(ctx context.Context, o types.Object) (c Cluster, ok bool, diags diag.Diagnostics) {
	if o.IsUnknown() || o.IsNull() {
		return Cluster{}, false, nil
	}
	diags = o.As(ctx, &c, basetypes.ObjectAsOptions{})
	return c, !diags.HasError(), diags
}

// PortsFrom reads the ports, zero where they are unknown.
func (c Cluster) PortsFrom(ctx context.Context) (api, health int, diags diag.Diagnostics) {
	if c.Ports.IsUnknown() || c.Ports.IsNull() {
		return 0, 0, nil
	}
	var p Ports
	diags = c.Ports.As(ctx, &p, basetypes.ObjectAsOptions{})
	return int(p.API.ValueInt64()), int(p.Health.ValueInt64()), diags
}

// Signed is a cluster object that the operator has signed.
type Signed struct {
	Envelope trust.Envelope
	Object   spec.Object
	Cluster  spec.Cluster
}

// Verify returns the reference's signed object after checking it against root. The diagnostics are on at.
func (c Cluster) Verify(root trust.Root, at path.Path) (Signed, diag.Diagnostics) {
	var diags diag.Diagnostics
	s, err := OpenSigned(root, c.SignedObject.ValueString())
	if err != nil {
		diags.AddAttributeError(at.AtName("signed_object"), "Cluster object",
			fmt.Sprintf("The cluster object of %q cannot be used: %v.\n\nThe provider's signing key must be the one that the cluster was made with.", c.Name.ValueString(), err))
	}
	return s, diags
}

// OpenSigned reads and verifies a cluster object in its signed form.
func OpenSigned(root trust.Root, text string) (Signed, error) {
	var s Signed
	if err := json.Unmarshal([]byte(text), &s.Envelope); err != nil {
		return s, fmt.Errorf("read signed object: %w", err)
	}
	var err error
	if s.Object, err = root.VerifyObject(s.Envelope); err != nil {
		return s, err
	}
	body, err := s.Object.Decode()
	if err != nil {
		return s, err
	}
	cluster, ok := body.(spec.Cluster)
	if !ok {
		return s, fmt.Errorf("signed object is a %s, not a cluster", s.Object.Kind)
	}
	s.Cluster = cluster
	return s, nil
}

// EncodeSigned returns the signed form of an object as it is kept in state.
func EncodeSigned(e trust.Envelope) (string, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encode signed object: %w", err)
	}
	return string(text), nil
}

// ClusterValue returns the reference to a cluster object, as Terraform makes it of atoll_cluster.
func ClusterValue(s Signed) (types.Object, diag.Diagnostics) {
	var diags diag.Diagnostics
	text, err := EncodeSigned(s.Envelope)
	if err != nil {
		diags.AddError("Cluster object", err.Error())
		return types.ObjectNull(ClusterTypes()), diags
	}
	ports := types.ObjectValueMust(PortTypes(), map[string]attr.Value{
		"api":    types.Int64Value(int64(s.Cluster.Ports.API)),
		"health": types.Int64Value(int64(s.Cluster.Ports.Health)),
	})
	return types.ObjectValue(ClusterTypes(), map[string]attr.Value{
		"name":          types.StringValue(s.Object.Cluster),
		"mesh_cidr":     types.StringValue(s.Cluster.MeshCIDR.String()),
		"ports":         ports,
		"signed_object": types.StringValue(text),
	})
}
