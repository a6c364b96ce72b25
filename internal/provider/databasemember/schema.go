// Package databasemember is the resource atoll_database_member: one node's part in a database, and how it fares.
package databasemember

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
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ResourceType is the resource's name in configurations.
const ResourceType = "atoll_database_member"

const (
	createTimeout = 30 * time.Minute
	updateTimeout = 30 * time.Minute
	deleteTimeout = 10 * time.Minute
)

// The weights of members that none is configured for.
const (
	PreferredWeight = 80
	UsualWeight     = 50
)

// Schema returns the resource's schema.
func Schema(ctx context.Context) schema.Schema {
	text := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	var roles, states []string
	for _, r := range spec.MemberRoles() {
		roles = append(roles, string(r))
	}
	for _, s := range spec.MemberStates() {
		states = append(states, string(s))
	}
	return schema.Schema{
		MarkdownDescription: "A node's part in a database: a voting member with data, or a client with the router only.\n\n" +
			"Creating a member returns when it is online, that is when it has all data; as long as fewer members are described than the database has votes, " +
			"it returns when the node has taken the order, since the database begins when all are there. " +
			"A member with data that the others do not have is refused, never overwritten.\n\n" +
			"Destroying a member takes it out of the group (a primary hands over first) and stops its server. Its data is kept aside on the node.",
		Attributes: map[string]schema.Attribute{
			"id": schema.StringAttribute{
				Computed: true, MarkdownDescription: "`CLUSTER/DATABASE/NODE`.", PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()},
			},
			"database": reference.DatabaseAttribute("The database: an `atoll_database`."),
			"node":     reference.PlacedNodeAttribute("The node: an `atoll_node`."),
			"role": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(spec.MemberVoter)), Validators: []validator.String{stringvalidator.OneOf(roles...)},
				MarkdownDescription: "`voter` (it has the data, votes, and runs the router; the default) or `client` (it runs the router, for applications on a node without data).",
			},
			"weight": schema.Int64Attribute{
				Optional: true, Computed: true, Validators: []validator.Int64{int64validator.Between(0, 100)},
				MarkdownDescription: fmt.Sprintf("How much the member is preferred as the next primary, 0 to 100. Default %d for the database's `preferred_primary`, %d for the others. "+
					"A change moves nothing by itself.", PreferredWeight, UsualWeight),
			},
			"state":        text("What the member is doing: `" + strings.Join(states, "`, `") + "`, or `unknown` when its node has not been heard of."),
			"current_role": text("`primary`, `secondary` or `client`, as it is. A failover changes it, and that never makes a plan."),
			"lag":          schema.Float64Attribute{Computed: true, MarkdownDescription: "How far it is behind the primary, in seconds; null when that is not known."},
			"version":      text("The server's version; null when that is not known."),
			"problem":      text("What is wrong and what to do; null for nothing."),
			"router": schema.SingleNestedAttribute{
				Computed: true, MarkdownDescription: "How applications on the node reach the database.",
				Attributes: map[string]schema.Attribute{
					"running":  schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether the router runs."},
					"writable": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether a connection to its port for writes reaches a server that takes writes."},
					"writer":   text("The node that its port for writes leads to; null for none."),
				},
			},
			"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
				Create: true, Update: true, Delete: true,
				CreateDescription: "How long the member may take to be online; it copies all data first. Default 30m.",
				UpdateDescription: "How long a change may take until the member's turn has come and it is back. Default 30m.",
				DeleteDescription: "How long the node may take to hand over and stop. Default 10m.",
			}),
		},
	}
}

func routerTypes() map[string]attr.Type {
	return map[string]attr.Type{"running": types.BoolType, "writable": types.BoolType, "writer": types.StringType}
}
