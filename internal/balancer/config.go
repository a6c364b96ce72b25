package balancer

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Input is what a node's configuration is derived from.
type Input struct {
	// Driver is the driver that the configuration is for.
	Driver spec.ProxyDriver
	View   *topology.View
	// Key returns the node's private key for a hostname, in PEM.
	Key func(hostname string) ([]byte, error)
	// Unwell tells of a node that its application is known to be unwell; it is asked only where the proxy cannot find out
	// itself.
	Unwell func(hostname, node string) bool
	// Without tells of a node that it is without something that its application needs, such as a way to the database, whatever the
	// application says when it is asked.
	Without func(hostname, node string) bool
}

// Derive returns the configuration of the view's own node, nil when there is nothing to serve, and what is wrong, by
// hostname. A hostname with a problem is served as far as that is possible.
func Derive(in Input) (*Config, map[string]string) {
	problems := map[string]string{}
	var c Config
	for _, b := range in.View.LoadBalancers {
		if b.Proxy == nil || b.Proxy.Driver != in.Driver {
			continue
		}
		s := Service{
			Hostname: b.Hostname, Hosts: slices.Sorted(slices.Values(b.Proxy.Hosts)), Port: b.Proxy.Port,
			Check: spec.ApplicationCheck{Type: spec.CheckTCP}, Servers: servers(in, b),
		}
		if b.Check != nil {
			s.Check = *b.Check
		}
		s.Check = s.Check.WithDefaults()
		if b.Proxy.TLSPort != 0 {
			bundle, err := in.bundle(b)
			if err != nil {
				problems[b.Hostname] = fmt.Sprintf("no HTTPS: %v", err)
			} else {
				s.TLSPort, s.Certificate = b.Proxy.TLSPort, bundle
			}
		}
		if s.Port == 0 && s.TLSPort == 0 {
			continue
		}
		c.Services = append(c.Services, s)
	}
	if len(c.Services) == 0 {
		return nil, problems
	}
	return &c, problems
}

// bundle returns the node's certificates and key in one. Whether they are still valid is not looked at: the node's clock may
// be wrong, and whoever connects decides by its own.
func (in Input) bundle(b topology.LoadBalancer) (string, error) {
	chain := strings.TrimSpace(b.Proxy.Certificates[in.View.Self.Name])
	if chain == "" {
		return "", fmt.Errorf("there is no certificate for this node yet; the operator's next apply brings it")
	}
	key, err := in.Key(b.Hostname)
	if err != nil {
		return "", err
	}
	if _, err := tls.X509KeyPair([]byte(chain), key); err != nil {
		return "", fmt.Errorf("the certificate does not fit this node's key; the operator's next apply brings a new one: %w", err)
	}
	return chain + "\n" + strings.TrimSpace(string(key)) + "\n", nil
}

// servers returns where a load balancer's application runs, the best first: on this node, then on those of the same site,
// then on all others. Within each group the nodes follow this one in the order of their names, so that of several nodes whose
// application is down not all turn to the same one. A node that the operator has taken out of service comes after all that
// serve, and so does one that is known to be unwell where the proxy cannot ask, or to be without what its application needs: better
// than nothing.
func servers(in Input, b topology.LoadBalancer) []Server {
	type candidate struct {
		Server
		group int
		round int
	}
	self := in.View.Self
	blind := b.Check != nil && b.Check.Type == spec.CheckCommand
	group := func(node string, enabled bool, distance int) int {
		if _, out := in.View.Maintenance[node]; out || !enabled || blind && in.Unwell(b.Hostname, node) || in.Without(b.Hostname, node) {
			return distance + 10
		}
		return distance
	}
	out := []candidate{{
		Server: Server{Node: self.Name, Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(b.Self.Port))}, //nolint:gosec // validated
		// A node that is drained keeps the sessions that it has, so its own application goes on to serve them.
		group: group(self.Name, true, 0),
	}}
	for _, p := range b.Peers {
		c := candidate{Server: Server{Node: p.Name, Address: netip.AddrPortFrom(p.MeshAddress, uint16(p.Port))}} //nolint:gosec // validated
		distance := 2
		if p.Provider == self.Provider && p.Site == self.Site {
			distance = 1
		}
		c.group = group(p.Name, p.Enabled, distance)
		if p.Name < self.Name {
			c.round = 1
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.round, b.round), strings.Compare(a.Node, b.Node))
	})
	list := make([]Server, len(out))
	for i, c := range out {
		list[i] = c.Server
	}
	return list
}
