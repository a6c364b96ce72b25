package loadbalancer

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// checkModel is how each node asks the application whether it is well.
type checkModel struct {
	Type       types.String `tfsdk:"type"`
	Port       types.Int64  `tfsdk:"port"`
	Path       types.String `tfsdk:"path"`
	HostHeader types.String `tfsdk:"host_header"`
	Status     types.Int64  `tfsdk:"status"`
	Command    types.List   `tfsdk:"command"`
	Interval   types.Int64  `tfsdk:"interval"`
	Timeout    types.Int64  `tfsdk:"timeout"`
	Fall       types.Int64  `tfsdk:"fall"`
	Rise       types.Int64  `tfsdk:"rise"`
}

// removalModel is how nodes take a dead one of them out.
type removalModel struct {
	// APIToken is write-only: it is in the configuration alone, never in a plan or a state.
	APIToken        types.String `tfsdk:"api_token"`
	APITokenVersion types.Int64  `tfsdk:"api_token_version"`
}

// proxyModel is what each node runs in front of the application.
type proxyModel struct {
	Driver types.String `tfsdk:"driver"`
	Port   types.Int64  `tfsdk:"port"`
	TLS    types.Object `tfsdk:"tls"`
}

// tlsModel is how the proxy speaks HTTPS.
type tlsModel struct {
	Port         types.Int64 `tfsdk:"port"`
	ValidityDays types.Int64 `tfsdk:"validity_days"`
}

// local is what a load balancer asks of the nodes themselves, in plain terms.
type local struct {
	check   *checkModel
	removal *removalModel
	proxy   *proxyModel
	tls     *tlsModel
	// unknown tells that it is not known yet which of them there are.
	unknown bool
}

// any tells whether the nodes have to know of the load balancer.
func (l local) any() bool { return l.check != nil || l.removal != nil || l.proxy != nil }

// local reads the arguments for the nodes. Values inside may be unknown.
func (m *Model) local(ctx context.Context) (local, diag.Diagnostics) {
	var l local
	var diags diag.Diagnostics
	l.check = readOne[checkModel](ctx, m.ApplicationCheck, &l.unknown, &diags)
	l.removal = readOne[removalModel](ctx, m.QuickRemoval, &l.unknown, &diags)
	l.proxy = readOne[proxyModel](ctx, m.LocalProxy, &l.unknown, &diags)
	if l.removal != nil {
		l.removal.APITokenVersion = orInt64(l.removal.APITokenVersion, 1)
	}
	if l.proxy != nil {
		l.proxy.Driver = orString(l.proxy.Driver, string(spec.ProxyHAProxy))
		l.tls = readOne[tlsModel](ctx, l.proxy.TLS, &l.unknown, &diags)
	}
	if l.tls != nil {
		l.tls.Port, l.tls.ValidityDays = orInt64(l.tls.Port, tlsPort), orInt64(l.tls.ValidityDays, defaultValidity)
	}
	return l, diags
}

// readOne decodes an object, nil when it is null or unknown.
func readOne[T any](ctx context.Context, o types.Object, unknown *bool, diags *diag.Diagnostics) *T {
	if o.IsUnknown() {
		*unknown = true
	}
	if !known(o) {
		return nil
	}
	var out T
	diags.Append(o.As(ctx, &out, basetypes.ObjectAsOptions{})...)
	return &out
}

// toSpec returns the check as the nodes know it. Host is what it asks for unless it says so itself.
func (c *checkModel) toSpec(host string) *spec.ApplicationCheck {
	if c == nil {
		return nil
	}
	out := &spec.ApplicationCheck{
		Type: spec.CheckType(c.Type.ValueString()), Port: int(c.Port.ValueInt64()), Path: c.Path.ValueString(),
		HostHeader: c.HostHeader.ValueString(), Status: int(c.Status.ValueInt64()), Command: listStrings(c.Command),
		Interval: int(c.Interval.ValueInt64()), Timeout: int(c.Timeout.ValueInt64()), Fall: int(c.Fall.ValueInt64()), Rise: int(c.Rise.ValueInt64()),
	}
	if out.Type == spec.CheckHTTP && out.HostHeader == "" {
		out.HostHeader = host
	}
	return out
}

// listStrings returns the list's elements in their order, nil while one of them is unknown.
func listStrings(l types.List) []string {
	var out []string
	for _, e := range l.Elements() {
		t, ok := e.(types.String)
		if !ok || !known(t) {
			return nil
		}
		out = append(out, t.ValueString())
	}
	return out
}

// ports returns the proxy's ports, 0 for one that there is not or that is unknown.
func (l local) ports() (plain, tls int) {
	if l.proxy != nil {
		plain = int(l.proxy.Port.ValueInt64())
	}
	if l.tls != nil {
		tls = int(l.tls.Port.ValueInt64())
	}
	return plain, tls
}

// The ports that Cloudflare uses of its own accord, for http and for https.
const (
	webPort = 80
	tlsPort = 443
)

// edgePort is where Cloudflare finds the proxy: its TLS port when there is one. 0 leaves the choice to the protocol, which both
// usual ports allow.
func (l local) edgePort() int {
	plain, tls := l.ports()
	switch {
	case plain == webPort && tls == tlsPort:
		return 0
	case tls != 0:
		return tls
	default:
		return plain
	}
}

// toSpec returns the proxy as the nodes know it, without its certificates.
func (l local) toSpec() *spec.Proxy {
	if l.proxy == nil {
		return nil
	}
	plain, tls := l.ports()
	return &spec.Proxy{Driver: spec.ProxyDriver(l.proxy.Driver.ValueString()), Port: plain, TLSPort: tls}
}
