// Package database is the resource atoll_database: one replicated database, its settings, schemas and users, signed and given to
// the nodes, and how it fares.
package database

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/objectdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ResourceType is the resource's name in configurations.
const ResourceType = "atoll_database"

const (
	createTimeout = 5 * time.Minute
	updateTimeout = 10 * time.Minute
	deleteTimeout = 5 * time.Minute
)

// What a database has unless something else is said.
const (
	DefaultVotes     = 3
	DefaultPort      = 3306
	DefaultWritePort = 6446
	DefaultReadPort  = 6447
)

// Schema returns the resource's schema.
func Schema(ctx context.Context) schema.Schema {
	keep := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	replace := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	return schema.Schema{
		MarkdownDescription: "A replicated database: MySQL with Group Replication (InnoDB Cluster), one member of which takes writes. " +
			"It begins when all of its voting members (`atoll_database_member`) are described, fails over by itself, and comes back by itself after an outage of all members.\n\n" +
			"Applications connect to the router on their own node: `127.0.0.1:6446` for writes, `127.0.0.1:6447` for reads. " +
			"Which member takes writes is observed and never makes a plan.\n\n" +
			"A change of settings that takes restarts is carried out by the members' agents, one member at a time and the primary last; " +
			"the `atoll_database_member` resources wait for their turn. See the guide on databases.",
		Attributes: map[string]schema.Attribute{
			"id":      schema.StringAttribute{Computed: true, MarkdownDescription: "`CLUSTER/NAME`.", PlanModifiers: keep},
			"cluster": clusterAttribute(),
			"name": schema.StringAttribute{
				Required: true, PlanModifiers: replace,
				MarkdownDescription: fmt.Sprintf("Name of the database, unique in its cluster: lower-case letters, digits and inner hyphens, at most %d characters. Changing it makes a new, empty database.", spec.MaxNameLength),
			},
			"engine": schema.StringAttribute{
				Optional: true, Computed: true, PlanModifiers: replace, Default: stringdefault.StaticString(string(spec.DatabaseMySQL)),
				Validators:          []validator.String{stringvalidator.OneOf(words(spec.DatabaseEngines())...)},
				MarkdownDescription: "Software of the database: `" + strings.Join(words(spec.DatabaseEngines()), "`, `") + "`, which is the default. Changing it makes a new, empty database.",
			},
			"version": schema.StringAttribute{
				Optional: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
				MarkdownDescription: "Release series that every member must run, for example `9.7`: a node with another one is refused instead of joining. Without it each member runs what its node has.",
			},
			"votes": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(DefaultVotes),
				MarkdownDescription: "How many members vote: 3, 5, 7 or 9. Writes go on while most of them are connected. The database begins, and comes back from an outage of all members, " +
					"when that many have been heard. Default 3.",
			},
			"preferred_primary": reference.ChangingNodeAttribute("The node where the database begins and where writes are preferred: an `atoll_node` that is (to be) a voting member. " +
				"A change takes effect at the next failover or with `atoll switchover`; writes never move by themselves."),
			"bootstrap_epoch": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(1), Validators: []validator.Int64{int64validator.AtLeast(1)},
				MarkdownDescription: "Counts the permissions to make the group out of nothing at `preferred_primary`. Each is used once, for good. " +
					"Raise it only when the data of all members is lost and the database is to begin again, empty or restored from a backup. Default 1.",
			},
			"port": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(DefaultPort), Validators: []validator.Int64{int64validator.Between(1, 65535)},
				MarkdownDescription: "TCP port of every member, at its mesh address and at loopback. It cannot be changed later. Default 3306.",
			},
			"settings": schema.MapAttribute{
				Optional: true, ElementType: types.StringType,
				MarkdownDescription: "System variables of the server, by name, for example `{ max_connections = \"500\" }`. Those that take a restart are rolled out member by member. " +
					"What Atoll sets itself, and what would lose acknowledged writes, is refused with the reason.",
			},
			"databases": schema.SetAttribute{
				Optional: true, ElementType: types.StringType, Validators: []validator.Set{setvalidator.SizeAtLeast(1)},
				MarkdownDescription: "Databases, in MySQL's sense of schemas, that are made when they are not there. One that is taken off the list stays, with its data.",
			},
			"users":  usersAttribute(),
			"router": routerAttribute(),
			"accept": schema.SingleNestedAttribute{
				Optional:            true,
				MarkdownDescription: "What is accepted of where the members are. Without it a provider or a site with a majority of the votes is an error, since its failure stops all writes.",
				Attributes: map[string]schema.Attribute{
					"provider_majority": domainsAttribute("Providers (`failure_domain.provider` of nodes) that may have a majority of the votes."),
					"site_majority":     domainsAttribute("Sites (`failure_domain.site` of nodes) that may have a majority of the votes."),
				},
			},
			"group": schema.StringAttribute{
				Computed: true, PlanModifiers: keep, MarkdownDescription: "UUID of the group of members. A database that is made again has another one.",
			},
			"revision": schema.StringAttribute{
				Computed: true, MarkdownDescription: "Changes with everything that members have to put into effect; it lets `atoll_database_member` notice.",
			},
			"state": schema.StringAttribute{
				Computed: true,
				MarkdownDescription: "How the database is: `new` (it has not begun), `online` (all voting members are), `degraded` (it takes writes, members are missing), " +
					"`blocked` (members are there, and none takes writes), `outage` (no member is online) or `unknown` (no node answers).",
			},
			"primary":     schema.StringAttribute{Computed: true, MarkdownDescription: "The node that takes writes; null for none."},
			"incarnation": schema.Int64Attribute{Computed: true, MarkdownDescription: "Counts the lives of the group: 1 after it began, one more after each outage of all members."},
			"members": schema.MapNestedAttribute{
				Computed: true, MarkdownDescription: "The members that the cluster knows of, by node.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"role":  schema.StringAttribute{Computed: true, MarkdownDescription: "`primary`, `secondary` or `client`."},
					"state": schema.StringAttribute{Computed: true, MarkdownDescription: "What the member is doing: `" + strings.Join(words(spec.MemberStates()), "`, `") + "` or `unknown`."},
					"lag":   schema.Float64Attribute{Computed: true, MarkdownDescription: "How far it is behind the primary, in seconds; null when that is not known."},
				}},
			},
			"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
				Create: true, Update: true, Delete: true,
				CreateDescription: "How long describing the database to the nodes may take. Default 5m.",
				UpdateDescription: "How long the members may take to accept a change; each `atoll_database_member` waits for its restart itself. Default 10m.",
				DeleteDescription: "How long the removal may take. Default 5m.",
			}),
		},
	}
}

func clusterAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Required: true, MarkdownDescription: "The cluster: an `atoll_cluster`.",
		Attributes: map[string]schema.Attribute{
			"name": schema.StringAttribute{
				Required: true, MarkdownDescription: "The cluster's `name`.", PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
			},
		},
	}
}

func usersAttribute() schema.MapNestedAttribute {
	return schema.MapNestedAttribute{
		Optional: true,
		MarkdownDescription: "Accounts of applications, by name, the same at every member. They may read, write and change the structure of `databases`, and nothing else. " +
			"One that is taken out is dropped.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"password": schema.StringAttribute{
				Required: true, WriteOnly: true, Sensitive: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
				MarkdownDescription: "Password. It is in no state, plan or log; members get it encrypted. Needs Terraform 1.11 or OpenTofu 1.11.",
			},
			"password_version": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(1),
				MarkdownDescription: "Change it together with `password`: Terraform cannot see that a write-only argument has changed. Default 1.",
			},
			"databases": schema.SetAttribute{
				Optional: true, ElementType: types.StringType, Validators: []validator.Set{setvalidator.SizeAtLeast(1)},
				MarkdownDescription: "Which of `databases` the user may use. Default: all of them.",
			},
		}},
	}
}

func routerAttribute() schema.SingleNestedAttribute {
	port := func(value int, description string) schema.Int64Attribute {
		return schema.Int64Attribute{
			Optional: true, Computed: true, Default: int64default.StaticInt64(int64(value)), Validators: []validator.Int64{int64validator.Between(1, 65535)},
			MarkdownDescription: fmt.Sprintf("%s Default %d.", description, value),
		}
	}
	drivers := words(spec.RouterDrivers())
	return schema.SingleNestedAttribute{
		Optional: true, Computed: true, Default: objectdefault.StaticValue(routerValue(defaultRouter())),
		MarkdownDescription: "What applications connect to on every node of the database, at `127.0.0.1` and `::1`. After a failover, connections for writes to the old primary are cut, and new ones reach the new one.",
		Attributes: map[string]schema.Attribute{
			"driver": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(spec.RouterMySQL)), Validators: []validator.String{stringvalidator.OneOf(drivers...)},
				MarkdownDescription: "Program, one of `" + strings.Join(drivers, "`, `") + "`. Default `" + string(spec.RouterMySQL) + "`.",
			},
			"write_port": port(DefaultWritePort, "TCP port that leads to the primary."),
			"read_port":  port(DefaultReadPort, "TCP port that leads to a member that is up to date."),
		},
	}
}

func domainsAttribute(description string) schema.SetAttribute {
	return schema.SetAttribute{
		Optional: true, ElementType: types.StringType, MarkdownDescription: description, Validators: []validator.Set{setvalidator.SizeAtLeast(1)},
	}
}

// words returns enumerated values as strings.
func words[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, w := range in {
		out[i] = string(w)
	}
	return out
}
