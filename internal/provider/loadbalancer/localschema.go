package loadbalancer

import (
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// localAttributes are the arguments for the nodes themselves.
func localAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"application_check": checkAttribute(),
		"minimum_nodes": schema.Int64Attribute{
			Optional: true, Computed: true, Validators: []validator.Int64{int64validator.AtLeast(0)},
			MarkdownDescription: "How many nodes stay in service although `application_check` fails on them or they have no way to the database: what fails " +
				"everywhere at once is rarely the nodes' fault. So do the last ones that have lost all others. Nodes that are in maintenance go all the same. " +
				"Default 1 with any of `application_check`, `quick_removal` and `local_proxy`, and not to be had without; 0 lets every node go.",
		},
		"quick_removal": removalAttribute(),
		"local_proxy":   proxyAttribute(),
	}
}

func checkAttribute() schema.SingleNestedAttribute {
	number := func(most int64, description string) schema.Int64Attribute {
		return schema.Int64Attribute{Optional: true, Validators: []validator.Int64{int64validator.Between(1, most)}, MarkdownDescription: description}
	}
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "How each node asks its own application whether it is well. While it is not, the node's health endpoint answers 503 for this hostname, " +
			"and a `local_proxy` sends requests to other nodes. Default: the application is not asked.",
		Attributes: map[string]schema.Attribute{
			"type": schema.StringAttribute{
				Required: true, Validators: []validator.String{stringvalidator.OneOf(texts(spec.CheckTypes())...)},
				MarkdownDescription: "`http` asks for a page, `tcp` opens a connection, `command` runs a program, whose exit code 0 is well. All happens on the node itself.",
			},
			"port": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.Between(1, 65535)},
				MarkdownDescription: "TCP port to ask at, for `http` and `tcp`. Default: the application's, `port`.",
			},
			"path": schema.StringAttribute{
				Optional: true, Validators: []validator.String{stringvalidator.RegexMatches(pathPattern, "must begin with /")},
				MarkdownDescription: "What to ask for, for `http`. Default `/`.",
			},
			"host_header": schema.StringAttribute{
				Optional: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
				MarkdownDescription: "Host header to ask with, for `http`. Default: the hostname.",
			},
			"status": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.Between(200, 599)},
				MarkdownDescription: "The status that means well, for `http`. Default: any from 200 to 399.",
			},
			"command": schema.ListAttribute{
				Optional: true, ElementType: types.StringType, Validators: []validator.List{listvalidator.SizeAtLeast(1)},
				MarkdownDescription: "The program by its absolute path, then its arguments, for `command`. It runs as a user without privileges.",
			},
			"interval": number(spec.MaxCheckInterval, "Seconds from one check to the next. Default 1."),
			"timeout":  number(spec.MaxCheckInterval, "Seconds that a check may take. Default 1."),
			"fall":     number(spec.MaxCheckCount, "How many checks in a row must fail for the application to be unwell. Default 2."),
			"rise":     number(spec.MaxCheckCount, "How many checks in a row must pass for it to be well again. Default 2; an application that flaps needs longer."),
		},
	}
}

func removalAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Lets the nodes take a dead one of them out of its pool within seconds, and put it back when it is well, instead of waiting for Cloudflare's monitor. " +
			"Most of all nodes must agree, by the mesh and by the public address, so it takes three at least. The last enabled node always stays. Default: off.",
		Attributes: map[string]schema.Attribute{
			"api_token": schema.StringAttribute{
				Required: true, WriteOnly: true, Sensitive: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
				MarkdownDescription: "API token that the nodes use, with the permission " + cloudflare.PermissionPools(true).String() + ", with `session_affinity` also " +
					cloudflare.PermissionBalancers(true).String() + ", and no other. " +
					"It is in no state, plan or log; each node gets it encrypted to its own identity. Needs Terraform 1.11 or OpenTofu 1.11.",
			},
			"api_token_version": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(1),
				MarkdownDescription: "Change it together with `api_token`: Terraform cannot see that a write-only argument has changed. Default 1.",
			},
		},
	}
}

func proxyAttribute() schema.SingleNestedAttribute {
	port := func(description string) schema.Int64Attribute {
		return schema.Int64Attribute{Optional: true, Validators: []validator.Int64{int64validator.Between(1, 65535)}, MarkdownDescription: description}
	}
	tls := port("")
	tls.Computed, tls.Default = true, int64default.StaticInt64(tlsPort)
	tls.MarkdownDescription = "TCP port of HTTPS. Default 443."
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "A proxy on each node, in front of the application at `port`: it passes requests to the application on the same node, and over the mesh to another node " +
			"while that one is not well. Cloudflare then goes to the proxy, and so can a local network. While the node is unfit it refuses connections, which makes Cloudflare try another node at once. " +
			"Its ports are opened in the firewall of Atoll's node image. Default: none.",
		Attributes: map[string]schema.Attribute{
			"driver": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(spec.ProxyHAProxy)),
				Validators:          []validator.String{stringvalidator.OneOf(texts(spec.ProxyDrivers())...)},
				MarkdownDescription: "The program: `haproxy` (default).",
			},
			"port": port("TCP port of plain HTTP. Default: none; give this, `tls` or both."),
			"tls": schema.SingleNestedAttribute{
				Optional: true,
				MarkdownDescription: "HTTPS with a certificate of Cloudflare's Origin CA for each node, which Cloudflare trusts and browsers do not. The private key is made on the node and stays there. " +
					"Needs `proxied`, and the zone's SSL/TLS mode should be Full (strict).",
				Attributes: map[string]schema.Attribute{
					"port": tls,
					"validity_days": schema.Int64Attribute{
						Optional: true, Computed: true, Default: int64default.StaticInt64(defaultValidity),
						Validators: []validator.Int64{int64validator.OneOf(validities()...)},
						MarkdownDescription: "How long a certificate is valid: 7, 30, 90, 365, 730, 1095 or 5475 days. Default 5475. " +
							"A plan renews it when a third of that, or 90 days, is left.",
					},
				},
			},
		},
	}
}

// defaultValidity is the vendor's own choice. Renewing takes somebody who runs Terraform.
const defaultValidity = 5475

// validities are what the vendor offers, in days.
func validities() []int64 {
	var out []int64
	for _, days := range cloudflare.CertificateValidities() {
		out = append(out, int64(days))
	}
	return out
}
