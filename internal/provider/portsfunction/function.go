// Package portsfunction holds the provider's function that says which ports of nodes are open, to whom and for what.
package portsfunction

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

var _ function.Function = (*Ports)(nil)

// Positions of the arguments.
const (
	atCluster int64 = iota
	atNodes
	atDatabases
	atMembers
	atBalancers
)

// argumentError is what is wrong with an argument.
type argumentError struct {
	at     int64
	reason string
}

func (e *argumentError) Error() string { return e.reason }

// Ports is the function ports.
type Ports struct{}

// New returns the function.
func New() function.Function { return &Ports{} }

// Metadata sets the function's name.
func (*Ports) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "ports"
}

// Definition says what the function takes. The parameters have types, with no more than is needed: a result of something sensitive
// is sensitive.
func (*Ports) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "Which ports of each node are open, to whom and for what",
		MarkdownDescription: "Returns which ports of each node are open, to whom and for what: a list for each node, by its name. It is what firewalls have to let in, " +
			"those of vendors included, and follows from the resources; nobody is asked. `atoll ports` prints the same table.\n\n" +
			"An element of a list is an object with `protocol` (`tcp` or `udp`), `port`, `service` (`mesh`, `api`, `health`, `gossip`, `ssh`, `proxy`, `application`, `database`, " +
			"`role-check` or `router`), `open_to`, `nodes` (the names of the nodes that connect to it), `operator` (whether the operator's programs do), `anybody` (whether " +
			"strangers do), `objects` (what it is there for, such as `database/app`) and `purpose` (in words).\n\n" +
			"`open_to` is `public` (everybody at the node's public addresses), `operator` (whoever administers the machine; the firewall of Atoll's image lets everybody in), " +
			"`mesh` (other nodes, at the mesh address) or `node` (the node itself alone). The mesh and the API are open to everybody although it is nodes that connect, " +
			"since nodes change and join from addresses that nobody knows yet.",
		Parameters: []function.Parameter{
			function.ObjectParameter{
				Name: "cluster", AttributeTypes: clusterTypes(), MarkdownDescription: "The cluster: an `atoll_cluster`.",
			},
			function.MapParameter{
				Name: "nodes", ElementType: types.ObjectType{AttrTypes: nodeTypes()},
				MarkdownDescription: "All nodes of the cluster: a map of `atoll_node`s, such as `atoll_node.web`.",
			},
			function.MapParameter{
				Name: "databases", ElementType: types.ObjectType{AttrTypes: databaseTypes()},
				MarkdownDescription: "The cluster's databases: a map of `atoll_database`s, such as `{ app = atoll_database.app }`; `{}` for none.",
			},
			function.MapParameter{
				Name: "members", ElementType: types.ObjectType{AttrTypes: memberTypes()},
				MarkdownDescription: "Their members: a map of `atoll_database_member`s; `{}` for none.",
			},
			function.MapParameter{
				Name: "load_balancers", ElementType: types.ObjectType{AttrTypes: balancerTypes()},
				MarkdownDescription: "The load balancers of the nodes: a map of `atoll_load_balancer`s; `{}` for none.",
			},
		},
		Return: function.MapReturn{ElementType: resultType()},
	}
}

// resultType is the type of a node's list.
func resultType() types.ListType {
	return types.ListType{ElemType: types.ObjectType{AttrTypes: portTypes()}}
}

func portTypes() map[string]attr.Type {
	texts := types.ListType{ElemType: types.StringType}
	return map[string]attr.Type{
		"protocol": types.StringType, "port": types.Int64Type, "service": types.StringType, "open_to": types.StringType, "nodes": texts,
		"operator": types.BoolType, "anybody": types.BoolType, "objects": texts, "purpose": types.StringType,
	}
}

// Run derives the ports.
func (*Ports) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var a arguments
	var cluster types.Object
	var rest [4]types.Map
	if resp.Error = req.Arguments.Get(ctx, &cluster, &rest[0], &rest[1], &rest[2], &rest[3]); resp.Error != nil {
		return
	}
	// Engines differ in whether they call a function while a part of its arguments is not known.
	for i, v := range []attr.Value{cluster, rest[0], rest[1], rest[2], rest[3]} {
		raw, err := v.ToTerraformValue(ctx)
		if err != nil {
			resp.Error = function.NewArgumentFuncError(int64(i), err.Error())
			return
		}
		if !raw.IsFullyKnown() {
			resp.Error = resp.Result.Set(ctx, types.MapUnknown(resultType()))
			return
		}
	}
	if resp.Error = req.Arguments.Get(ctx, &a.cluster, &a.nodes, &a.databases, &a.members, &a.balancers); resp.Error != nil {
		return
	}
	in, err := a.input()
	if err != nil {
		var wrong *argumentError
		if errors.As(err, &wrong) {
			resp.Error = function.NewArgumentFuncError(wrong.at, wrong.reason)
		} else {
			resp.Error = function.NewFuncError(err.Error())
		}
		return
	}
	resp.Error = resp.Result.Set(ctx, result(topology.Ports(in)))
}

// port is one element of a node's list.
type port struct {
	Protocol string   `tfsdk:"protocol"`
	Port     int64    `tfsdk:"port"`
	Service  string   `tfsdk:"service"`
	OpenTo   string   `tfsdk:"open_to"`
	Nodes    []string `tfsdk:"nodes"`
	Operator bool     `tfsdk:"operator"`
	Anybody  bool     `tfsdk:"anybody"`
	Objects  []string `tfsdk:"objects"`
	Purpose  string   `tfsdk:"purpose"`
}

func result(all map[string][]topology.Port) map[string][]port {
	out := map[string][]port{}
	for node, ports := range all {
		for _, p := range ports {
			row := port{
				Protocol: string(p.Protocol), Port: int64(p.Number), Service: string(p.Service), OpenTo: string(p.OpenTo),
				// Lists are empty rather than null: a configuration asks what they contain.
				Nodes: append([]string{}, p.Nodes...), Operator: p.Operator, Anybody: p.Anybody, Objects: []string{}, Purpose: p.Purpose,
			}
			for _, ref := range p.Objects {
				row.Objects = append(row.Objects, ref.String())
			}
			out[node] = append(out[node], row)
		}
	}
	return out
}
