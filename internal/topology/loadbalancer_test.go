package topology_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// balanced is a cluster of nodes a, b, c, of which c has not joined yet.
func balanced(balancers map[string]spec.LoadBalancer) topology.Input {
	return topology.Input{
		ClusterName: "web", Cluster: testCluster("10.66.0.0/16"),
		Nodes: map[string]spec.Node{
			"a": testNode("10.66.0.1", "198.51.100.1"), "b": testNode("10.66.0.2", "198.51.100.2"), "c": testNode("10.66.0.3", "198.51.100.3"),
		},
		MeshKeys:      map[string]string{"a": "KEY-A", "b": "KEY-B"},
		LoadBalancers: balancers,
	}
}

// serves makes a load balancer whose applications listen on port.
func serves(port int, proxy *spec.Proxy, nodes ...string) spec.LoadBalancer {
	lb := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}, Proxy: proxy}
	for _, name := range nodes {
		lb.Nodes[name] = spec.ServingNode{Enabled: true, Port: port}
	}
	return lb
}

func TestLoadBalancersOfANode(t *testing.T) {
	www := serves(8080, &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80}, "a", "b", "c")
	www.Check = &spec.ApplicationCheck{Type: spec.CheckTCP}
	www.MinimumNodes = 1
	www.Removal = &spec.QuickRemoval{AccountID: "account"}
	in := balanced(map[string]spec.LoadBalancer{"www.example.com": www, "api.example.com": serves(9090, nil, "b"), "admin.example.com": serves(7070, nil, "a")})
	since := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	in.Maintenance = map[string]spec.Maintenance{"b": {Since: since}, "gone": {Since: since}}
	v, err := topology.Derive(in, "a")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := v.Peer("b")
	want := []topology.LoadBalancer{
		{Hostname: "admin.example.com", Self: spec.ServingNode{Enabled: true, Port: 7070}, Nodes: []string{"a"}},
		{
			Hostname: "www.example.com", Self: spec.ServingNode{Enabled: true, Port: 8080}, Nodes: []string{"a", "b", "c"},
			Peers: []topology.ServingPeer{{Peer: b, ServingNode: spec.ServingNode{Enabled: true, Port: 8080}, HealthPort: 7480}},
			Check: www.Check, MinimumNodes: 1, Removal: www.Removal, Proxy: www.Proxy,
		},
	}
	if diff := cmp.Diff(want, v.LoadBalancers, compareAddresses, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("load balancers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]spec.Maintenance{"b": {Since: since}}, v.Maintenance); diff != "" {
		t.Errorf("maintenance (-want +got):\n%s", diff)
	}
	if len(v.Problems) != 0 {
		t.Errorf("problems: %v", v.Problems)
	}
	if got, ok := v.LoadBalancer("www.example.com"); !ok || got.Self.Port != 8080 || got.Peers[0].MeshAddress != netip.MustParseAddr("10.66.0.2") {
		t.Errorf("www: got %+v, %t", got, ok)
	}
	if got, ok := v.LoadBalancer("api.example.com"); ok {
		t.Errorf("a load balancer of others: got %+v", got)
	}
}

func TestCheckLoadBalancers(t *testing.T) {
	proxy := func(port, tls int) *spec.Proxy {
		return &spec.Proxy{Driver: spec.ProxyHAProxy, Port: port, TLSPort: tls}
	}
	const (
		otherPort = "choose another port; until then the proxy does not run where the port is taken"
		addNode   = "add the node or take it out of the load balancer; until then it does not count"
	)
	tests := []struct {
		name      string
		balancers map[string]spec.LoadBalancer
		want      spec.Problems
		// runs are the hostnames whose proxy runs on node a.
		runs []string
	}{
		{"fine", map[string]spec.LoadBalancer{"w.example": serves(8080, proxy(80, 443), "a", "b")}, nil, []string{"w.example"}},
		{
			"a node that is not in the cluster",
			map[string]spec.LoadBalancer{"w.example": serves(8080, proxy(80, 0), "a", "gone")},
			spec.Problems{{Field: "loadbalancer/w.example.nodes", Message: `node "gone" is not in the cluster`, Remedy: addNode}},
			[]string{"w.example"},
		},
		{
			"two hostnames share the ports of one driver",
			map[string]spec.LoadBalancer{"w.example": serves(8080, proxy(80, 443), "a", "b"), "x.example": serves(8081, proxy(80, 443), "a", "b")},
			nil,
			[]string{"w.example", "x.example"},
		},
		{
			"plain HTTP where another speaks TLS",
			map[string]spec.LoadBalancer{"w.example": serves(8080, proxy(80, 443), "a"), "x.example": serves(8081, proxy(443, 0), "a", "b")},
			spec.Problems{{Field: "loadbalancer/x.example.proxy.port", Message: `443 is the tls_port of the proxy of w.example on node "a"`, Remedy: otherPort}},
			[]string{"w.example"},
		},
		{
			"one port on different nodes",
			map[string]spec.LoadBalancer{"w.example": serves(8080, proxy(80, 443), "a"), "x.example": serves(8081, proxy(443, 0), "b")},
			nil,
			[]string{"w.example"},
		},
		{
			"an application where another's proxy is",
			map[string]spec.LoadBalancer{"w.example": serves(8080, proxy(80, 8081), "a", "b"), "x.example": serves(8081, nil, "a", "b")},
			spec.Problems{{Field: "loadbalancer/w.example.proxy.tls_port", Message: `8081 is the port of the application of x.example on node "a"`, Remedy: otherPort}},
			nil,
		},
		{
			"the cluster's own ports",
			map[string]spec.LoadBalancer{"w.example": serves(8080, proxy(7443, 7480), "b")},
			spec.Problems{
				{Field: "loadbalancer/w.example.proxy.port", Message: `7443 is the port of the cluster's API on node "b"`, Remedy: otherPort},
				{Field: "loadbalancer/w.example.proxy.tls_port", Message: `7480 is the port of the health endpoint on node "b"`, Remedy: otherPort},
			},
			nil,
		},
		{
			"who has no place leaves it to the next",
			map[string]spec.LoadBalancer{
				"a.example": serves(8080, proxy(80, 7480), "a"), "b.example": serves(8081, proxy(0, 80), "a"),
			},
			spec.Problems{
				{Field: "loadbalancer/a.example.proxy.port", Message: `80 is the tls_port of the proxy of b.example on node "a"`, Remedy: otherPort},
				{Field: "loadbalancer/a.example.proxy.tls_port", Message: `7480 is the port of the health endpoint on node "a"`, Remedy: otherPort},
			},
			[]string{"b.example"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := topology.Derive(balanced(tt.balancers), "a")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, v.Problems, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			var runs []string
			for _, b := range v.LoadBalancers {
				if b.Proxy != nil {
					runs = append(runs, b.Hostname)
				}
			}
			if diff := cmp.Diff(tt.runs, runs, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("proxies that run on a (-want +got):\n%s", diff)
			}
		})
	}
}
