// Package drivers is where the agent's drivers are named: the one place that knows concrete ones. A new driver is one line
// here, one constant in package spec and a folder of its own.
package drivers

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/balancer/haproxy"
	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/database/mysql"
	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/edge/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/unison"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	dbproxy "github.com/atollhq/terraform-provider-atoll/internal/router/haproxy"
	"github.com/atollhq/terraform-provider-atoll/internal/router/mysqlrouter"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Mesh returns the mesh drivers.
func Mesh() map[spec.MeshDriver]mesh.New {
	return map[spec.MeshDriver]mesh.New{
		spec.MeshTinc:      tinc.New,
		spec.MeshWireGuard: wireguard.New,
	}
}

// RunWireGuard runs the interface of a node whose mesh is WireGuard, until ctx ends. Ready is called when it is up, alive once a
// second from then on.
func RunWireGuard(ctx context.Context, ready, alive func(), log *slog.Logger) error {
	return wireguard.Run(ctx, ready, alive, log)
}

// Edge opens the vendor of load balancers.
func Edge() edge.Open { return cloudflare.Open }

// Proxies returns the drivers of local proxies.
func Proxies() map[spec.ProxyDriver]balancer.New {
	return map[spec.ProxyDriver]balancer.New{
		spec.ProxyHAProxy: haproxy.New,
	}
}

// Databases returns the engines of databases.
func Databases() map[spec.DatabaseEngine]database.New {
	return map[spec.DatabaseEngine]database.New{
		spec.DatabaseMySQL: mysql.New,
	}
}

// Routers returns the drivers of local routers to databases.
func Routers() map[spec.RouterDriver]router.New {
	return map[spec.RouterDriver]router.New{
		spec.RouterMySQL:   mysqlrouter.New,
		spec.RouterHAProxy: dbproxy.New,
	}
}

// Replications returns the drivers of replication pairs.
func Replications() map[spec.ReplicationDriver]replication.New {
	return map[spec.ReplicationDriver]replication.New{
		spec.ReplicationUnison: unison.New,
	}
}

// PairEngines returns what the worker of a pair runs, by the pair's driver.
func PairEngines() map[spec.ReplicationDriver]worker.NewEngine {
	return map[spec.ReplicationDriver]worker.NewEngine{
		spec.ReplicationUnison: unison.NewEngine,
	}
}

// PairPrograms returns what this program is when it was started under another name, as what workers run does.
func PairPrograms() map[string]func(context.Context) error { return unison.Programs() }

// PairUnfinished returns what tells which paths of a pair's tree are of files that its program has not completed.
func PairUnfinished(c worker.Config) func(path string) bool {
	if c.Driver == spec.ReplicationUnison {
		return unison.Unfinished(c)
	}
	return func(string) bool { return false }
}

// Packages returns what every node needs from the distribution, each package once, by name. A machine has all of it before its
// agent starts, because the running agent is not allowed to install anything.
func Packages() []host.Package {
	var all []any
	for _, driver := range Mesh() {
		all = append(all, driver(nil, nil))
	}
	for _, driver := range Proxies() {
		all = append(all, driver(nil, nil))
	}
	for _, driver := range Replications() {
		all = append(all, driver(nil, nil))
	}
	return list(packagesOf(all), cloudflare.Packages())
}

// DatabasePackages returns what a node needs beside Packages to have a part in databases of an engine, and to reach them by any
// router. Not every distribution has it.
func DatabasePackages(engine spec.DatabaseEngine) []host.Package {
	var all []any
	if driver := Databases()[engine]; driver != nil {
		all = append(all, driver(nil, slog.New(slog.DiscardHandler)))
	}
	for _, driver := range Routers() {
		all = append(all, driver(nil, slog.New(slog.DiscardHandler)))
	}
	base := Packages()
	return slices.DeleteFunc(list(packagesOf(all)), func(p host.Package) bool {
		return slices.ContainsFunc(base, func(b host.Package) bool { return b.Name == p.Name })
	})
}

// packagesOf returns what drivers need.
func packagesOf(drivers []any) []host.Package {
	var out []host.Package
	for _, driver := range drivers {
		if p, ok := driver.(host.Packager); ok {
			out = append(out, p.Packages()...)
		}
	}
	return out
}

// list returns packages once each, by name.
func list(packages ...[]host.Package) []host.Package {
	once := map[string]host.Package{}
	for _, p := range slices.Concat(packages...) {
		once[p.Name] = p
	}
	return slices.SortedFunc(maps.Values(once), func(a, b host.Package) int { return strings.Compare(a.Name, b.Name) })
}
