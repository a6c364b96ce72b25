// Package upstreamconfig holds the provider's functions that write the configuration of load balancers of one's own.
package upstreamconfig

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/upstream"
)

var (
	_ function.Function = (*Nginx)(nil)
	_ function.Function = (*Apache)(nil)
)

// Positions of the arguments.
const (
	atName int64 = iota
	atNodes
	atOptions
)

// arguments are those of both functions.
type arguments struct {
	name    string
	nodes   map[string]member
	options *reader
	where   places
}

// take reads the arguments. ready is false when some part of them is not known yet: engines differ in whether they call a function
// then.
func take(ctx context.Context, req function.RunRequest) (a arguments, ready bool, failure *function.FuncError) {
	var nodes types.Map
	var options types.Dynamic
	if failure := req.Arguments.Get(ctx, &a.name, &nodes, &options); failure != nil {
		return a, false, failure
	}
	for i, v := range []attr.Value{nodes, options} {
		raw, err := v.ToTerraformValue(ctx)
		if err != nil {
			return a, false, function.NewArgumentFuncError(atNodes+int64(i), err.Error())
		}
		if !raw.IsFullyKnown() {
			return a, false, nil
		}
	}
	if diags := nodes.ElementsAs(ctx, &a.nodes, false); diags.HasError() {
		return a, false, function.FuncErrorFromDiags(ctx, diags)
	}
	a.options = read("options", options)
	a.where = readPlaces(a.options)
	return a, true, nil
}

// members ends the reading: it returns the nodes unless there was something wrong with the options.
func (a arguments) members() ([]upstream.Node, error) {
	if err := a.options.end(); err != nil {
		return nil, &upstream.Error{Part: upstream.InOptions, Reason: err.Error()}
	}
	return a.where.nodes(a.nodes)
}

// blame puts an error on the argument that it is about.
func blame(err error) *function.FuncError {
	var wrong *upstream.Error
	if !errors.As(err, &wrong) {
		return function.NewFuncError(err.Error())
	}
	at := atOptions
	switch wrong.Part {
	case upstream.InName:
		at = atName
	case upstream.InNodes:
		at = atNodes
	case upstream.InOptions:
	}
	return function.NewArgumentFuncError(at, wrong.Reason)
}

// Nginx is nginx_upstream.
type Nginx struct{}

// NewNginx returns the function.
func NewNginx() function.Function { return &Nginx{} }

// Metadata sets the function's name.
func (*Nginx) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "nginx_upstream"
}

func nginxTypes() map[string]attr.Type {
	return map[string]attr.Type{"http": types.StringType, "server": types.StringType, "location": types.StringType}
}

// Definition says what the function takes.
func (*Nginx) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "Configuration of an nginx of your own that leads to nodes",
		MarkdownDescription: "Returns the configuration of an nginx of your own that leads to nodes, in three texts, each for its place: `http` beside servers (a file in " +
			"`conf.d`), `server` into the server, `location` into each location that the nodes serve. Connections to the nodes are kept, a node that takes " +
			"none within 2 s is passed by for 10 s, and a node that is not enabled stays in the text as `down`, so that the others keep their visitors. " +
			"nginx looks host names up once, when it starts.\n\n" +
			"~> **`ip_hash` behind Cloudflare**, or any other proxy, sees the proxy's address instead of the visitor's: visitors change nodes, or are all on one. " +
			"Write `client_address` then, with the networks that Cloudflare publishes; the comment in `server` says so, too. They are not part of Atoll, since " +
			"they change: take them from the data source `cloudflare_ip_ranges` of Cloudflare's provider. Let nobody else connect to that nginx.",
		Parameters: []function.Parameter{
			nameParameter("Name of the upstream."),
			nodesParameter(),
			function.DynamicParameter{
				Name: "options",
				MarkdownDescription: "An object, `{}` for none: " + placeOptions + ", `method` (`ip_hash`, the default; `least_conn` or `round_robin`, which have backups), " +
					"`sticky_cookie` (a cookie that the application ends with a dot and the node's name, as Tomcat does with `jvmRoute`: it leads there whatever " +
					"`method` says, and elsewhere when the node takes no connection), `keepalive` (idle connections that each worker process keeps to the nodes, default 100) and " +
					"`client_address` (an object: `header` such as `CF-Connecting-IP`, and `from`, the networks whose word is taken).",
			},
		},
		Return: function.ObjectReturn{AttributeTypes: nginxTypes()},
	}
}

// Run writes the texts.
func (*Nginx) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	a, ready, failure := take(ctx, req)
	if !ready {
		if resp.Error = failure; failure == nil {
			resp.Error = resp.Result.Set(ctx, types.ObjectUnknown(nginxTypes()))
		}
		return
	}
	options := a.options
	c := upstream.Nginx{
		Name: a.name, Method: upstream.NginxMethod(options.text("method", string(upstream.IPHash))),
		Sticky: upstream.Sticky{Cookie: options.text("sticky_cookie", "")}, Keepalive: options.number("keepalive", 100),
	}
	if client := options.object("client_address"); client != nil {
		c.Client = upstream.Client{Header: client.text("header", ""), From: client.texts("from")}
		if c.Client.Header == "" || len(c.Client.From) == 0 {
			client.fail("%s needs both header and from", client.in)
		}
		options.note(client.end())
	}
	var err error
	if c.Nodes, err = a.members(); err != nil {
		resp.Error = blame(err)
		return
	}
	text, err := c.Text()
	if err != nil {
		resp.Error = blame(err)
		return
	}
	resp.Error = resp.Result.Set(ctx, struct {
		HTTP     string `tfsdk:"http"`
		Server   string `tfsdk:"server"`
		Location string `tfsdk:"location"`
	}(text))
}

// Apache is apache_balancer.
type Apache struct{}

// NewApache returns the function.
func NewApache() function.Function { return &Apache{} }

// Metadata sets the function's name.
func (*Apache) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "apache_balancer"
}

// Definition says what the function takes.
func (*Apache) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "Configuration of an Apache of your own that leads to nodes",
		MarkdownDescription: "Returns the configuration of an Apache 2.4 of your own that leads to nodes by `mod_proxy_balancer`, for a virtual host. Each node's `route` is its name. " +
			"A node that takes no connection within 2 s is passed by for 10 s, and one that is not enabled stays in the text.\n\n" +
			"Apache needs the modules `proxy`, `proxy_http`, `proxy_balancer`, `slotmem_shm`, `headers` and `lbmethod_` with the method's name. Where one " +
			"virtual host has several balancers, the text with the longer paths comes first, or the others leave them out by `except`.",
		Parameters: []function.Parameter{
			nameParameter("Name of the balancer."),
			nodesParameter(),
			function.DynamicParameter{
				Name: "options",
				MarkdownDescription: "An object, `{}` for none: " + placeOptions + ", `method` (`byrequests`, the default, `bytraffic` or `bybusyness`), `sticky_cookie` (a cookie that " +
					"the application ends with a dot and the node's name, as Tomcat does with `jvmRoute`), `sticky_parameter` (a path parameter of the same form, such as " +
					"`jsessionid`), `set_cookie` (`true` for Apache to set `sticky_cookie` itself, where the application does not know its node's name), `paths` (what the " +
					"nodes serve, default `[\"/\"]`), `except` (what below them they do not) and `nocanon` (`true` to pass paths on as they came, with encoded slashes).",
			},
		},
		Return: function.StringReturn{},
	}
}

// Run writes the text.
func (*Apache) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	a, ready, failure := take(ctx, req)
	if !ready {
		if resp.Error = failure; failure == nil {
			resp.Error = resp.Result.Set(ctx, types.StringUnknown())
		}
		return
	}
	options := a.options
	c := upstream.Apache{
		Name: a.name, Method: upstream.ApacheMethod(options.text("method", string(upstream.ByRequests))),
		Sticky:    upstream.Sticky{Cookie: options.text("sticky_cookie", ""), Parameter: options.text("sticky_parameter", "")},
		SetCookie: options.flag("set_cookie", false), Paths: options.texts("paths", "/"), Except: options.texts("except"), NoCanon: options.flag("nocanon", false),
	}
	var err error
	if c.Nodes, err = a.members(); err != nil {
		resp.Error = blame(err)
		return
	}
	text, err := c.Text()
	if err != nil {
		resp.Error = blame(err)
		return
	}
	resp.Error = resp.Result.Set(ctx, text)
}
