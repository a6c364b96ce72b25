package spec

import (
	"maps"
	"slices"
)

// ProxyDriver names a program that passes connections on.
type ProxyDriver string

// The proxy drivers.
const (
	// ProxyHAProxy is HAProxy.
	ProxyHAProxy ProxyDriver = "haproxy"
)

// ProxyDrivers lists every proxy driver.
func ProxyDrivers() []ProxyDriver { return []ProxyDriver{ProxyHAProxy} }

// Proxy is what a node runs in front of the application: it passes requests to the application on the same node, and over
// the mesh to another node while that one is not well.
type Proxy struct {
	Driver ProxyDriver `json:"driver"`
	// Port is the TCP port of plain HTTP, 0 for none.
	Port int `json:"port,omitempty"`
	// TLSPort is the TCP port of HTTPS, 0 for none. It needs a certificate in Certificates.
	TLSPort int `json:"tls_port,omitempty"`
	// Hosts are further names beside the hostname that requests carry in Host, such as the one that the edge puts there. They
	// only matter where several load balancers share a port.
	Hosts []string `json:"hosts,omitempty"`
	// Certificates holds each node's certificate, by the node's name: PEM, the node's own first. Its private key was made on
	// the node and stays there.
	Certificates map[string]string `json:"certificates,omitempty"`
}

func (p Proxy) validate(nodes map[string]ServingNode) Problems {
	var ps Problems
	if !slices.Contains(ProxyDrivers(), p.Driver) {
		ps.add("driver", "update the agent", "%q is unknown", p.Driver)
	}
	if p.Port == 0 && p.TLSPort == 0 {
		ps.add("port", "choose a port", "neither port nor tls_port is given")
	}
	for _, port := range []struct {
		name  string
		value int
	}{{"port", p.Port}, {"tls_port", p.TLSPort}} {
		if port.value == 0 {
			continue
		}
		ps = append(ps, validatePort(port.name, port.value)...)
		for _, name := range slices.Sorted(maps.Keys(nodes)) {
			if nodes[name].Port == port.value {
				ps.add(port.name, "let the application listen on another port than the proxy", "%d is the application's own port on %s", port.value, name)
			}
		}
	}
	if p.Port != 0 && p.Port == p.TLSPort {
		ps.add("tls_port", "choose another", "%d is also port", p.TLSPort)
	}
	for _, host := range p.Hosts {
		ps = append(ps, ValidateHost("hosts", host)...)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Certificates)) {
		if _, ok := nodes[name]; !ok {
			ps.add("certificates."+name, "", "is none of the nodes")
		}
	}
	return ps
}
