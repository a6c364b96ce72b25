// Package failureanalysis is the resource atoll_failure_analysis: what of a cluster cannot work, and what hangs on one thing, from the
// configuration alone.
//
// It is a resource although it makes nothing. Terraform reads a data source that is given resources only after these are made, which is
// too late, and gives it nothing while a part is unknown; a resource is planned before anything is made, with all that is known.
package failureanalysis

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// ResourceType is the resource's name in configurations.
const ResourceType = "atoll_failure_analysis"

func text(description string) schema.StringAttribute {
	return schema.StringAttribute{Optional: true, MarkdownDescription: description}
}

func number(description string) schema.Int64Attribute {
	return schema.Int64Attribute{Optional: true, MarkdownDescription: description}
}

func texts(description string) schema.SetAttribute {
	return schema.SetAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: description}
}

func object(description string, attributes map[string]schema.Attribute) schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{Optional: true, MarkdownDescription: description, Attributes: attributes}
}

func nameOf(what string) schema.SingleNestedAttribute {
	return object("The "+what+".", map[string]schema.Attribute{"name": text("Its `name`.")})
}

// resources takes a map of resources. What one of them always has is optional here all the same: the framework calls a required
// attribute missing while a whole resource in the map is unknown.
func resources(description string, attributes map[string]schema.Attribute) schema.MapNestedAttribute {
	return schema.MapNestedAttribute{
		Optional: true, MarkdownDescription: description, NestedObject: schema.NestedAttributeObject{Attributes: attributes},
	}
}

// Schema returns the resource's schema.
func Schema(context.Context) schema.Schema {
	nodes := resources("All nodes of the cluster: a map of `atoll_node`s, such as `atoll_node.web`.", nodeAttributes())
	nodes.Required, nodes.Optional = true, false
	keep := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	return schema.Schema{
		MarkdownDescription: "What of a cluster cannot work, and what hangs on one thing. It goes through the configuration when a plan is made and asks nobody, " +
			"also while nodes are still to be made; what is not known yet counts as if it were well. It makes nothing, and destroying it changes nothing.\n\n" +
			"It finds connections that a firewall (`atoll_node.firewall`) keeps nodes from making to each other, and loses each node, site, provider, link and the edge vendor in turn: " +
			"does the mesh hold together, does each database keep its majority, has each pair a copy left and each hostname a node? " +
			"What cannot work is an error, what hangs on one thing a warning with a remedy. Where that is meant to be so, `accept` says it.\n\n" +
			"What the resources' own plans say already (`atoll_node`, `atoll_load_balancer`, `atoll_replication_pair`) is among `findings`, but not said twice.",
		Attributes: map[string]schema.Attribute{
			"id": schema.StringAttribute{Computed: true, MarkdownDescription: "The cluster's name.", PlanModifiers: keep},
			"cluster": schema.SingleNestedAttribute{
				Required: true, MarkdownDescription: "The cluster: an `atoll_cluster`.",
				Attributes: map[string]schema.Attribute{
					"name": schema.StringAttribute{Required: true, MarkdownDescription: "The cluster's `name`."},
					"mesh": object("The cluster's `mesh`.", map[string]schema.Attribute{"driver": text("Technology."), "port": number("Port.")}),
					"ports": object("The cluster's `ports`.", map[string]schema.Attribute{
						"api": number("Of the agents' API."), "health": number("Of the health endpoint."), "gossip": number("Of gossip."),
						"map": schema.Int64Attribute{Optional: true, MarkdownDescription: "Of the live map."},
					}),
				},
			},
			"nodes": nodes,
			"links": resources("Links of the mesh that have settings: a map of `atoll_mesh_link`s.", map[string]schema.Attribute{
				"from": nameOf("one end"), "to": nameOf("other end"),
				"tcp_only": schema.BoolAttribute{Optional: true, MarkdownDescription: "The link's `tcp_only`."},
			}),
			"databases": resources("The cluster's databases: a map of `atoll_database`s, such as `{ app = atoll_database.app }`.", databaseAttributes()),
			"database_members": resources("Their members: a map of `atoll_database_member`s.", map[string]schema.Attribute{
				"database": nameOf("member's `database`"), "node": nameOf("member's `node`"), "role": text("The member's `role`."),
			}),
			"pairs": resources("Pairs of directory trees: a map of `atoll_replication_pair`s.", map[string]schema.Attribute{
				"name": text("The pair's `name`."),
				"nodes": resources("The pair's `nodes`.", map[string]schema.Attribute{
					"node": object("The node.", map[string]schema.Attribute{"name": text("Its `name`."), "cluster": nameOf("node's `cluster`")}),
					"path": text("The tree's root."),
				}),
			}),
			"load_balancers": resources("Load balancers: a map of `atoll_load_balancer`s.", balancerAttributes()),
			"accept": schema.MapAttribute{
				Optional: true, ElementType: types.SetType{ElemType: types.StringType},
				MarkdownDescription: "What may hang on one thing: by the loss (`node/NAME`, `site/NAME`, `provider/NAME`, `link/A.B` or `edge/cloudflare`), what it may stop " +
					"(`cluster/NAME` for its mesh, `database/NAME`, `pair/NAME`, `loadbalancer/HOSTNAME`), for example `{ \"site/hong-kong\" = [\"database/app\"] }`. Each warning says what to write. " +
					"An entry that accepts nothing is a warning.",
			},
			"findings":                 findingsAttribute(),
			"losses":                   lossesAttribute(),
			"single_points_of_failure": pointsAttribute(),
		},
	}
}

func nodeAttributes() map[string]schema.Attribute {
	rules := func(name string) schema.ListNestedAttribute {
		return schema.ListNestedAttribute{
			Optional: true, MarkdownDescription: "The firewall's `" + name + "`.",
			NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
				"protocol": text("`tcp` or `udp`."), "ports": texts("Ports and ranges."), "peers": texts("Who is on the other side."),
			}},
		}
	}
	return map[string]schema.Attribute{
		"name": text("The node's `name`."), "cluster": nameOf("node's `cluster`"), "mesh_address": text("The node's `mesh_address`."),
		"addresses":      schema.ListAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "The node's `addresses`. Without them it counts as one that can be reached; with an empty list it cannot."},
		"failure_domain": object("The node's `failure_domain`.", map[string]schema.Attribute{"provider": text("Whose machine it is."), "site": text("Where it stands.")}),
		"firewall": object("The node's `firewall`.", map[string]schema.Attribute{
			"inbound": rules("inbound"), "outbound": rules("outbound"), "mesh": rules("mesh"),
			"accept": object("What is accepted of it.", map[string]schema.Attribute{"blocked": texts("Nodes that it may keep apart.")}),
		}),
	}
}

func databaseAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"name": text("The database's `name`."), "engine": text("Its `engine`."), "votes": number("Its `votes`."), "port": number("Its `port`."),
		"router": object("Its `router`.", map[string]schema.Attribute{
			"driver": text("Program."), "write_port": number("Port for writes."), "read_port": number("Port for reads."),
		}),
		"accept": object("Its `accept`, which holds here too.", map[string]schema.Attribute{
			"provider_majority": texts("Providers."), "site_majority": texts("Sites."),
		}),
	}
}

func balancerAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"hostname": text("The load balancer's `hostname`."), "mode": text("Its `mode`."), "port": number("Its `port`."),
		"nodes": resources("Its `nodes`.", map[string]schema.Attribute{"name": text("The node's `name`."), "cluster": nameOf("node's `cluster`")}),
		"node_settings": resources("Its `node_settings`.", map[string]schema.Attribute{
			"enabled": schema.BoolAttribute{Optional: true, MarkdownDescription: "Whether the node gets traffic."},
			"weight":  schema.Float64Attribute{Optional: true, MarkdownDescription: "Its share."},
			"port":    number("Port of the application on it."),
		}),
		"quick_removal": object("Its `quick_removal`.", map[string]schema.Attribute{"api_token_version": number("Version of the token.")}),
		"local_proxy": object("Its `local_proxy`.", map[string]schema.Attribute{
			"driver": text("Program."), "port": number("Port of plain HTTP."), "tls": object("HTTPS.", map[string]schema.Attribute{"port": number("Port.")}),
		}),
	}
}

func findingsAttribute() schema.ListNestedAttribute {
	said := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	list := func(description string) schema.ListAttribute {
		return schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: description}
	}
	return schema.ListNestedAttribute{
		Computed: true, MarkdownDescription: "Everything that was found, errors first, also what is accepted. Where a loss stops something that a smaller one stops too, only the smaller is here.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"severity": said("`error` (it cannot work) or `warning` (it hangs on one thing)."),
			"problem": said("`blocked`, `unknown-peer` and `no-link` (who cannot connect to whom), `apart` (the mesh falls into parts), `no-node`, `no-quorum`, `no-copy`, " +
				"`no-way` (changes of a tree do not get from one node to another), `no-server` or `no-edge`."),
			"losses":   list("What brings it about, such as `site/hong-kong`; several are the same nodes by several names, none is needed where it is so as it stands."),
			"affected": list("What does not work then, such as `database/app`; `cluster/NAME` is its mesh."),
			"nodes":    list("The nodes that it is about."),
			"message":  said("What happens."),
			"remedy":   said("What to do."),
			"accept":   said("What to write where it is meant to be so; empty where nothing can be accepted."),
			"accepted": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether somebody has accepted it."},
		}},
	}
}

func lossesAttribute() schema.MapAttribute {
	return schema.MapAttribute{
		Computed: true, ElementType: types.ListType{ElemType: types.StringType},
		MarkdownDescription: "What each loss stops that stops anything, by the loss: the whole picture, accepted or not, what smaller losses stop included.",
	}
}

func pointsAttribute() schema.ListAttribute {
	return schema.ListAttribute{
		Computed: true, ElementType: types.StringType,
		MarkdownDescription: "The losses that stop something that nobody has accepted, such as `provider/linode`, the smallest of each, in alphabetical order. Empty where nothing hangs on one thing.",
	}
}
