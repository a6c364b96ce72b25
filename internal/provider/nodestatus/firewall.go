package nodestatus

import (
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// firewallAttribute is the node's firewall as atoll_node has it.
func firewallAttribute() schema.SingleNestedAttribute {
	set := func(description string) schema.SetAttribute {
		return schema.SetAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: description}
	}
	rules := func(description string) schema.ListNestedAttribute {
		return schema.ListNestedAttribute{
			Computed: true, MarkdownDescription: description,
			NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
				"protocol": schema.StringAttribute{Computed: true, MarkdownDescription: "`tcp` or `udp`."},
				"ports":    set("Ports and ranges of the side that is connected to; null for all."),
				"peers":    set("Names of nodes, addresses and networks; null for everybody."),
			}},
		}
	}
	return schema.SingleNestedAttribute{
		Computed: true, MarkdownDescription: "What stands between the node and the others and is not Atoll's, as its `atoll_node` says; null where nothing is known.",
		Attributes: map[string]schema.Attribute{
			"inbound":  rules("What it lets in at the node's public addresses; null for everything."),
			"outbound": rules("What it lets out to other nodes' public addresses; null for everything."),
			"mesh":     rules("What it lets in over the mesh; null for everything."),
			"accept": schema.SingleNestedAttribute{
				Computed: true, MarkdownDescription: "What of this is meant to be so.",
				Attributes: map[string]schema.Attribute{"blocked": set("Nodes that it may keep from this one, or this one from them.")},
			},
		},
	}
}
