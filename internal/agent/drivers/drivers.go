// Package drivers is where the agent's drivers are named: the one place that knows concrete ones. A new driver is one line
// here, one constant in package spec and a folder of its own.
package drivers

import (
	"maps"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/balancer/haproxy"
	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/edge/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Mesh returns the mesh drivers.
func Mesh() map[spec.MeshDriver]mesh.New {
	return map[spec.MeshDriver]mesh.New{
		spec.MeshTinc: tinc.New,
	}
}

// Edge opens the vendor of load balancers.
func Edge() edge.Open { return cloudflare.Open }

// Proxies returns the drivers of local proxies.
func Proxies() map[spec.ProxyDriver]balancer.New {
	return map[spec.ProxyDriver]balancer.New{
		spec.ProxyHAProxy: haproxy.New,
	}
}

// Packages returns what any of the drivers needs from the distribution, each package once, by name. A machine has all of it
// before its agent starts, because the running agent is not allowed to install anything.
func Packages() []host.Package {
	needed := map[string]host.Package{}
	need := func(driver any) {
		if p, ok := driver.(host.Packager); ok {
			for _, pkg := range p.Packages() {
				needed[pkg.Name] = pkg
			}
		}
	}
	for _, driver := range Mesh() {
		need(driver(nil, nil))
	}
	for _, driver := range Proxies() {
		need(driver(nil, nil))
	}
	for _, pkg := range cloudflare.Packages() {
		needed[pkg.Name] = pkg
	}
	return slices.SortedFunc(maps.Values(needed), func(a, b host.Package) int { return strings.Compare(a.Name, b.Name) })
}
