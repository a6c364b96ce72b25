// Package node is the resource atoll_node: a machine that runs the agent and is a member of a cluster.
package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/objectvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/objectplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ResourceType is the resource's name in configurations.
const ResourceType = "atoll_node"

// Default timeouts.
const (
	createTimeout = 20 * time.Minute
	updateTimeout = 5 * time.Minute
	deleteTimeout = 10 * time.Minute
)

// Schema returns the resource's schema.
func Schema(ctx context.Context) schema.Schema {
	keep := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	return schema.Schema{
		MarkdownDescription: "A node: a machine that runs Atoll's agent and is a member of a cluster. " +
			"Write exactly one of `linode` (an instance that is created), `ssh` (an existing machine that is adopted) and `seed` (a machine that boots the node " +
			"image with a seed and joins by itself).\n\n" +
			"Creating a node returns when its agent has joined and the node is as described. " +
			"Destroying it removes it from the cluster first, at every other node, and its machine (or the agent on an adopted machine) afterwards; " +
			"that works too when the machine is already gone.",
		Attributes: map[string]schema.Attribute{
			"id": schema.StringAttribute{
				Computed: true, MarkdownDescription: "`CLUSTER/NODE`.", PlanModifiers: keep,
			},
			"cluster": reference.ClusterAttribute("The cluster that the node is a member of: an `atoll_cluster`."),
			"name": schema.StringAttribute{
				Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
				MarkdownDescription: fmt.Sprintf("Name of the node, unique in its cluster: lower-case letters, digits and inner hyphens, at most %d characters.", spec.MaxNameLength),
			},
			"failure_domain": schema.SingleNestedAttribute{
				Optional: true, Computed: true,
				MarkdownDescription: "What fails together with this node. For a Linode it is `linode` and the region unless it is given.",
				PlanModifiers:       []planmodifier.Object{objectplanmodifier.UseStateForUnknown()},
				Attributes: map[string]schema.Attribute{
					"provider": schema.StringAttribute{Required: true, MarkdownDescription: "Whose machine it is, for example `linode`."},
					"site":     schema.StringAttribute{Required: true, MarkdownDescription: "Where it stands, for example `hong-kong`."},
				},
			},
			"mesh_address": schema.StringAttribute{
				Optional: true, Computed: true, PlanModifiers: keep,
				MarkdownDescription: "The node's address in the cluster's `mesh_cidr`. One is chosen by the node's name unless it is given.",
			},
			"addresses": schema.ListAttribute{
				Optional: true, Computed: true, ElementType: types.StringType,
				Validators: []validator.List{listvalidator.UniqueValues()},
				MarkdownDescription: "Public addresses or host names at which the other nodes and the operator reach the node, best first. " +
					"A Linode's are known; other machines have `ssh.host` or `seed.host` unless others are given. An empty list is for a machine that can reach others but not be reached.",
			},
			"public_ports":  portsAttribute(),
			"firewall":      firewallAttribute(),
			"host_firewall": hostFirewallAttribute(),
			"linode":        linodeAttribute(),
			"ssh":           sshAttribute(),
			"seed":          seedAttribute(),
			"endpoints": schema.ListAttribute{
				Computed: true, ElementType: types.StringType,
				MarkdownDescription: "`host:port` of the agent's API at each of `addresses`.",
			},
			"identity": schema.StringAttribute{
				Computed: true, PlanModifiers: keep,
				MarkdownDescription: "The node's identity key (its public half), pinned since it joined. A node that is made again has another one.",
			},
			"instance_id": schema.StringAttribute{
				Computed: true, PlanModifiers: keep,
				MarkdownDescription: "The vendor's id of the machine; null for an adopted machine.",
			},
			"linode_firewall": linodeFirewallAttribute(),
			"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
				Create: true, Update: true, Delete: true,
				CreateDescription: "How long making the machine and joining may take together. Default 20m.",
				UpdateDescription: "How long a change may take to reach the node. Default 5m.",
				DeleteDescription: "How long removing the node and its machine may take. Default 10m.",
			}),
		},
	}
}

func linodeAttribute() schema.SingleNestedAttribute {
	replace := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	generations := make([]string, 0, 2)
	for _, g := range linode.Generations() {
		generations = append(generations, string(g))
	}
	return schema.SingleNestedAttribute{
		Optional:            true,
		MarkdownDescription: "An instance that is created at Linode. Needs the provider's Linode token.",
		Validators: []validator.Object{
			objectvalidator.ExactlyOneOf(path.MatchRoot("linode"), path.MatchRoot("ssh"), path.MatchRoot("seed")),
		},
		Attributes: map[string]schema.Attribute{
			"region": schema.StringAttribute{Required: true, PlanModifiers: replace, MarkdownDescription: "Region, for example `ap-south`. Changing it makes a new node."},
			"type":   schema.StringAttribute{Required: true, PlanModifiers: replace, MarkdownDescription: "Type, for example `g6-nanode-1`. Changing it makes a new node."},
			"image": schema.StringAttribute{Required: true, MarkdownDescription: "Image that the machine is made of, with Atoll's agent in it: `atoll_image.node.id`, " +
				"or another image's id such as `private/12345`. A change holds for the next machine; the one that exists stays, until " +
				"`terraform apply -replace=ADDRESS` makes it again: that way the nodes of a cluster move to a new image one after the other. " +
				"An image for another architecture, or whose agent speaks another version of Atoll, is refused at plan time as far as its tags tell, and by the nodes otherwise."},
			"label": schema.StringAttribute{
				Optional: true, Computed: true,
				MarkdownDescription: "Label of the instance, unique in the account. Default `CLUSTER-NODE`.",
				Validators:          []validator.String{stringvalidator.LengthBetween(3, 64)},
			},
			"tags": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				MarkdownDescription: "Tags of the instance, beside the one (`atoll:CLUSTER/NODE`) by which Atoll knows its own.",
			},
			"authorized_keys": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				MarkdownDescription: "SSH public keys for root, put there when the instance is created; a later change only holds for the next one. " +
					"Atoll itself needs none.",
			},
			"user_data": schema.StringAttribute{
				Optional: true, Sensitive: true, Validators: []validator.String{userDataValidator{}},
				MarkdownDescription: "Your own user-data for cloud-init, such as a `#cloud-config`, a script or what the `cloudinit_config` data source renders " +
					"(with `gzip = false` and `base64_encode = false`). It runs beside Atoll's first-boot data, which comes to the machine with it. " +
					fmt.Sprintf("At most %d KiB, in state as it is here. A later change only holds for the next machine.", maxOwnUserData>>10),
			},
			"firewall_id": schema.Int64Attribute{
				Optional: true, PlanModifiers: []planmodifier.Int64{replaceKnownInt64()},
				MarkdownDescription: "Id of somebody else's Cloud Firewall for the instance. It must let the cluster's ports in. Changing it makes a new node. With `firewall` Atoll makes one and keeps it.",
			},
			"firewall": cloudFirewallAttribute(),
			"interface_generation": schema.StringAttribute{
				Optional: true, Computed: true, PlanModifiers: []planmodifier.String{replaceKnownString()},
				Default:    stringdefault.StaticString(string(linode.GenerationLegacyConfig)),
				Validators: []validator.String{stringvalidator.OneOf(generations...)},
				MarkdownDescription: "How the instance's network interfaces are managed, one of `" + strings.Join(generations, "`, `") +
					"`; which are allowed is a setting of the account. Default `" + string(linode.GenerationLegacyConfig) + "`. Changing it makes a new node.",
			},
		},
	}
}

func sshAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "An existing Linux machine with systemd that is adopted over SSH: the agent is installed and joins. " +
			"Needs the provider's SSH credentials, and its `agent_binary` unless the machine has the agent already.",
		Attributes: map[string]schema.Attribute{
			"host": schema.StringAttribute{
				Required: true, PlanModifiers: []planmodifier.String{replaceKnownString()},
				MarkdownDescription: "Address or host name. Changing it makes a new node.",
			},
			"port": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(22),
				MarkdownDescription: "Port of the SSH server. Default 22.", Validators: []validator.Int64{int64validator.Between(1, 65535)},
			},
			"user": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString("root"),
				MarkdownDescription: "User to log in as: root, or one who may become root by `sudo` without a password. Default `root`.",
			},
			"host_key": schema.StringAttribute{
				Optional: true, Validators: []validator.String{hostKeyValidator{}},
				MarkdownDescription: "The machine's SSH host key as `ssh-keyscan` prints it, for example `ssh-ed25519 AAAA…`. " +
					"Without it the key must be in the provider's `ssh.known_hosts_file`. No key is trusted at first sight.",
			},
		},
	}
}
