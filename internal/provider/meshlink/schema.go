// Package meshlink is the resource atoll_mesh_link: one pair of nodes in the mesh, its settings and how it fares.
package meshlink

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
)

// ResourceType is the resource's name in configurations.
const ResourceType = "atoll_mesh_link"

const (
	createTimeout = 5 * time.Minute
	updateTimeout = 5 * time.Minute
	deleteTimeout = 2 * time.Minute
)

// Schema returns the resource's schema.
func Schema(ctx context.Context) schema.Schema {
	return schema.Schema{
		MarkdownDescription: "One pair of nodes in the mesh. Every pair of a cluster's nodes is connected as soon as the two know each other; " +
			"a link introduces them, waits until each reaches the other over the mesh, carries the pair's settings and shows how it fares.\n\n" +
			"What is observed (`state`, `forward`, `reverse`) never makes a plan.",
		Attributes: map[string]schema.Attribute{
			"id": schema.StringAttribute{
				Computed: true, MarkdownDescription: "`CLUSTER/A.B`, the nodes in alphabetical order.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()},
			},
			"from": reference.NodeAttribute("One end: an `atoll_node`."),
			"to":   reference.NodeAttribute("The other end: an `atoll_node`."),
			"tcp_only": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Send the pair's traffic over TCP, for a path that loses UDP. Default false.",
			},
			"mtu": schema.Int64Attribute{Optional: true, MarkdownDescription: "Largest packet of the path in bytes, 576 to 9000, where that is known; it spares packets that are too large until the mesh has measured the path itself."},
			"state": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "How the pair fares, the worse direction counting: `up-direct`, `up-indirect` (by way of another node), `down`, or `unknown`.",
			},
			"forward": directionAttribute("Traffic from `from` to `to`, as `from` sees it."),
			"reverse": directionAttribute("Traffic from `to` to `from`, as `to` sees it."),
			"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
				Create: true, Update: true, Delete: true,
				CreateDescription: "How long the nodes may take to reach each other. Default 5m.",
				UpdateDescription: "How long a change may take. Default 5m.",
				DeleteDescription: "How long the removal may take. Default 2m.",
			}),
		},
	}
}

func directionAttribute(description string) schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Computed: true, MarkdownDescription: description,
		Attributes: map[string]schema.Attribute{
			"reachable": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether the other node answers over the mesh, by whatever path."},
			"direct":    schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether traffic takes the direct path."},
			"next_hop":  schema.StringAttribute{Computed: true, MarkdownDescription: "The node that traffic goes by when it is not direct, if that is known."},
			"rtt_ms":    schema.Float64Attribute{Computed: true, MarkdownDescription: "Round-trip time in milliseconds, a moving average; null before the first answer."},
			"loss":      schema.Float64Attribute{Computed: true, MarkdownDescription: "Share of probes that went unanswered, from 0 to 1, a moving average."},
		},
	}
}
