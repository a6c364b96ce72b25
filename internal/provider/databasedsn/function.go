// Package databasedsn holds the provider's functions that write down how applications reach a database.
package databasedsn

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/router/dsn"
)

var (
	_ function.Function = (*Router)(nil)
	_ function.Function = (*Direct)(nil)
)

// form is one way to write down where a database is.
type form struct {
	name, of string
	write    func(dsn.Target) (string, error)
	// secret tells that the text has a place for the password.
	secret bool
}

func forms() []form {
	return []form{
		{"go", "Go's `github.com/go-sql-driver/mysql`", dsn.Target.Go, true},
		{"jdbc", "Java's Connector/J", dsn.Target.JDBC, true},
		{"pdo", "PHP's PDO, which takes user and password apart from it", dsn.Target.PDO, false},
		{"url", "a `mysql://` URL, as most frameworks take it", dsn.Target.URL, true},
	}
}

// where is what the functions take of an atoll_database.
type where struct {
	Port   types.Int64           `tfsdk:"port"`
	Router reference.RouterPorts `tfsdk:"router"`
}

func databaseParameter() function.ObjectParameter {
	return function.ObjectParameter{
		Name: "database", MarkdownDescription: "The database: an `atoll_database`.",
		AttributeTypes: map[string]attr.Type{"port": types.Int64Type, "router": types.ObjectType{AttrTypes: reference.RouterPortTypes()}},
	}
}

func accountParameters() []function.Parameter {
	return []function.Parameter{
		function.StringParameter{Name: "schema", MarkdownDescription: "Which of `databases` to use; `\"\"` for none."},
		function.StringParameter{Name: "user", MarkdownDescription: "The user's name; `\"\"` for none."},
	}
}

func passwordParameter() function.StringParameter {
	return function.StringParameter{Name: "password", MarkdownDescription: "The user's password, at most once. A result of a sensitive password is sensitive."}
}

// account reads what every function ends with.
func account(t *dsn.Target, passwords []string, at int64) *function.FuncError {
	if len(passwords) > 1 {
		return function.NewArgumentFuncError(at, "a user has one password")
	}
	if len(passwords) == 1 {
		t.Password = passwords[0]
	}
	return nil
}

// Router is database_dsn: through the router on the application's own node.
type Router struct{}

// NewRouter returns the function.
func NewRouter() function.Function { return &Router{} }

// Metadata sets the function's name.
func (*Router) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "database_dsn"
}

// Definition says what the function takes.
func (*Router) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	var list []string
	for _, f := range forms() {
		list = append(list, fmt.Sprintf("`%s` (%s)", f.name, f.of))
	}
	resp.Definition = function.Definition{
		Summary: "How an application reaches a database through the router on its own node",
		MarkdownDescription: "Returns how an application reaches a database through the router on its own node, where a failover makes no difference to it: " +
			"a data source name or URL for `127.0.0.1` and the router's port. The same text is right on every node of the database.",
		Parameters: append([]function.Parameter{
			databaseParameter(),
			function.StringParameter{Name: "form", MarkdownDescription: "For whom: " + strings.Join(list, ", ") + "."},
			function.StringParameter{Name: "access", MarkdownDescription: "`write` for the port that leads to the primary, `read` for the one that leads to any member that is up to date."},
		}, accountParameters()...),
		VariadicParameter: passwordParameter(),
		Return:            function.StringReturn{},
	}
}

// Run writes the text.
func (*Router) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var database where
	var name, access string
	var t dsn.Target
	var passwords []string
	if resp.Error = req.Arguments.Get(ctx, &database, &name, &access, &t.Schema, &t.User, &passwords); resp.Error != nil {
		return
	}
	at := slices.IndexFunc(forms(), func(f form) bool { return f.name == name })
	if at < 0 {
		resp.Error = function.NewArgumentFuncError(1, fmt.Sprintf("%q is no form: write go, jdbc, pdo or url", name))
		return
	}
	chosen := forms()[at]
	switch access {
	case "write":
		t.Hosts = []string{dsn.Local(int(database.Router.WritePort.ValueInt64()))}
	case "read":
		t.Hosts = []string{dsn.Local(int(database.Router.ReadPort.ValueInt64()))}
	default:
		resp.Error = function.NewArgumentFuncError(2, fmt.Sprintf("%q is no access: write read or write", access))
		return
	}
	if resp.Error = account(&t, passwords, 5); resp.Error != nil {
		return
	}
	if t.Password != "" && !chosen.secret {
		resp.Error = function.NewArgumentFuncError(5, "a "+name+" text has no place for a password: give it to the application apart from it")
		return
	}
	answer(ctx, chosen.write, t, resp)
}

func answer(ctx context.Context, write func(dsn.Target) (string, error), t dsn.Target, resp *function.RunResponse) {
	text, err := write(t)
	if err != nil {
		resp.Error = function.NewFuncError(err.Error())
		return
	}
	resp.Error = resp.Result.Set(ctx, text)
}

// Direct is database_jdbc_url: without a router.
type Direct struct{}

// NewDirect returns the function.
func NewDirect() function.Function { return &Direct{} }

// Metadata sets the function's name.
func (*Direct) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "database_jdbc_url"
}

// Definition says what the function takes.
func (*Direct) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "A JDBC URL with all members of a database, for an application without a router",
		MarkdownDescription: "Returns the URL for Java's Connector/J that names several members, for an application on a machine of the mesh that has no router. " +
			"The driver takes the first member that answers and cannot tell which one takes writes, so prefer `database_dsn` wherever there is a router.",
		Parameters: append([]function.Parameter{
			databaseParameter(),
			function.ListParameter{
				Name: "addresses", ElementType: types.StringType,
				MarkdownDescription: "Addresses of the members in the order in which they are tried, such as `[for n in atoll_node.n : n.mesh_address]`.",
			},
		}, accountParameters()...),
		VariadicParameter: passwordParameter(),
		Return:            function.StringReturn{},
	}
}

// Run writes the URL.
func (*Direct) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var database where
	var addresses, passwords []string
	var t dsn.Target
	if resp.Error = req.Arguments.Get(ctx, &database, &addresses, &t.Schema, &t.User, &passwords); resp.Error != nil {
		return
	}
	for _, a := range addresses {
		t.Hosts = append(t.Hosts, net.JoinHostPort(a, strconv.FormatInt(database.Port.ValueInt64(), 10)))
	}
	if resp.Error = account(&t, passwords, 4); resp.Error != nil {
		return
	}
	answer(ctx, dsn.Target.JDBC, t, resp)
}
