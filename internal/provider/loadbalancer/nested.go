package loadbalancer

import (
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// The vendor's bounds, in seconds (developers.cloudflare.com/load-balancing/monitors and /understand-basics/session-affinity).
const (
	minInterval = 10 // on an Enterprise plan; others have more
	maxInterval = 3600

	// minSession is the project's own: an application may need five minutes to write a session where all nodes find it.
	minSession       = 300
	minCookieSession = 1800
	maxCookieSession = 604800
	maxHeaderSession = 3600
)

func monitorAttribute() schema.SingleNestedAttribute {
	number := func(least, most int64, description string) schema.Int64Attribute {
		return schema.Int64Attribute{
			Optional: true, Computed: true, Validators: []validator.Int64{int64validator.Between(least, most)}, MarkdownDescription: description,
		}
	}
	text := func(description string, validators ...validator.String) schema.StringAttribute {
		return schema.StringAttribute{Optional: true, Computed: true, Validators: validators, MarkdownDescription: description}
	}
	notEmpty := stringvalidator.LengthAtLeast(1)
	return schema.SingleNestedAttribute{
		Optional: true, Computed: true,
		MarkdownDescription: "How Cloudflare finds out whether a node is well. By default it asks the agent's health endpoint, which answers 200 while the node is as described. " +
			"That says nothing of the application without `application_check`; or name the application's own port and path to let it decide.",
		Attributes: map[string]schema.Attribute{
			"type":   text("`http` (default), `https` or `tcp`.", stringvalidator.OneOf(texts(cloudflare.MonitorTypes())...)),
			"port":   number(1, 65535, "Port to ask. Default: that of the cluster's health endpoint."),
			"path":   text("Path to ask for. Default `/health`, and `/health/HOSTNAME` with `application_check`, `quick_removal` or `local_proxy`.", stringvalidator.RegexMatches(pathPattern, "must begin with /")),
			"method": text("Method to ask with. Default `GET`.", stringvalidator.OneOf("GET", "HEAD")),
			"host_header": schema.StringAttribute{
				Optional: true, Validators: []validator.String{notEmpty}, MarkdownDescription: "Host header to ask with. Default: the node's address.",
			},
			"expected_codes": text("Answers that are good, for example `200` or `2xx,301`. Default `200`.", stringvalidator.RegexMatches(codesPattern, "must be status codes such as 200 or 2xx, joined by commas")),
			"expected_body": schema.StringAttribute{
				Optional: true, Validators: []validator.String{notEmpty}, MarkdownDescription: "Text that a good answer contains.",
			},
			"interval": number(minInterval, maxInterval, "Seconds between two checks, 10 to 3600. Default 60. How short it may be depends on the plan."),
			"timeout":  number(1, 10, "Seconds that a check may take. Default 5."),
			"retries":  number(0, 5, "How often a check that timed out is repeated at once. Default 2."),
			"consecutive_down": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.AtLeast(1)}, MarkdownDescription: "How many checks in a row must fail for a node to be down. Default: the vendor's, the first.",
			},
			"consecutive_up": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.AtLeast(1)}, MarkdownDescription: "How many checks in a row must pass for a node to be up. Default: the vendor's, the first.",
			},
			"follow_redirects": schema.BoolAttribute{Optional: true, Computed: true, MarkdownDescription: "Whether redirects are followed. Default false."},
			"allow_insecure":   schema.BoolAttribute{Optional: true, Computed: true, MarkdownDescription: "Whether any certificate is good enough for `https`. Default false."},
		},
	}
}

func sessionAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true, Computed: true,
		MarkdownDescription: "How a client stays on the node that it came to first. It needs `proxied`. Default: by a cookie, for 30 minutes.",
		Attributes: map[string]schema.Attribute{
			"type": schema.StringAttribute{
				Optional: true, Computed: true, Validators: []validator.String{stringvalidator.OneOf(texts(cloudflare.Affinities())...)},
				MarkdownDescription: "`cookie` (default when `proxied`), `ip_cookie` (the first node is chosen by the client's address), `header`, or `none`.",
			},
			"ttl": schema.Int64Attribute{
				Optional: true, Computed: true, Validators: []validator.Int64{int64validator.Between(minSession, maxCookieSession)},
				MarkdownDescription: "Seconds that a client stays: from the first request for cookies (1800 to 604800), since the last one for `header` (300 to 3600). Default 1800. " +
					"It is at least five minutes, so that a session is written where all nodes find it before its client moves.",
			},
			"drain": schema.Int64Attribute{
				Optional: true, Computed: true, Validators: []validator.Int64{int64validator.AtLeast(minSession)},
				MarkdownDescription: "Seconds for which a node that is being disabled keeps its sessions, at least `ttl`. Default `ttl`.",
			},
			"failover": schema.StringAttribute{
				Optional: true, Computed: true, Validators: []validator.String{stringvalidator.OneOf("none", "temporary", "sticky")},
				MarkdownDescription: "What becomes of a session whose node fails: `sticky` (default for cookies: it moves to another node and stays there), " +
					"`temporary` (default for `header`: it comes back when the node does) or `none`.",
			},
			"samesite": schema.StringAttribute{
				Optional: true, Computed: true, Validators: []validator.String{stringvalidator.OneOf("Auto", "Lax", "None", "Strict")},
				MarkdownDescription: "The cookie's attribute of that name. Default `Auto`.",
			},
			"secure": schema.StringAttribute{
				Optional: true, Computed: true, Validators: []validator.String{stringvalidator.OneOf("Auto", "Always", "Never")},
				MarkdownDescription: "The cookie's attribute of that name. Default `Auto`.",
			},
			"headers": schema.SetAttribute{
				Optional: true, ElementType: types.StringType, Validators: []validator.Set{setvalidator.SizeBetween(1, 5)},
				MarkdownDescription: "Names of the headers by which `header` knows a client: one, or up to five on an Enterprise plan.",
			},
			"require_all_headers": schema.BoolAttribute{
				Optional: true, Computed: true, MarkdownDescription: "Whether a session needs all of `headers`. Default false.",
			},
		},
	}
}
