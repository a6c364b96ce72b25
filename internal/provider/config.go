package provider

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/adoption"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// environment returns the value of an environment variable, empty when it is not set.
type environment func(name string) string

func processEnvironment(name string) string { return os.Getenv(name) }

// or returns the configured value, or that of the environment variable.
func (e environment) or(v types.String, name string) string {
	if v.IsNull() {
		return e(name)
	}
	return v.ValueString()
}

// ValidateConfig reports a signing key that is there but cannot be one, before anything is planned with it.
func (p *Provider) ValidateConfig(ctx context.Context, req provider.ValidateConfigRequest, resp *provider.ValidateConfigResponse) {
	var m Model
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || m.SigningKey.IsNull() || m.SigningKey.IsUnknown() {
		return
	}
	if _, err := trust.ParseSigningKey([]byte(m.SigningKey.ValueString())); err != nil {
		resp.Diagnostics.AddAttributeError(path.Root("signing_key"), "Signing key", fmt.Sprintf("%v.\n\n`atoll key new` makes one.", err))
	}
}

// config turns the provider block and the environment into what the operator acts with.
func (m Model) config(ctx context.Context, version string, env environment) (operator.Config, diag.Diagnostics) {
	cfg := operator.Config{Version: version, SigningKey: m.signingKey(env)}
	var diags diag.Diagnostics
	var l linodeModel
	if known(m.Linode) {
		diags.Append(m.Linode.As(ctx, &l, basetypes.ObjectAsOptions{})...)
	}
	cfg.Linode = linode.Config{
		Token: env.or(l.Token, envLinodeToken), URL: env.or(l.URL, envLinodeURL), APIVersion: env.or(l.APIVersion, envLinodeAPIVersion),
		UserAgent: "terraform-provider-atoll/" + version,
	}
	cfg.LinodeErr = unknownOne(map[string]unknowable{"linode": m.Linode, "linode.token": l.Token, "linode.url": l.URL, "linode.api_version": l.APIVersion})
	var c cloudflareModel
	if known(m.Cloudflare) {
		diags.Append(m.Cloudflare.As(ctx, &c, basetypes.ObjectAsOptions{})...)
	}
	cfg.Cloudflare, cfg.CloudflareErr = c.cloudflare(version, env)
	if err := unknownOne(map[string]unknowable{"cloudflare": m.Cloudflare, "cloudflare.api_token": c.APIToken, "cloudflare.base_url": c.BaseURL}); err != nil {
		cfg.CloudflareErr = err
	}
	var s sshModel
	if known(m.SSH) {
		diags.Append(m.SSH.As(ctx, &s, basetypes.ObjectAsOptions{})...)
	}
	cfg.Adoption = s.adoption(env)
	cfg.Adoption.Binary = env.or(m.AgentBinary, envAgentBinary)
	if err := unknownOne(map[string]unknowable{
		"ssh": m.SSH, "ssh.private_key": s.PrivateKey, "ssh.private_key_file": s.PrivateKeyFile, "ssh.agent": s.Agent,
		"ssh.known_hosts_file": s.KnownHostsFile, "agent_binary": m.AgentBinary,
	}); err != nil {
		cfg.Adoption.Err = err
	}
	return cfg, diags
}

func (m Model) signingKey(env environment) func() (*trust.SigningKey, error) {
	return func() (*trust.SigningKey, error) {
		switch {
		case m.SigningKey.IsUnknown():
			return nil, &operator.UnknownError{Attribute: "signing_key"}
		case m.SigningKey.IsNull():
			return trust.SigningKeyFromEnvironment(env)
		default:
			return trust.ParseSigningKey([]byte(m.SigningKey.ValueString()))
		}
	}
}

func (c cloudflareModel) cloudflare(version string, env environment) (cloudflare.Config, error) {
	out := cloudflare.Config{
		Token: env.or(c.APIToken, envCloudflareToken), URL: env.or(c.BaseURL, envCloudflareURL),
		UserAgent: "terraform-provider-atoll/" + version,
	}
	file := env(envCloudflareFile)
	switch {
	case !c.APIToken.IsNull() || file == "":
	case out.Token != "":
		return out, fmt.Errorf("both %s and %s are set; unset one", envCloudflareToken, envCloudflareFile)
	default:
		data, err := os.ReadFile(file)
		if err != nil {
			return out, fmt.Errorf("read the Cloudflare token named by %s: %w", envCloudflareFile, err)
		}
		out.Token = strings.TrimSpace(string(data))
	}
	return out, nil
}

func (s sshModel) adoption(env environment) adoption.Config {
	out := adoption.Config{KnownHosts: env.or(s.KnownHostsFile, envSSHKnownHosts)}
	if out.KnownHosts == "" {
		out.KnownHosts = adoption.DefaultKnownHosts()
	}
	if s.Agent.IsNull() || s.Agent.ValueBool() {
		out.AgentSocket = env(envSSHAgent)
	}
	file := s.PrivateKeyFile.ValueString()
	out.PrivateKey = adoption.Secret(s.PrivateKey.ValueString())
	if file == "" && out.PrivateKey == "" {
		out.PrivateKey, file = adoption.Secret(env(envSSHKey)), env(envSSHKeyFile)
	}
	if file != "" && out.PrivateKey == "" {
		out.PrivateKey, out.Err = adoption.ReadKeyFile(file)
	}
	return out
}

type unknowable interface{ IsUnknown() bool }

// unknownOne returns the error for the first value, by name, that is not known yet.
func unknownOne(values map[string]unknowable) error {
	first := ""
	for name, v := range values {
		if v.IsUnknown() && (first == "" || name < first) {
			first = name
		}
	}
	if first == "" {
		return nil
	}
	return &operator.UnknownError{Attribute: first}
}

func known(v interface {
	IsNull() bool
	IsUnknown() bool
},
) bool {
	return !v.IsNull() && !v.IsUnknown()
}
