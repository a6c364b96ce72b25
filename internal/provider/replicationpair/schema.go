// Package replicationpair is the resource atoll_replication_pair: a directory tree that is kept equal on two nodes.
package replicationpair

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/listdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ResourceType is the resource's name in configurations.
const ResourceType = "atoll_replication_pair"

// Default timeouts. The first synchronization carries all files over.
const (
	createTimeout = 60 * time.Minute
	updateTimeout = 60 * time.Minute
	deleteTimeout = 5 * time.Minute
)

// Schema returns the resource's schema.
func Schema(ctx context.Context) schema.Schema {
	attributes := map[string]schema.Attribute{
		"id": schema.StringAttribute{Computed: true, MarkdownDescription: "`CLUSTER/NAME`."},
		"name": schema.StringAttribute{
			Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
			MarkdownDescription: "Name of the pair, unique in its cluster: lower-case letters, digits and hyphens. A change makes a new pair; the trees stay.",
		},
		"nodes": nodesAttribute(),
		"leader": schema.StringAttribute{
			Optional: true, Computed: true,
			MarkdownDescription: "The key in `nodes` of the node that drives the synchronization, and whose version keeps the name when both sides changed one file. " +
				"Changes of both nodes are carried over all the same. Default: the first key in alphabetical order.",
		},
		"driver": schema.StringAttribute{
			Optional: true, Computed: true, Default: stringdefault.StaticString(string(spec.ReplicationUnison)),
			Validators:          []validator.String{stringvalidator.OneOf(texts(spec.ReplicationDrivers())...)},
			MarkdownDescription: "The program that keeps the trees equal: `unison` (default).",
		},
		"owner": schema.StringAttribute{
			Required:            true,
			MarkdownDescription: "The account that the tree belongs to, by name, on both nodes: the one that the application runs as, such as `www-data`. The program runs as it and can do no more than it; `root` is refused.",
		},
		"group": schema.StringAttribute{
			Optional: true, Computed: true, MarkdownDescription: "The group that the tree belongs to, by name, on both nodes. Default: `owner`.",
		},
		"exclude": schema.ListAttribute{
			Optional: true, Computed: true, ElementType: types.StringType, Default: listdefault.StaticValue(reference.StringList(exclude.Defaults())),
			MarkdownDescription: "Patterns of what stays on its own node, with everything below it: `*.tmp` is a name at any depth, `cache/**` is everything in a directory of the tree's root; " +
				"`*`, `?`, `[a-z]` and `**` as in `.gitignore`, without `!`. A list of your own takes the place of the default; `[]` excludes nothing. " +
				"Default: temporary files and uploads that are not whole yet, `" + strings.Join(exclude.Defaults(), "`, `") + "`.",
		},
		"limits":       limitsAttribute(),
		"accept":       acceptAttribute(),
		"cold":         coldAttribute(),
		"standby":      standbyAttribute(),
		"after_change": afterAttribute(),
		"objective_seconds": schema.Int64Attribute{
			Optional: true, Computed: true, Default: int64default.StaticInt64(spec.DefaultPairObjective), Validators: []validator.Int64{int64validator.Between(1, 3600)},
			MarkdownDescription: fmt.Sprintf("How soon a change should be on the other node, in seconds. What takes longer is reported. Default %d.", spec.DefaultPairObjective),
		},
		"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
			Create: true, Update: true, Delete: true,
			CreateDescription: "How long the first synchronization may take, until both trees are equal. Default 60m.",
			UpdateDescription: "How long a change may take until both nodes have put it into effect; with another node or another path until the trees are equal. Default 60m.",
			DeleteDescription: "How long the nodes may take to stop. Default 5m.",
		}),
	}
	for name, a := range observedAttributes() {
		attributes[name] = a
	}
	return schema.Schema{
		MarkdownDescription: "A directory tree that is kept equal on two nodes: a change on either is on the other within a second or so. " +
			"When both change one file at the same time, both versions are kept.\n\n" +
			"Creating a pair returns when both trees are equal; what only one of them had is then on both. More nodes make more pairs, each with one and the same node, and standby pairs for when that is dead.\n\n" +
			"Destroying a pair stops the synchronization. The trees stay as they are, on both nodes. " +
			"What is observed (`state`, `conflicts`, `sides` and so on) never makes a plan. The guide on files says what is kept and what a pair is not for.",
		Attributes: attributes,
	}
}

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}

// nodesAttribute takes two of atoll_node with a path each. A node may come to be another one: the pair goes over to it. What a side
// needs is optional here all the same: the framework calls a required attribute missing while a whole side is unknown.
func nodesAttribute() schema.MapNestedAttribute {
	node := reference.ChangingNodeAttribute("The node: an `atoll_node`. It must be set.")
	node.Required, node.Optional = false, true
	node.Attributes["failure_domain"] = schema.SingleNestedAttribute{
		Optional: true, MarkdownDescription: "The node's `failure_domain`.",
		Attributes: map[string]schema.Attribute{
			"provider": schema.StringAttribute{Optional: true, MarkdownDescription: "Whose machine it is."},
			"site":     schema.StringAttribute{Optional: true, MarkdownDescription: "Where it stands."},
		},
	}
	return schema.MapNestedAttribute{
		Required: true,
		MarkdownDescription: "The two nodes, by any keys that stay the same, for example their names. Both must be nodes of one cluster. " +
			"A plan warns when both are at one site of one provider, since they would be lost together.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"node": node,
			"path": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "The tree's root on this node: an absolute path, such as `/srv/uploads`. It must be set, and is made when it is not there. " +
					"What belongs to the system is refused, and so are trees of two pairs of which one lies within the other.",
			},
			"cold_path": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "Where old directories are moved to on this node, with `cold`: an absolute path, such as `/srv/archive`, of a directory that is made when it is not there. It has nothing in common with any tree, and every program that reads the tree has to reach it, too.",
			},
		}},
	}
}

func limitsAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true, MarkdownDescription: "What the pair may take of each of its nodes. Default: no limits.",
		Attributes: map[string]schema.Attribute{
			"bandwidth_kib": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.AtLeast(1)},
				MarkdownDescription: "How much may go to the other node, in KiB/s.",
			},
			"nice": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.Between(0, spec.MaxNice)},
				MarkdownDescription: "CPU priority, from 0 (the usual one) to 19 (the least).",
			},
			"io_class": schema.StringAttribute{
				Optional: true, Validators: []validator.String{stringvalidator.OneOf(texts(spec.IOClasses())...)},
				MarkdownDescription: "How the disk is shared with other programs: `best-effort` (default), or `idle`, which takes what others leave; on a busy disk that may be nothing for long.",
			},
			"memory_mib": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.AtLeast(spec.LeastPairMemory)},
				MarkdownDescription: fmt.Sprintf("How much memory the pair's programs may use before they are slowed down, in MiB, at least %d. 47,000 files take about 120.", spec.LeastPairMemory),
			},
		},
	}
}

func observedAttributes() map[string]schema.Attribute {
	states := append(spec.PairStates(), api.PairUnknown)
	return map[string]schema.Attribute{
		"state": schema.StringAttribute{
			Computed: true, MarkdownDescription: "The state of the side that needs more attention: `" + strings.Join(texts(states), "`, `") + "`.",
		},
		"propagation_seconds": schema.Float64Attribute{
			Computed: true, MarkdownDescription: "How long the last change that was measured took to the other node, of both ways the slower; null before the first.",
		},
		"conflicts": schema.Int64Attribute{
			Computed: true, MarkdownDescription: "How many kept copies of conflicting versions the trees hold; null when that is not known.",
		},
		"conflict_paths": schema.ListAttribute{
			Computed: true, ElementType: types.StringType, MarkdownDescription: "The first of them, from the tree's root.",
		},
		"cold_status": coldStatus(),
		"stands_in_since": schema.StringAttribute{
			Computed: true, MarkdownDescription: "Since when a standby pair stands in for the centre (RFC 3339); null while it does not.",
		},
		"sides": schema.MapNestedAttribute{
			Computed: true, MarkdownDescription: "What each node says of its side, by its key in `nodes`.",
			NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
				"state":               schema.StringAttribute{Computed: true, MarkdownDescription: "Its state."},
				"pending":             schema.Int64Attribute{Computed: true, MarkdownDescription: "How many changed paths wait."},
				"propagation_seconds": schema.Float64Attribute{Computed: true, MarkdownDescription: "How long the last change that was measured took from here to the other node; null before the first."},
				"watching":            schema.StringAttribute{Computed: true, MarkdownDescription: "How changes are noticed: `fanotify` or `inotify`; null when that is not known."},
				"problem":             schema.StringAttribute{Computed: true, MarkdownDescription: "What is wrong and what to do; null for nothing."},
				"propagation_last_hour": schema.SingleNestedAttribute{
					Computed: true, MarkdownDescription: "How long changes took from here to the other node, by canaries of the last hour; null where there was none.",
					Attributes: map[string]schema.Attribute{
						"p50_seconds": schema.Float64Attribute{Computed: true, MarkdownDescription: "Half of them took no longer."},
						"p99_seconds": schema.Float64Attribute{Computed: true, MarkdownDescription: "Of a hundred all but one took no longer; of fewer, all."},
						"max_seconds": schema.Float64Attribute{Computed: true, MarkdownDescription: "The slowest."},
						"canaries":    schema.Int64Attribute{Computed: true, MarkdownDescription: "How many there were."},
					},
				},
				"after_change": afterStatus(),
			}},
		},
	}
}

func sideTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"state": types.StringType, "pending": types.Int64Type, "propagation_seconds": types.Float64Type, "watching": types.StringType, "problem": types.StringType,
		"propagation_last_hour": types.ObjectType{AttrTypes: latelyTypes()}, "after_change": types.ObjectType{AttrTypes: afterStatusTypes()},
	}
}

func latelyTypes() map[string]attr.Type {
	return map[string]attr.Type{"p50_seconds": types.Float64Type, "p99_seconds": types.Float64Type, "max_seconds": types.Float64Type, "canaries": types.Int64Type}
}
