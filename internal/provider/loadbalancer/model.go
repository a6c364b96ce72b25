package loadbalancer

import (
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// Mode is how the hostname is served.
type Mode string

// The modes.
const (
	// ModeBalancer is the vendor's load balancer with monitors and pools, a paid product.
	ModeBalancer Mode = "load_balancer"
	// ModeDNS is one DNS record for each address of each node, for zones without that product.
	ModeDNS Mode = "dns"
)

// Modes lists every mode.
func Modes() []Mode { return []Mode{ModeBalancer, ModeDNS} }

// Model is the resource's state.
type Model struct {
	ID                  types.String `tfsdk:"id"`
	Hostname            types.String `tfsdk:"hostname"`
	Zone                types.String `tfsdk:"zone"`
	Mode                types.String `tfsdk:"mode"`
	Nodes               types.Map    `tfsdk:"nodes"`
	NodeSettings        types.Map    `tfsdk:"node_settings"`
	Sites               types.Map    `tfsdk:"sites"`
	Proxied             types.Bool   `tfsdk:"proxied"`
	TTL                 types.Int64  `tfsdk:"ttl"`
	Port                types.Int64  `tfsdk:"port"`
	HostHeader          types.String `tfsdk:"host_header"`
	Steering            types.String `tfsdk:"steering"`
	EndpointSteering    types.String `tfsdk:"endpoint_steering"`
	FallbackSite        types.String `tfsdk:"fallback_site"`
	FailoverAcrossSites types.Bool   `tfsdk:"failover_across_sites"`
	CheckRegions        types.Set    `tfsdk:"check_regions"`
	Monitor             types.Object `tfsdk:"monitor"`
	SessionAffinity     types.Object `tfsdk:"session_affinity"`
	ShadowDNSRecords    types.Bool   `tfsdk:"shadow_dns_records"`
	ApplicationCheck    types.Object `tfsdk:"application_check"`
	MinimumNodes        types.Int64  `tfsdk:"minimum_nodes"`
	QuickRemoval        types.Object `tfsdk:"quick_removal"`
	LocalProxy          types.Object `tfsdk:"local_proxy"`

	ZoneID         types.String `tfsdk:"zone_id"`
	AccountID      types.String `tfsdk:"account_id"`
	LoadBalancerID types.String `tfsdk:"load_balancer_id"`
	MonitorID      types.String `tfsdk:"monitor_id"`
	PoolIDs        types.Map    `tfsdk:"pool_ids"`
	RecordIDs      types.Map    `tfsdk:"record_ids"`
	Health         types.Map    `tfsdk:"health"`
	Removed        types.Set    `tfsdk:"removed"`
	Certificates   types.Map    `tfsdk:"certificates"`
	Drift          types.List   `tfsdk:"drift"`

	Timeouts timeouts.Value `tfsdk:"timeouts"`
}

// arguments are the values that describe what shall be, as opposed to what was found.
func (m *Model) arguments() []attr.Value {
	return []attr.Value{
		m.Hostname, m.Zone, m.Mode, m.Nodes, m.NodeSettings, m.Sites, m.Proxied, m.TTL, m.Port, m.HostHeader, m.Steering,
		m.EndpointSteering, m.FallbackSite, m.FailoverAcrossSites, m.CheckRegions, m.Monitor, m.SessionAffinity, m.ShadowDNSRecords,
		m.ApplicationCheck, m.MinimumNodes, m.QuickRemoval, m.LocalProxy,
	}
}

// sameArguments tells whether two models describe the same.
func sameArguments(a, b *Model) bool {
	others := b.arguments()
	for i, v := range a.arguments() {
		if !v.Equal(others[i]) {
			return false
		}
	}
	return true
}

// domainModel is a node's failure domain.
type domainModel struct {
	Provider types.String `tfsdk:"provider"`
	Site     types.String `tfsdk:"site"`
}

// clusterModel is what is taken of a node's cluster.
type clusterModel struct {
	Name  types.String `tfsdk:"name"`
	Ports types.Object `tfsdk:"ports"`
}

type portsModel struct {
	Health types.Int64 `tfsdk:"health"`
}

// nodeModel is what is taken of an atoll_node.
type nodeModel struct {
	Cluster       types.Object `tfsdk:"cluster"`
	Name          types.String `tfsdk:"name"`
	Addresses     types.List   `tfsdk:"addresses"`
	FailureDomain types.Object `tfsdk:"failure_domain"`
	Endpoints     types.List   `tfsdk:"endpoints"`
	Identity      types.String `tfsdk:"identity"`
	PublicPorts   types.Object `tfsdk:"public_ports"`
}

func domainTypes() map[string]attr.Type {
	return map[string]attr.Type{"provider": types.StringType, "site": types.StringType}
}

func clusterTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"name": types.StringType, "ports": types.ObjectType{AttrTypes: map[string]attr.Type{"health": types.Int64Type}},
	}
}

func nodeTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"cluster": types.ObjectType{AttrTypes: clusterTypes()}, "name": types.StringType,
		"addresses": types.ListType{ElemType: types.StringType}, "failure_domain": types.ObjectType{AttrTypes: domainTypes()},
		"endpoints": types.ListType{ElemType: types.StringType}, "identity": types.StringType, "public_ports": types.ObjectType{AttrTypes: publicTypes()},
	}
}

// publicModel are the ports that everybody may reach on a node.
type publicModel struct {
	TCP types.Set `tfsdk:"tcp"`
}

func publicTypes() map[string]attr.Type {
	return map[string]attr.Type{"tcp": types.SetType{ElemType: types.Int64Type}}
}

// settingsModel is what is particular of one node.
type settingsModel struct {
	Enabled types.Bool    `tfsdk:"enabled"`
	Weight  types.Float64 `tfsdk:"weight"`
	Address types.String  `tfsdk:"address"`
	Port    types.Int64   `tfsdk:"port"`
}

func settingsTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"enabled": types.BoolType, "weight": types.Float64Type, "address": types.StringType, "port": types.Int64Type,
	}
}

// siteModel is what is particular of one site.
type siteModel struct {
	Enabled        types.Bool    `tfsdk:"enabled"`
	Priority       types.Int64   `tfsdk:"priority"`
	Weight         types.Float64 `tfsdk:"weight"`
	Regions        types.Set     `tfsdk:"regions"`
	Latitude       types.Float64 `tfsdk:"latitude"`
	Longitude      types.Float64 `tfsdk:"longitude"`
	MinimumHealthy types.Int64   `tfsdk:"minimum_healthy"`
}

func siteTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"enabled": types.BoolType, "priority": types.Int64Type, "weight": types.Float64Type,
		"regions": types.SetType{ElemType: types.StringType}, "latitude": types.Float64Type, "longitude": types.Float64Type,
		"minimum_healthy": types.Int64Type,
	}
}

// monitorModel is how the nodes' health is found out.
type monitorModel struct {
	Type            types.String `tfsdk:"type"`
	Port            types.Int64  `tfsdk:"port"`
	Path            types.String `tfsdk:"path"`
	Method          types.String `tfsdk:"method"`
	HostHeader      types.String `tfsdk:"host_header"`
	ExpectedCodes   types.String `tfsdk:"expected_codes"`
	ExpectedBody    types.String `tfsdk:"expected_body"`
	Interval        types.Int64  `tfsdk:"interval"`
	Timeout         types.Int64  `tfsdk:"timeout"`
	Retries         types.Int64  `tfsdk:"retries"`
	ConsecutiveDown types.Int64  `tfsdk:"consecutive_down"`
	ConsecutiveUp   types.Int64  `tfsdk:"consecutive_up"`
	FollowRedirects types.Bool   `tfsdk:"follow_redirects"`
	AllowInsecure   types.Bool   `tfsdk:"allow_insecure"`
}

func monitorTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"type": types.StringType, "port": types.Int64Type, "path": types.StringType, "method": types.StringType,
		"host_header": types.StringType, "expected_codes": types.StringType, "expected_body": types.StringType,
		"interval": types.Int64Type, "timeout": types.Int64Type, "retries": types.Int64Type,
		"consecutive_down": types.Int64Type, "consecutive_up": types.Int64Type,
		"follow_redirects": types.BoolType, "allow_insecure": types.BoolType,
	}
}

// sessionModel is how clients stay on a node.
type sessionModel struct {
	Type              types.String `tfsdk:"type"`
	TTL               types.Int64  `tfsdk:"ttl"`
	Drain             types.Int64  `tfsdk:"drain"`
	Failover          types.String `tfsdk:"failover"`
	SameSite          types.String `tfsdk:"samesite"`
	Secure            types.String `tfsdk:"secure"`
	Headers           types.Set    `tfsdk:"headers"`
	RequireAllHeaders types.Bool   `tfsdk:"require_all_headers"`
}

func sessionTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"type": types.StringType, "ttl": types.Int64Type, "drain": types.Int64Type, "failover": types.StringType,
		"samesite": types.StringType, "secure": types.StringType, "headers": types.SetType{ElemType: types.StringType},
		"require_all_headers": types.BoolType,
	}
}

// healthTypes are the types of what the monitors found of one node.
func healthTypes() map[string]attr.Type {
	return map[string]attr.Type{"healthy": types.BoolType, "reasons": types.ListType{ElemType: types.StringType}}
}

func known(v attr.Value) bool { return !v.IsNull() && !v.IsUnknown() }
