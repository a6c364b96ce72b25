package topology

import (
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// balancers adds the ports of local proxies and of the applications behind them.
func (l *portList) balancers() {
	for _, hostname := range slices.Sorted(maps.Keys(l.in.LoadBalancers)) {
		lb := l.in.LoadBalancers[hostname]
		part, ours := lb.Nodes[l.node]
		if !ours {
			continue
		}
		ref := []spec.Ref{{Kind: spec.KindLoadBalancer, Name: hostname}}
		runs := l.proxied[hostname]
		callers := l.others(runs...)
		if slices.Contains(runs, l.node) {
			for _, port := range proxyPorts(lb.Proxy) {
				l.add(Port{
					Protocol: TCP, Number: port.number, Service: ServiceProxy, OpenTo: OpenToPublic, Anybody: true, Objects: ref,
					Purpose: "local proxy, for the edge and visitors",
				})
			}
		}
		for _, number := range applicationPorts(lb, part, len(runs) > 0) {
			p := Port{
				Protocol: TCP, Number: number, Service: ServiceApplication, OpenTo: OpenToNode, Nodes: callers, Objects: ref,
				Purpose: "application, for its check and the proxy of the node",
			}
			if len(callers) > 0 {
				p.OpenTo, p.Purpose = OpenToMesh, "application, for proxies of other nodes while theirs is not well"
			}
			l.add(p)
		}
	}
}

// applicationPorts are where an application's proxies and its check connect to; none where neither does.
func applicationPorts(lb spec.LoadBalancer, part spec.ServingNode, proxied bool) []int {
	var out []int
	asked := lb.Check != nil && lb.Check.Type != spec.CheckCommand
	if proxied || asked && lb.Check.Port == 0 {
		out = append(out, part.Port)
	}
	if asked && lb.Check.Port != 0 && !slices.Contains(out, lb.Check.Port) {
		out = append(out, lb.Check.Port)
	}
	return out
}

// databases adds the ports of databases that the node has a part in.
func (l *portList) databases() {
	for _, key := range slices.Sorted(maps.Keys(l.in.DatabaseMembers)) {
		m := l.in.DatabaseMembers[key]
		d, known := l.in.Databases[m.Database]
		if m.Node != l.node || !known {
			continue
		}
		ref := []spec.Ref{{Kind: spec.KindDatabase, Name: m.Database}}
		parts := l.others(l.parts[m.Database]...)
		if m.Role == spec.MemberVoter {
			l.add(Port{
				Protocol: TCP, Number: d.Port, Service: ServiceDatabase, OpenTo: OpenToMesh, Nodes: parts, Objects: ref,
				Purpose: string(d.Engine) + ", for other members and the routers of its nodes",
			})
			if d.Router.Driver == spec.RouterHAProxy {
				l.add(Port{
					Protocol: TCP, Number: spec.RolePort, Service: ServiceRoleCheck, OpenTo: OpenToMesh, Nodes: parts, Objects: ref,
					Purpose: "who takes writes, for the routers of its nodes",
				})
			}
		}
		for _, port := range []struct {
			number  int
			purpose string
		}{{d.Router.WritePort, "router, for writes"}, {d.Router.ReadPort, "router, for reads"}} {
			l.add(Port{
				Protocol: TCP, Number: port.number, Service: ServiceRouter, OpenTo: OpenToNode, Objects: ref, Purpose: port.purpose,
			})
		}
	}
}
