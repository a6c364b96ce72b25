package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// The environment variables that stand for arguments. Those of Linode and Cloudflare are the vendors' own, but for the file.
const (
	envLinodeToken      = "LINODE_TOKEN"
	envLinodeURL        = "LINODE_URL"
	envLinodeAPIVersion = "LINODE_API_VERSION"
	envCloudflareToken  = "CLOUDFLARE_API_TOKEN"
	envCloudflareFile   = "CLOUDFLARE_API_TOKEN_FILE"
	envCloudflareURL    = "CLOUDFLARE_BASE_URL"
	envSSHKey           = "ATOLL_SSH_PRIVATE_KEY"
	envSSHKeyFile       = "ATOLL_SSH_PRIVATE_KEY_FILE"
	envSSHAgent         = "SSH_AUTH_SOCK"
	envSSHKnownHosts    = "ATOLL_SSH_KNOWN_HOSTS_FILE"
	envAgentBinary      = "ATOLL_AGENT_BINARY"
)

// Model is the provider's configuration.
type Model struct {
	SigningKey  types.String `tfsdk:"signing_key"`
	Linode      types.Object `tfsdk:"linode"`
	Cloudflare  types.Object `tfsdk:"cloudflare"`
	SSH         types.Object `tfsdk:"ssh"`
	AgentBinary types.String `tfsdk:"agent_binary"`
}

type linodeModel struct {
	Token      types.String `tfsdk:"token"`
	URL        types.String `tfsdk:"url"`
	APIVersion types.String `tfsdk:"api_version"`
}

type cloudflareModel struct {
	APIToken types.String `tfsdk:"api_token"`
	BaseURL  types.String `tfsdk:"base_url"`
}

type sshModel struct {
	PrivateKey     types.String `tfsdk:"private_key"`
	PrivateKeyFile types.String `tfsdk:"private_key_file"`
	Agent          types.Bool   `tfsdk:"agent"`
	KnownHostsFile types.String `tfsdk:"known_hosts_file"`
}

// Schema returns the provider's schema: credentials only. Where nodes are is known from the resources themselves.
func Schema(context.Context) schema.Schema {
	return schema.Schema{
		MarkdownDescription: "Atoll runs one application cluster across cheap machines of several hosting providers, " +
			"so that no machine, data centre or provider can take it down.\n\n" +
			"The provider block holds credentials only, each of which may come from the environment instead. " +
			"A credential is needed only by what uses it.",
		Attributes: map[string]schema.Attribute{
			"signing_key": schema.StringAttribute{
				Optional: true, Sensitive: true,
				MarkdownDescription: "The cluster's signing key in PEM, made by `atoll key new`. " +
					"Or `ATOLL_SIGNING_KEY` (the key), or `ATOLL_SIGNING_KEY_FILE` (a file that holds it). It never enters state or plan.",
			},
			"linode": schema.SingleNestedAttribute{
				Optional: true, MarkdownDescription: "Credentials for Linode.",
				Attributes: map[string]schema.Attribute{
					"token": schema.StringAttribute{
						Optional: true, Sensitive: true,
						MarkdownDescription: "Personal access token with the scopes `linodes:read_write` and `events:read_only`, and `images:read_write` for `atoll_image`. Or `LINODE_TOKEN`.",
					},
					"url": schema.StringAttribute{
						Optional: true, MarkdownDescription: "Base URL of the API. Or `LINODE_URL`. Default `https://api.linode.com`.",
					},
					"api_version": schema.StringAttribute{
						Optional: true, MarkdownDescription: "Version of the API, `v4` or `v4beta`. Or `LINODE_API_VERSION`. Default `v4`.",
						Validators: []validator.String{stringvalidator.OneOf("v4", "v4beta")},
					},
				},
			},
			"cloudflare": schema.SingleNestedAttribute{
				Optional: true, MarkdownDescription: "Credentials for Cloudflare.",
				Attributes: map[string]schema.Attribute{
					"api_token": schema.StringAttribute{
						Optional: true, Sensitive: true,
						MarkdownDescription: "API token (not the Global API Key) with the permissions that `atoll_load_balancer` names. " +
							"Or `CLOUDFLARE_API_TOKEN` (the token), or `CLOUDFLARE_API_TOKEN_FILE` (a file that holds it).",
					},
					"base_url": schema.StringAttribute{
						Optional: true, MarkdownDescription: "Base URL of the API with its version. Or `CLOUDFLARE_BASE_URL`. Default `https://api.cloudflare.com/client/v4`.",
					},
				},
			},
			"ssh": schema.SingleNestedAttribute{
				Optional: true, MarkdownDescription: "Credentials for machines that are adopted over SSH.",
				Attributes: map[string]schema.Attribute{
					"private_key": schema.StringAttribute{
						Optional: true, Sensitive: true,
						MarkdownDescription: "Private key in PEM or OpenSSH form, without a passphrase. Or `ATOLL_SSH_PRIVATE_KEY`.",
						Validators: []validator.String{
							stringvalidator.ConflictsWith(path.MatchRoot("ssh").AtName("private_key_file")),
						},
					},
					"private_key_file": schema.StringAttribute{
						Optional: true, MarkdownDescription: "File that holds the private key. Or `ATOLL_SSH_PRIVATE_KEY_FILE`.",
					},
					"agent": schema.BoolAttribute{
						Optional: true, MarkdownDescription: "Whether to use the SSH agent at `SSH_AUTH_SOCK`, if there is one. Default true.",
					},
					"known_hosts_file": schema.StringAttribute{
						Optional: true, MarkdownDescription: "File of known host keys. Or `ATOLL_SSH_KNOWN_HOSTS_FILE`. Default `~/.ssh/known_hosts`.",
					},
				},
			},
			"agent_binary": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "Path of the agent (`atolld`) to install on machines that are adopted; `{arch}` in it stands for `amd64` or `arm64`. " +
					"Or `ATOLL_AGENT_BINARY`.",
			},
		},
	}
}
