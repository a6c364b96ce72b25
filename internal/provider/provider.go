// Package provider is Atoll's provider for Terraform and OpenTofu. It signs objects, makes machines and waits for what the
// agents report; each resource has a package of its own below.
package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/cluster"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/clusterstatus"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/database"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/databasedsn"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/databasemember"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/failureanalysis"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/image"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/loadbalancer"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/meshlink"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/modefunction"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/node"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/nodestatus"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/portsfunction"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/replicationpair"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/upstreamconfig"
)

// Address is the provider's address in the registry.
const Address = "registry.terraform.io/atollhq/atoll"

// Provider is the provider. Its zero value is not ready; use New.
type Provider struct {
	version string
	env     environment
	adjust  func(*operator.Config)
}

var (
	_ provider.Provider                   = (*Provider)(nil)
	_ provider.ProviderWithValidateConfig = (*Provider)(nil)
	_ provider.ProviderWithFunctions      = (*Provider)(nil)
)

// Option changes a provider, for tests.
type Option func(*Provider)

// WithEnvironment makes the provider read environment variables by get instead of os.Getenv.
func WithEnvironment(get func(string) string) Option { return func(p *Provider) { p.env = get } }

// WithConfig lets adjust change what the provider block said, for example to shorten pauses.
func WithConfig(adjust func(*operator.Config)) Option { return func(p *Provider) { p.adjust = adjust } }

// New returns what makes the provider of that version.
func New(version string, options ...Option) func() provider.Provider {
	return func() provider.Provider {
		p := &Provider{version: version, env: processEnvironment}
		for _, o := range options {
			o(p)
		}
		return p
	}
}

// Metadata sets the provider's name.
func (p *Provider) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName, resp.Version = "atoll", p.version
}

// Schema returns the schema.
func (p *Provider) Schema(ctx context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = Schema(ctx)
}

// Configure collects the credentials. It reads no key and reaches nobody: what needs a credential says so when it is missing.
func (p *Provider) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var m Model
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	cfg, diags := m.config(ctx, p.version, p.env)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	if p.adjust != nil {
		p.adjust(&cfg)
	}
	op := operator.New(cfg)
	resp.ResourceData, resp.DataSourceData = op, op
}

// Resources lists the resources.
func (p *Provider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{
		cluster.NewResource,
		database.NewResource,
		databasemember.NewResource,
		failureanalysis.NewResource,
		image.NewResource,
		loadbalancer.NewResource,
		meshlink.NewResource,
		node.NewResource,
		replicationpair.NewResource,
	}
}

// DataSources lists the data sources.
func (p *Provider) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{
		clusterstatus.NewDataSource,
		nodestatus.NewDataSource,
	}
}

// Functions lists the functions.
func (p *Provider) Functions(context.Context) []func() function.Function {
	return []func() function.Function{
		databasedsn.NewDirect,
		databasedsn.NewRouter,
		portsfunction.New,
		modefunction.New,
		upstreamconfig.NewApache,
		upstreamconfig.NewNginx,
	}
}
