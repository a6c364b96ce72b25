// Package loadbalancer is the resource atoll_load_balancer: a public hostname that several nodes serve through Cloudflare.
package loadbalancer

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/float64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// ResourceType is the resource's name in configurations.
const ResourceType = "atoll_load_balancer"

// Default timeouts. The vendor refuses everything for five minutes after too many requests; that must fit.
const (
	createTimeout = 15 * time.Minute
	updateTimeout = 15 * time.Minute
	deleteTimeout = 15 * time.Minute
)

// Schema returns the resource's schema.
func Schema(ctx context.Context) schema.Schema {
	attributes := map[string]schema.Attribute{
		"id": schema.StringAttribute{Computed: true, MarkdownDescription: "The hostname."},
		"hostname": schema.StringAttribute{
			Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
			MarkdownDescription: "The public hostname, for example `www.example.com`. A change makes a new load balancer.",
		},
		"zone": schema.StringAttribute{
			Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
			MarkdownDescription: "Name of the zone at Cloudflare that the hostname is in, for example `example.com`. A change makes a new load balancer.",
		},
		"mode": schema.StringAttribute{
			Optional: true, Computed: true, Validators: []validator.String{stringvalidator.OneOf(texts(Modes())...)},
			MarkdownDescription: "`load_balancer` (default): Cloudflare's load balancer, a paid product, with monitors and a pool for each site. " +
				"`dns`: an A or AAAA record for each address of each enabled node, for zones without that product; nothing removes a dead node from it by itself. " +
				"It can be changed in place; the hostname is served all the while.",
		},
		"nodes":         nodesAttribute(),
		"node_settings": nodeSettingsAttribute(),
		"sites":         sitesAttribute(),
		"proxied": schema.BoolAttribute{
			Optional: true, Computed: true,
			MarkdownDescription: "Whether traffic goes through Cloudflare, which sessions that stay on a node need. Default true. Otherwise Cloudflare only answers DNS.",
		},
		"ttl": schema.Int64Attribute{
			Optional: true, Computed: true, Validators: []validator.Int64{int64validator.Between(30, 86400)},
			MarkdownDescription: "How long resolvers may keep an answer, in seconds, when not `proxied`. Default 30, in mode `dns` 60, which is the least there except on an Enterprise plan.",
		},
		"port": schema.Int64Attribute{
			Optional: true, Validators: []validator.Int64{int64validator.Between(1, 65535)},
			MarkdownDescription: "Port of the application on the nodes. Default: the one that the client asked for. With `local_proxy` it is where the proxy finds the application; Cloudflare goes to the proxy.",
		},
		"host_header": schema.StringAttribute{
			Optional: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
			MarkdownDescription: "Host header that the nodes get. It must be a name in a zone of the same account. Default: the client's.",
		},
		"steering": schema.StringAttribute{
			Optional: true, Computed: true, Validators: []validator.String{stringvalidator.OneOf(texts(cloudflare.Steerings())...)},
			MarkdownDescription: "How a site is chosen: `dynamic_latency` (default, the site that answers fastest), `proximity` (the nearest by `sites.latitude` and `longitude`), " +
				"`geo` (by `sites.regions`), `random`, `least_outstanding_requests`, `least_connections` (each by `sites.weight`), or `off` (the first healthy one by `sites.priority`). " +
				"Which of them an account may use depends on its plan.",
		},
		"endpoint_steering": schema.StringAttribute{
			Optional: true, Computed: true, Validators: []validator.String{stringvalidator.OneOf(texts(cloudflare.OriginSteerings())...)},
			MarkdownDescription: "How a node of the site is chosen: `random` (default), `hash` (by the client's address), `least_outstanding_requests` or `least_connections`, each by `node_settings.weight`.",
		},
		"fallback_site": schema.StringAttribute{
			Optional: true, Computed: true,
			MarkdownDescription: "The site that gets the traffic when no node is healthy; its own health does not count then. Default: the first by `sites.priority` with an enabled node.",
		},
		"failover_across_sites": schema.BoolAttribute{
			Optional: true, Computed: true,
			MarkdownDescription: "Whether a request that meets a dead node is tried once more in another site when its own has no other node. Default true.",
		},
		"check_regions": schema.SetAttribute{
			Optional: true, ElementType: types.StringType,
			Validators: []validator.Set{
				setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(stringvalidator.OneOf(append(cloudflare.CheckRegions(), "ALL_REGIONS")...)),
			},
			MarkdownDescription: "Regions from which the monitors ask, for example `WEU` and `SEAS`. Default: the vendor's choice.",
		},
		"monitor":          monitorAttribute(),
		"session_affinity": sessionAttribute(),
		"shadow_dns_records": schema.BoolAttribute{
			Optional: true,
			MarkdownDescription: "Whether the hostname may have DNS records of its own. A load balancer takes precedence over them; they stay as they are and count again when it is gone, " +
				"which moves a hostname to a load balancer without a gap, and gives a fallback. Default false: records that would silently not be used any more are an error.",
		},
	}
	for name, a := range localAttributes() {
		attributes[name] = a
	}
	for name, a := range computedAttributes() {
		attributes[name] = a
	}
	attributes["timeouts"] = timeouts.Attributes(ctx, timeouts.Opts{
		Create: true, Update: true, Delete: true,
		CreateDescription: "How long creating may take, a rate limit of the API included. Default 15m.",
		UpdateDescription: "How long a change may take. Default 15m.",
		DeleteDescription: "How long the removal may take. Default 15m.",
	})
	return schema.Schema{
		MarkdownDescription: "A public hostname that several nodes serve through Cloudflare: one monitor, a pool for each site, and the load balancer, " +
			"or plain DNS records. The resource owns them all and makes, changes and removes them in the right order; something that was made by a run that broke off is found again by its name.\n\n" +
			"However many nodes there are, the hostname depends on this one vendor; the guide on load balancing says what is left without it.\n\n" +
			"The monitor asks each node's health endpoint unless told otherwise. Needs the provider's Cloudflare token, with the permissions " +
			"`Load Balancing: Monitors and Pools Write` (account), `Load Balancers Write`, `DNS Read` and `Zone Read` (zone), with `local_proxy.tls` also `SSL and Certificates Write` (zone); in mode `dns` with `DNS Write`, `Load Balancers Read` and `Zone Read` (zone).",
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

// nodesAttribute takes a map of atoll_node. What a node always has is optional here all the same: the framework calls a required
// attribute missing while a whole node in the map is unknown.
func nodesAttribute() schema.MapNestedAttribute {
	return schema.MapNestedAttribute{
		Required: true, Validators: []validator.Map{mapvalidator.SizeAtLeast(1)},
		MarkdownDescription: "The nodes that serve the hostname, by any key that stays the same: usually all nodes of a `for_each`, `nodes = atoll_node.web`. " +
			"A plan warns when those that may get traffic are all at one site or at one provider.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"cluster": schema.SingleNestedAttribute{
				Optional: true, MarkdownDescription: "The node's `cluster`.",
				Attributes: map[string]schema.Attribute{
					"name": schema.StringAttribute{Optional: true, MarkdownDescription: "The cluster's `name`."},
					"ports": schema.SingleNestedAttribute{
						Optional: true, MarkdownDescription: "The cluster's `ports`.",
						Attributes: map[string]schema.Attribute{
							"health": schema.Int64Attribute{Optional: true, MarkdownDescription: "Port of the agents' health endpoint."},
						},
					},
				},
			},
			"name":      schema.StringAttribute{Optional: true, MarkdownDescription: "The node's `name`."},
			"addresses": schema.ListAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "The node's `addresses`."},
			"failure_domain": schema.SingleNestedAttribute{
				Optional: true, MarkdownDescription: "The node's `failure_domain`, whose `site` says which pool the node is in.",
				Attributes: map[string]schema.Attribute{
					"provider": schema.StringAttribute{Optional: true, MarkdownDescription: "Whose machine it is."},
					"site":     schema.StringAttribute{Optional: true, MarkdownDescription: "Where it stands."},
				},
			},
			"endpoints": schema.ListAttribute{
				Optional: true, ElementType: types.StringType,
				MarkdownDescription: "The node's `endpoints`, where it is told of `application_check`, `quick_removal` and `local_proxy`.",
			},
			"identity": schema.StringAttribute{Optional: true, MarkdownDescription: "The node's `identity`, to which secrets are encrypted."},
			"public_ports": schema.SingleNestedAttribute{
				Optional: true, MarkdownDescription: "The node's `public_ports`.",
				Attributes: map[string]schema.Attribute{
					"tcp": schema.SetAttribute{Optional: true, ElementType: types.Int64Type, MarkdownDescription: "TCP ports that everybody may reach."},
				},
			},
		}},
	}
}

func nodeSettingsAttribute() schema.MapNestedAttribute {
	return schema.MapNestedAttribute{
		Optional: true, MarkdownDescription: "What is particular of some nodes, by their keys in `nodes`.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"enabled": schema.BoolAttribute{
				Optional: true, MarkdownDescription: "Whether the node gets traffic. Default true. A node that is disabled gets no new sessions; those that it has end after `session_affinity.drain`.",
			},
			"weight": schema.Float64Attribute{
				Optional: true, Validators: []validator.Float64{float64validator.Between(0, 1), stepValidator{100}},
				MarkdownDescription: "The node's share of its site's traffic, 0 to 1 in steps of 0.01. Default 1.",
			},
			"address": schema.StringAttribute{
				Optional: true, MarkdownDescription: "IP address or host name at which the node serves. Default: the first of its `addresses`, in mode `dns` all that are IP addresses.",
			},
			"port": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.Between(1, 65535)},
				MarkdownDescription: "Port of the application on this node. Default: the load balancer's `port`.",
			},
		}},
	}
}

func sitesAttribute() schema.MapNestedAttribute {
	region := append(cloudflare.CheckRegions(), []string(nil)...)
	return schema.MapNestedAttribute{
		Optional: true, MarkdownDescription: "What is particular of some sites, by the `site` of their nodes' `failure_domain`.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"enabled": schema.BoolAttribute{Optional: true, MarkdownDescription: "Whether the site gets traffic. Default true."},
			"priority": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.AtLeast(0)},
				MarkdownDescription: "Sites with a smaller number come first, those with the same one in alphabetical order. Default 0.",
			},
			"weight": schema.Float64Attribute{
				Optional: true, Validators: []validator.Float64{float64validator.Between(0, 1), stepValidator{10}},
				MarkdownDescription: "The site's share of the traffic, 0 to 1 in steps of 0.1, for `steering` by weight. Default 1.",
			},
			"regions": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				Validators:          []validator.Set{setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(stringvalidator.OneOf(region...))},
				MarkdownDescription: "Regions whose clients this site serves, for `steering = \"geo\"`, for example `SEAS`. Clients of other regions get the sites by priority.",
			},
			"latitude": schema.Float64Attribute{
				Optional: true, Validators: []validator.Float64{float64validator.Between(-90, 90)},
				MarkdownDescription: "Where the site is, for `steering = \"proximity\"`.",
			},
			"longitude": schema.Float64Attribute{
				Optional: true, Validators: []validator.Float64{float64validator.Between(-180, 180)},
				MarkdownDescription: "Where the site is, for `steering = \"proximity\"`.",
			},
			"minimum_healthy": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.AtLeast(1)},
				MarkdownDescription: "How many of the site's nodes must be healthy for it to get traffic. Default 1.",
			},
		}},
	}
}

func computedAttributes() map[string]schema.Attribute {
	id := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	return map[string]schema.Attribute{
		"zone_id":          id("Cloudflare's id of the zone."),
		"account_id":       id("Cloudflare's id of the account that the zone belongs to."),
		"load_balancer_id": id("Cloudflare's id of the load balancer; null in mode `dns`."),
		"monitor_id":       id("Cloudflare's id of the monitor; null in mode `dns`."),
		"pool_ids": schema.MapAttribute{
			Computed: true, ElementType: types.StringType, MarkdownDescription: "Cloudflare's ids of the pools, by site; empty in mode `dns`.",
		},
		"record_ids": schema.MapAttribute{
			Computed: true, ElementType: types.StringType, MarkdownDescription: "Cloudflare's ids of the DNS records, by address; empty in mode `load_balancer`.",
		},
		"health": schema.MapNestedAttribute{
			Computed:            true,
			MarkdownDescription: "What the monitors have found of each node, by its key in `nodes`, as of the last refresh. It never makes a plan. Empty in mode `dns`.",
			NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
				"healthy": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether most of the places that asked found the node healthy; null before the first check."},
				"reasons": schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "What was wrong with it at places that did not."},
			}},
		},
		"removed": schema.SetAttribute{
			Computed: true, ElementType: types.StringType,
			MarkdownDescription: "Names of the nodes that the nodes themselves have taken out by `quick_removal`, as of the last refresh. It never makes a plan: they put them back when they are well.",
		},
		"certificates": schema.MapNestedAttribute{
			Computed:            true,
			MarkdownDescription: "The certificates of `local_proxy.tls`, by the node's key in `nodes`. A plan renews one whose time is nearly over, and one of a node that was made again.",
			NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
				"id":          schema.StringAttribute{Computed: true, MarkdownDescription: "Cloudflare's id, the serial number."},
				"certificate": schema.StringAttribute{Computed: true, MarkdownDescription: "The certificate in PEM."},
				"expires":     schema.StringAttribute{Computed: true, MarkdownDescription: "When it is not valid any more."},
				"identity":    schema.StringAttribute{Computed: true, MarkdownDescription: "The identity of the node that has the key."},
				"days":        schema.Int64Attribute{Computed: true, MarkdownDescription: "For how many days it was issued."},
			}},
		},
		"drift": schema.ListAttribute{
			Computed: true, ElementType: types.StringType,
			MarkdownDescription: "What somebody has changed at Cloudflare behind Terraform's back, as of the last refresh, beside the arguments above; null when that is nothing. The next apply puts it right.",
		},
	}
}
