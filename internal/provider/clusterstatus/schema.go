// Package clusterstatus is the data source atoll_cluster_status: how a cluster is, as one of its nodes sees it.
package clusterstatus

import (
	"context"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// DataSourceType is the data source's name in configurations.
const DataSourceType = "atoll_cluster_status"

// Schema returns the data source's schema.
func Schema(context.Context) schema.Schema {
	text := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	direction := func(description string) schema.SingleNestedAttribute {
		return schema.SingleNestedAttribute{
			Computed: true, MarkdownDescription: description,
			Attributes: map[string]schema.Attribute{
				"state":  text("`up-direct`, `up-indirect`, `down` or `unknown`."),
				"via":    text("The node that traffic goes by when it is not direct."),
				"since":  text("Since when, RFC 3339."),
				"rtt_ms": schema.Float64Attribute{Computed: true, MarkdownDescription: "Round-trip time in milliseconds; 0 when unknown."},
				"loss":   schema.Float64Attribute{Computed: true, MarkdownDescription: "Share of lost probes, from 0 to 1."},
				"measured": schema.SingleNestedAttribute{
					Computed: true,
					MarkdownDescription: "How packets fare in this direction between the public addresses, whatever way the mesh takes; null where that is not measured. " +
						"The figures before it are those of the mesh.",
					Attributes: map[string]schema.Attribute{
						"silent": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether nothing arrives."},
						"loss":   schema.Float64Attribute{Computed: true, MarkdownDescription: "Share of lost packets, from 0 to 1, of the last 100 or so."},
						"rtt_ms": schema.Float64Attribute{Computed: true, MarkdownDescription: "Round-trip time in milliseconds; null when unknown."},
						"mtu":    schema.Int64Attribute{Computed: true, MarkdownDescription: "Size of the largest packet that arrived lately, in bytes with its IP header; null when none of the large ones did."},
					},
				},
			},
		}
	}
	return schema.Schema{
		MarkdownDescription: "How a cluster is, as the first of the given nodes that answers sees it. " +
			"When none answers that is a warning and `healthy` is false, so that a plan that mends the cluster still works.",
		Attributes: map[string]schema.Attribute{
			"cluster": reference.ClusterNameDataAttribute("The cluster: an `atoll_cluster`."),
			"nodes":   reference.NodesDataAttribute("The nodes to ask: `atoll_node` resources by name, for example all of a `for_each`."),
			"healthy": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether nothing is wrong."},
			"seen_by": text("The node that answered; null when none did."),
			"reasons": schema.ListAttribute{
				Computed: true, ElementType: types.StringType, MarkdownDescription: "What is wrong, where and since when, the worst first.",
			},
			"warnings": schema.ListAttribute{
				Computed: true, ElementType: types.StringType, MarkdownDescription: "What works but should be looked at.",
			},
			"node_states": schema.MapNestedAttribute{
				Computed: true, MarkdownDescription: "Every node of the cluster, by name.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"state":   text("`ready`, `not-ready`, `joining`, `silent` or `down`."),
					"message": text("More about a state other than `ready`."),
					"since":   text("Since when, RFC 3339."),
					"version": text("Version of its agent."),
					"conditions": schema.ListNestedAttribute{
						Computed: true, MarkdownDescription: "What its agent reports.",
						NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
							"type": text("Type."), "status": text("`True`, `False` or `Unknown`."), "reason": text("One word."),
							"message": text("What happened, where, and what to do."), "since": text("When the status last changed, RFC 3339."),
						}},
					},
				}},
			},
			"links": schema.MapNestedAttribute{
				Computed: true, MarkdownDescription: "Every pair of nodes, by `A.B`.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"from": text("One end."), "to": text("The other end."),
					"there": direction("Traffic from `from` to `to`."), "back": direction("Traffic from `to` to `from`."),
					"reports": schema.MapNestedAttribute{
						Computed: true, MarkdownDescription: "What the ends say of the direct way between them, by node; see the guide to links.",
						NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
							"condition": text("One of " + words(spec.LinkConditions()) + "."),
							"cause":     text("Why, as far as that end can tell: `filtered-port`, `own-firewall`, `wrong-key`, `name-resolution`, `clock` or `path`; null when nothing is wrong."),
							"since":     text("When condition or cause last changed, RFC 3339."),
							"message":   text("What does not arrive, where, and what to do; empty when nothing is wrong."),
							"left":      schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether that end leaves the direct way alone, since another one is better."},
							"via":       text("By which node it goes instead; null when it does not."),
						}},
					},
				}},
			},
			"databases": databasesAttribute(),
			"pairs":     pairsAttribute(),
		},
	}
}

// words lists words for a description.
func words[T ~string](all []T) string {
	out := make([]string, len(all))
	for i, one := range all {
		out[i] = "`" + string(one) + "`"
	}
	return strings.Join(out, ", ")
}

func databasesAttribute() schema.MapNestedAttribute {
	text := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	number := func(description string) schema.Int64Attribute {
		return schema.Int64Attribute{Computed: true, MarkdownDescription: description}
	}
	return schema.MapNestedAttribute{
		Computed: true, MarkdownDescription: "Every database of the cluster, by name.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"state":       text("`new`, `online`, `degraded`, `blocked` or `outage`; see `atoll_database`."),
			"primary":     text("The node that takes writes; null for none."),
			"since":       text("Since when it does, RFC 3339."),
			"votes":       number("How many members vote."),
			"online":      number("How many of them are online."),
			"incarnation": number("Counts the lives of the group: one more after each outage of all members."),
			"rollout":     text("How far a change is that restarts members, and why it has stopped; null while there is none."),
			"members": schema.MapNestedAttribute{
				Computed: true, MarkdownDescription: "Its members, by node.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"role":     text("`primary`, `secondary` or `client`."),
					"state":    text("What the member is doing; see `atoll_database_member`."),
					"since":    text("Since when, RFC 3339."),
					"lag":      schema.Float64Attribute{Computed: true, MarkdownDescription: "How far it is behind the primary, in seconds; null when that is not known."},
					"version":  text("The server's version."),
					"problem":  text("What is wrong and what to do."),
					"router":   text("The node that the node's router leads writes to."),
					"writable": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether writes through the node's router arrive."},
				}},
			},
		}},
	}
}

func pairsAttribute() schema.MapNestedAttribute {
	text := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	return schema.MapNestedAttribute{
		Computed: true, MarkdownDescription: "Every pair of directory trees of the cluster, by name.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"state":               text("The state of the side that needs more attention; see `atoll_replication_pair`."),
			"since":               text("Since when, RFC 3339."),
			"leader":              text("The node that drives the synchronization."),
			"synced":              text("When both sides were last found equal, RFC 3339; empty for never."),
			"propagation_seconds": schema.Float64Attribute{Computed: true, MarkdownDescription: "How long the last change that was measured took to the other node; null before the first."},
			"stands_in_for":       text("The node that a standby pair stands in for; null for other pairs."),
			"stands_in_since":     text("Since when it does, RFC 3339; null while it does not."),
			"leads_now":           text("The node that carries changes over between both: `leader`, or null while another pair does that in the place of this one."),
			"conflicts":           schema.Int64Attribute{Computed: true, MarkdownDescription: "How many kept copies of conflicting versions the trees hold."},
			"conflict_paths":      schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The first of them, from the tree's root."},
			"sides": schema.MapNestedAttribute{
				Computed: true, MarkdownDescription: "Both sides, by node.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"path":    text("The tree's root."),
					"state":   text("Its state."),
					"since":   text("Since when, RFC 3339."),
					"pending": schema.Int64Attribute{Computed: true, MarkdownDescription: "How many changed paths wait."},
					"problem": text("What is wrong and what to do."),
					"after_change": schema.SingleNestedAttribute{
						Computed: true, MarkdownDescription: "How far the node is with the command after changes; null for a pair without one.",
						Attributes: map[string]schema.Attribute{
							"state":    text("`done`, `due`, `running`, or `failed`, which is tried again."),
							"last_run": text("When it ended last, RFC 3339; empty before the first time."),
							"problem":  text("Why it has failed, with the end of what it has said."),
						},
					},
					"propagation_last_hour": schema.SingleNestedAttribute{
						Computed: true, MarkdownDescription: "How long changes took from here to the other node, by canaries of the last hour; null where there was none.",
						Attributes: map[string]schema.Attribute{
							"p50_seconds": schema.Float64Attribute{Computed: true, MarkdownDescription: "Half of them took no longer."},
							"p99_seconds": schema.Float64Attribute{Computed: true, MarkdownDescription: "Of a hundred all but one took no longer; of fewer, all."},
							"max_seconds": schema.Float64Attribute{Computed: true, MarkdownDescription: "The slowest."},
							"canaries":    schema.Int64Attribute{Computed: true, MarkdownDescription: "How many there were."},
							"since":       text("When the first of them arrived, RFC 3339."),
						},
					},
					"carried": schema.SingleNestedAttribute{
						Computed: true, MarkdownDescription: "What this node has exchanged with the other one since the pair's programs started here; null where that is not known.",
						Attributes: map[string]schema.Attribute{
							"received_files": schema.Int64Attribute{Computed: true, MarkdownDescription: "How many files have arrived."},
							"received_bytes": schema.Int64Attribute{Computed: true, MarkdownDescription: "How many bytes have arrived, with what the programs tell each other."},
							"sent_bytes":     schema.Int64Attribute{Computed: true, MarkdownDescription: "How many bytes were sent, with what the programs tell each other."},
							"since":          text("Since when, RFC 3339."),
						},
					},
				}},
			},
		}},
	}
}
