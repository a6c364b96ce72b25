// Package cluster is the resource atoll_cluster: what holds for every node, signed. It does no network I/O; nodes carry the
// signed object to their agents.
package cluster

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/objectdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ResourceType is the resource's name in configurations.
const ResourceType = "atoll_cluster"

// Schema returns the resource's schema.
func Schema(context.Context) schema.Schema {
	replace := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	return schema.Schema{
		MarkdownDescription: "A cluster: one trust domain with one private mesh network. " +
			"It is signed with the provider's signing key and carried to every agent by the `atoll_node` resources that refer to it; " +
			"a change shows as an in-place update of all of them. Destroying the cluster only forgets it: it ends with its last node.",
		Attributes: map[string]schema.Attribute{
			"id": schema.StringAttribute{
				Computed: true, MarkdownDescription: "The cluster's name.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()},
			},
			"name": schema.StringAttribute{
				Required: true, PlanModifiers: replace,
				MarkdownDescription: fmt.Sprintf("Name of the cluster: lower-case letters, digits and inner hyphens, at most %d characters.", spec.MaxNameLength),
			},
			"mesh_cidr": schema.StringAttribute{
				Required: true, PlanModifiers: replace,
				MarkdownDescription: fmt.Sprintf("Private IPv4 network of the mesh, from /%d to /%d, for example `10.66.0.0/16`. "+
					"Each node gets an address in it. Changing it means a new cluster with new nodes, since every address changes.",
					spec.MinMeshPrefixBits, spec.MaxMeshPrefixBits),
			},
			"mesh":  meshAttribute(),
			"ports": portsAttribute(),
			"seeds": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				MarkdownDescription: "Endpoints (`host:port` of an agent's API) that a joining node may ask for the others. " +
					"Only needed when a node is to find a cluster that neither its links nor the other nodes of the same run introduce it to.",
			},
			"public_key": schema.StringAttribute{
				Computed: true, MarkdownDescription: "Public half of the signing key that the cluster trusts.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()},
			},
			"signed_object": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The cluster as it was signed, a DSSE envelope in JSON. It holds nothing secret.",
			},
		},
	}
}

func meshAttribute() schema.SingleNestedAttribute {
	m, t := spec.DefaultMesh(), spec.DefaultTinc()
	var drivers []string
	for _, d := range spec.MeshDrivers() {
		drivers = append(drivers, string(d))
	}
	return schema.SingleNestedAttribute{
		Optional: true, Computed: true,
		MarkdownDescription: "How the nodes are joined to a private network.",
		Default:             objectdefault.StaticValue(meshValue(m)),
		Attributes: map[string]schema.Attribute{
			"driver": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(m.Driver)),
				MarkdownDescription: "Technology of the mesh, one of `" + strings.Join(drivers, "`, `") + "`. It cannot change once the cluster is there. " +
					"`tinc` also works over TCP; `wireguard` is several times as fast, and leaves dead and lossy links sooner.",
				Validators: []validator.String{stringvalidator.OneOf(drivers...)},
			},
			"port": portAttribute(m.Port, "Public port of the mesh: UDP, and for tinc TCP too."),
			"key_generation": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(int64(m.Generation())),
				Validators: []validator.Int64{int64validator.AtLeast(1)},
				MarkdownDescription: fmt.Sprintf("Raise it to have every node replace its key of the mesh, one node after another, while the mesh runs on; any greater number will do, "+
					"so a date in digits (`20261122`) does as well. It cannot go down. An apply does not wait until all have done so: "+
					"`atoll status` tells which nodes still have keys of an older generation, and what they wait for. Default %d.", m.Generation()),
			},
			"tinc": schema.SingleNestedAttribute{
				Optional: true, Computed: true,
				MarkdownDescription: "Timers of driver `tinc`, in seconds, of no meaning with another. The defaults leave a dead link after one to three seconds; tinc's own take up to a minute.",
				Default:             objectdefault.StaticValue(tincValue(t)),
				Attributes: map[string]schema.Attribute{
					"ping_interval": portAttribute(t.PingInterval, "Pause between two probes of a peer."),
					"ping_timeout":  portAttribute(t.PingTimeout, "How long a peer may take to answer; at most `ping_interval`."),
					"max_timeout":   portAttribute(t.MaxTimeout, "Longest pause between two attempts to reach a peer."),
				},
			},
		},
	}
}

func portsAttribute() schema.SingleNestedAttribute {
	p := spec.DefaultPorts()
	return schema.SingleNestedAttribute{
		Optional: true, Computed: true,
		MarkdownDescription: "Ports that every agent listens on.",
		Default:             objectdefault.StaticValue(portsValue(p)),
		Attributes: map[string]schema.Attribute{
			"api":    portAttribute(p.API, "The agents' API (TCP, TLS with pinned keys), on public addresses."),
			"health": portAttribute(p.Health, "The health endpoint (TCP, HTTP), on public addresses."),
			"gossip": portAttribute(p.Gossip, "Gossip (TCP and UDP), on mesh addresses only."),
			"map": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.Between(1, 65535)},
				MarkdownDescription: "The live map (TCP, HTTP), on mesh addresses only: a page that shows how the cluster is, to every program on a node, without a login. " +
					"It changes nothing. Not served unless a port is named, such as 7470.",
			},
		},
	}
}

// portAttribute is a number with a default; its range is spec's to check.
func portAttribute(value int, description string) schema.Int64Attribute {
	return schema.Int64Attribute{
		Optional: true, Computed: true, Default: int64default.StaticInt64(int64(value)),
		MarkdownDescription: fmt.Sprintf("%s Default %d.", description, value),
	}
}

func portTypes() map[string]attr.Type {
	return map[string]attr.Type{"api": types.Int64Type, "health": types.Int64Type, "gossip": types.Int64Type, "map": types.Int64Type}
}

func tincTypes() map[string]attr.Type {
	return map[string]attr.Type{"ping_interval": types.Int64Type, "ping_timeout": types.Int64Type, "max_timeout": types.Int64Type}
}

func meshTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"driver": types.StringType, "port": types.Int64Type, "key_generation": types.Int64Type, "tinc": types.ObjectType{AttrTypes: tincTypes()},
	}
}

func number(n int) attr.Value { return types.Int64Value(int64(n)) }

func portsValue(p spec.Ports) types.Object {
	livePage := types.Int64Null()
	if p.Map != 0 {
		livePage = types.Int64Value(int64(p.Map))
	}
	return types.ObjectValueMust(portTypes(), map[string]attr.Value{
		"api": number(p.API), "health": number(p.Health), "gossip": number(p.Gossip), "map": livePage,
	})
}

func tincValue(t spec.Tinc) types.Object {
	return types.ObjectValueMust(tincTypes(), map[string]attr.Value{
		"ping_interval": number(t.PingInterval), "ping_timeout": number(t.PingTimeout), "max_timeout": number(t.MaxTimeout),
	})
}

func meshValue(m spec.Mesh) types.Object {
	return types.ObjectValueMust(meshTypes(), map[string]attr.Value{
		"driver": types.StringValue(string(m.Driver)), "port": number(m.Port), "key_generation": number(m.Generation()), "tinc": tincValue(m.TincOrDefault()),
	})
}

var (
	_ resource.Resource                   = (*Resource)(nil)
	_ resource.ResourceWithConfigure      = (*Resource)(nil)
	_ resource.ResourceWithImportState    = (*Resource)(nil)
	_ resource.ResourceWithModifyPlan     = (*Resource)(nil)
	_ resource.ResourceWithValidateConfig = (*Resource)(nil)
)
