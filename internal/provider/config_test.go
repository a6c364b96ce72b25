package provider_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// configure configures a provider as Terraform does and returns what came of it. Values holds the arguments that are set:
// text, a bool, tftypes.UnknownValue, or a map of these.
func configure(t *testing.T, env map[string]string, values map[string]any) operator.Config {
	t.Helper()
	var out operator.Config
	server := providerserver.NewProtocol6(provider.New("test",
		provider.WithEnvironment(func(name string) string { return env[name] }),
		provider.WithConfig(func(c *operator.Config) { out = *c }),
	)())()
	schema, err := server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	object, ok := schema.Provider.ValueType().(tftypes.Object)
	if !ok {
		t.Fatalf("the provider's schema is a %T", schema.Provider.ValueType())
	}
	config, err := tfprotov6.NewDynamicValue(object, objectOf(object, values))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.ConfigureProvider(context.WithoutCancel(t.Context()), &tfprotov6.ConfigureProviderRequest{Config: &config})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range resp.Diagnostics {
		t.Fatalf("%s: %s", d.Summary, d.Detail)
	}
	return out
}

func objectOf(object tftypes.Object, values map[string]any) tftypes.Value {
	out := map[string]tftypes.Value{}
	for name, kind := range object.AttributeTypes {
		value, set := values[name]
		inner, isObject := kind.(tftypes.Object)
		nested, isMap := value.(map[string]any)
		switch {
		case !set:
			out[name] = tftypes.NewValue(kind, nil)
		case isObject && isMap:
			out[name] = objectOf(inner, nested)
		default:
			out[name] = tftypes.NewValue(kind, value)
		}
	}
	return tftypes.NewValue(object, out)
}

func TestConfigurationBeatsEnvironment(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"LINODE_TOKEN": "env-token", "LINODE_URL": "https://env", "LINODE_API_VERSION": "v4beta", "ATOLL_AGENT_BINARY": "/env/atolld",
		"CLOUDFLARE_API_TOKEN": "env-edge", "CLOUDFLARE_BASE_URL": "https://edge.env", "SSH_AUTH_SOCK": "/env/agent", "ATOLL_SSH_PRIVATE_KEY": "env-key", "ATOLL_SSH_KNOWN_HOSTS_FILE": "/env/known_hosts",
	}
	c := configure(t, env, nil)
	if c.Linode.Token != "env-token" || c.Linode.URL != "https://env" || c.Linode.APIVersion != "v4beta" || c.LinodeErr != nil {
		t.Errorf("from the environment: got %+v, %v", c.Linode, c.LinodeErr)
	}
	if a := c.Adoption; a.PrivateKey != "env-key" || a.AgentSocket != "/env/agent" || a.KnownHosts != "/env/known_hosts" || a.Binary != "/env/atolld" || a.Err != nil {
		t.Errorf("from the environment: got %+v", a)
	}
	if c.Cloudflare.Token != "env-edge" || c.Cloudflare.URL != "https://edge.env" || c.CloudflareErr != nil {
		t.Errorf("from the environment: got %+v, %v", c.Cloudflare, c.CloudflareErr)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("file-key"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = configure(t, env, map[string]any{
		"linode":       map[string]any{"token": "token", "url": "https://api", "api_version": "v4"},
		"cloudflare":   map[string]any{"api_token": "edge", "base_url": "https://edge"},
		"ssh":          map[string]any{"private_key_file": key, "agent": false, "known_hosts_file": "/known_hosts"},
		"agent_binary": "/atolld",
	})
	if c.Linode.Token != "token" || c.Linode.URL != "https://api" || c.Linode.APIVersion != "v4" {
		t.Errorf("from the configuration: got %+v", c.Linode)
	}
	if c.Cloudflare.Token != "edge" || c.Cloudflare.URL != "https://edge" {
		t.Errorf("from the configuration: got %+v", c.Cloudflare)
	}
	if a := c.Adoption; a.PrivateKey != "file-key" || a.AgentSocket != "" || a.KnownHosts != "/known_hosts" || a.Binary != "/atolld" {
		t.Errorf("from the configuration: got %+v", a)
	}
}

// TestUnknownCredentials configures a provider whose credentials are not known yet. Only what needs one complains.
func TestUnknownCredentials(t *testing.T) {
	t.Parallel()
	unknown := any(tftypes.UnknownValue)
	for attribute, values := range map[string]map[string]any{
		"signing_key":          {"signing_key": unknown},
		"linode":               {"linode": unknown},
		"linode.token":         {"linode": map[string]any{"token": unknown}},
		"cloudflare":           {"cloudflare": unknown},
		"cloudflare.api_token": {"cloudflare": map[string]any{"api_token": unknown}},
		"ssh.private_key":      {"ssh": map[string]any{"private_key": unknown}},
		"agent_binary":         {"agent_binary": unknown},
	} {
		c := configure(t, nil, values)
		op := operator.New(c)
		_, keyErr := op.Key()
		_, linodeErr := op.Linode()
		_, edgeErr := op.Cloudflare()
		var found *operator.UnknownError
		if !errors.As(errors.Join(keyErr, linodeErr, edgeErr, op.Adoption().Err), &found) || found.Attribute != attribute {
			t.Errorf("%s: got %v, want it named", attribute, found)
		}
	}
}

func TestMissingCredentials(t *testing.T) {
	t.Parallel()
	op := operator.New(configure(t, nil, nil))
	if _, err := op.Key(); !errors.Is(err, trust.ErrNoSigningKey) {
		t.Errorf("got error %v, want ErrNoSigningKey", err)
	}
	if _, err := op.Linode(); !errors.Is(err, operator.ErrNoLinodeToken) {
		t.Errorf("got error %v, want ErrNoLinodeToken", err)
	}
	if _, err := op.Cloudflare(); !errors.Is(err, operator.ErrNoCloudflareToken) {
		t.Errorf("got error %v, want ErrNoCloudflareToken", err)
	}
}

// TestCloudflareTokenFile reads the token from the file that the environment names; two tokens are one too many.
func TestCloudflareTokenFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("file-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"CLOUDFLARE_API_TOKEN_FILE": file}
	if c := configure(t, env, nil); c.Cloudflare.Token != "file-token" || c.CloudflareErr != nil {
		t.Errorf("got %v", c.CloudflareErr)
	}
	if c := configure(t, env, map[string]any{"cloudflare": map[string]any{"api_token": "edge"}}); c.Cloudflare.Token != "edge" || c.CloudflareErr != nil {
		t.Errorf("with an argument: got %v", c.CloudflareErr)
	}
	env["CLOUDFLARE_API_TOKEN"] = "env-edge"
	if c := configure(t, env, nil); c.CloudflareErr == nil {
		t.Error("two tokens were accepted")
	}
	absent := map[string]string{"CLOUDFLARE_API_TOKEN_FILE": file + ".absent"}
	if c := configure(t, absent, nil); !errors.Is(c.CloudflareErr, os.ErrNotExist) {
		t.Errorf("got error %v, want that the file does not exist", c.CloudflareErr)
	}
}

func TestUnreadableKeyFile(t *testing.T) {
	t.Parallel()
	c := configure(t, nil, map[string]any{"ssh": map[string]any{"private_key_file": filepath.Join(t.TempDir(), "absent")}})
	if !errors.Is(c.Adoption.Err, os.ErrNotExist) {
		t.Errorf("got error %v, want that the file does not exist", c.Adoption.Err)
	}
}
