package failureanalysis

import (
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// Model is the resource's state. Of each resource it takes what the analysis follows from and no more.
type Model struct {
	ID              types.String `tfsdk:"id"`
	Cluster         types.Object `tfsdk:"cluster"`
	Nodes           types.Map    `tfsdk:"nodes"`
	Links           types.Map    `tfsdk:"links"`
	Databases       types.Map    `tfsdk:"databases"`
	DatabaseMembers types.Map    `tfsdk:"database_members"`
	Pairs           types.Map    `tfsdk:"pairs"`
	LoadBalancers   types.Map    `tfsdk:"load_balancers"`
	Accept          types.Map    `tfsdk:"accept"`

	Findings types.List `tfsdk:"findings"`
	Losses   types.Map  `tfsdk:"losses"`
	Points   types.List `tfsdk:"single_points_of_failure"`
}

// besideNodes are the arguments but nodes.
func (m *Model) besideNodes() []attr.Value {
	return []attr.Value{m.Cluster, m.Links, m.Databases, m.DatabaseMembers, m.Pairs, m.LoadBalancers, m.Accept}
}

type named struct {
	Name types.String `tfsdk:"name"`
}

type cluster struct {
	Name  types.String  `tfsdk:"name"`
	Mesh  *clusterMesh  `tfsdk:"mesh"`
	Ports *clusterPorts `tfsdk:"ports"`
}

type clusterMesh struct {
	Driver types.String `tfsdk:"driver"`
	Port   types.Int64  `tfsdk:"port"`
}

type clusterPorts struct {
	API    types.Int64 `tfsdk:"api"`
	Health types.Int64 `tfsdk:"health"`
	Gossip types.Int64 `tfsdk:"gossip"`
	Map    types.Int64 `tfsdk:"map"`
}

// node is read while parts of it are unknown.
type node struct {
	Name          types.String `tfsdk:"name"`
	Cluster       types.Object `tfsdk:"cluster"`
	MeshAddress   types.String `tfsdk:"mesh_address"`
	Addresses     types.List   `tfsdk:"addresses"`
	FailureDomain types.Object `tfsdk:"failure_domain"`
	Firewall      types.Object `tfsdk:"firewall"`
}

type firewall struct {
	Inbound  []rule          `tfsdk:"inbound"`
	Outbound []rule          `tfsdk:"outbound"`
	Mesh     []rule          `tfsdk:"mesh"`
	Accept   *firewallAccept `tfsdk:"accept"`
}

type rule struct {
	Protocol types.String `tfsdk:"protocol"`
	Ports    []string     `tfsdk:"ports"`
	Peers    []string     `tfsdk:"peers"`
}

type firewallAccept struct {
	Blocked []string `tfsdk:"blocked"`
}

type link struct {
	From    *named     `tfsdk:"from"`
	To      *named     `tfsdk:"to"`
	TCPOnly types.Bool `tfsdk:"tcp_only"`
}

type database struct {
	Name   types.String    `tfsdk:"name"`
	Engine types.String    `tfsdk:"engine"`
	Votes  types.Int64     `tfsdk:"votes"`
	Port   types.Int64     `tfsdk:"port"`
	Router *router         `tfsdk:"router"`
	Accept *databaseAccept `tfsdk:"accept"`
}

type router struct {
	Driver    types.String `tfsdk:"driver"`
	WritePort types.Int64  `tfsdk:"write_port"`
	ReadPort  types.Int64  `tfsdk:"read_port"`
}

type databaseAccept struct {
	Providers []string `tfsdk:"provider_majority"`
	Sites     []string `tfsdk:"site_majority"`
}

type member struct {
	Database *named       `tfsdk:"database"`
	Node     *named       `tfsdk:"node"`
	Role     types.String `tfsdk:"role"`
}

type pair struct {
	Name  types.String       `tfsdk:"name"`
	Nodes map[string]pairEnd `tfsdk:"nodes"`
}

type pairEnd struct {
	Node *served      `tfsdk:"node"`
	Path types.String `tfsdk:"path"`
}

type served struct {
	Name    types.String `tfsdk:"name"`
	Cluster *named       `tfsdk:"cluster"`
}

type balancer struct {
	Hostname types.String       `tfsdk:"hostname"`
	Mode     types.String       `tfsdk:"mode"`
	Port     types.Int64        `tfsdk:"port"`
	Nodes    map[string]served  `tfsdk:"nodes"`
	Settings map[string]setting `tfsdk:"node_settings"`
	Removal  *removal           `tfsdk:"quick_removal"`
	Proxy    *proxy             `tfsdk:"local_proxy"`
}

type setting struct {
	Enabled types.Bool    `tfsdk:"enabled"`
	Weight  types.Float64 `tfsdk:"weight"`
	Port    types.Int64   `tfsdk:"port"`
}

// removal takes the one attribute of quick_removal that is not secret: what matters is whether there is one.
type removal struct {
	Version types.Int64 `tfsdk:"api_token_version"`
}

type proxy struct {
	Driver types.String `tfsdk:"driver"`
	Port   types.Int64  `tfsdk:"port"`
	TLS    *proxyTLS    `tfsdk:"tls"`
}

type proxyTLS struct {
	Port types.Int64 `tfsdk:"port"`
}

func findingTypes() map[string]attr.Type {
	list := types.ListType{ElemType: types.StringType}
	return map[string]attr.Type{
		"severity": types.StringType, "problem": types.StringType, "losses": list, "affected": list, "nodes": list,
		"message": types.StringType, "remedy": types.StringType, "accept": types.StringType, "accepted": types.BoolType,
	}
}

type finding struct {
	Severity string   `tfsdk:"severity"`
	Problem  string   `tfsdk:"problem"`
	Losses   []string `tfsdk:"losses"`
	Affected []string `tfsdk:"affected"`
	Nodes    []string `tfsdk:"nodes"`
	Message  string   `tfsdk:"message"`
	Remedy   string   `tfsdk:"remedy"`
	Accept   string   `tfsdk:"accept"`
	Accepted bool     `tfsdk:"accepted"`
}
