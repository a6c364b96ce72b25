package edge

import (
	"fmt"
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Pool is a group of endpoints at the vendor.
type Pool struct {
	// Enabled tells whether the pool gets traffic.
	Enabled   bool
	Endpoints []Endpoint
}

// Endpoint is one node's place in a pool.
type Endpoint struct {
	Name string
	// Enabled tells whether the operator wants it to get traffic, Removed that nodes have taken it out of service nevertheless.
	Enabled, Removed bool
}

// Changes is what is to be done at the vendor.
type Changes struct {
	// Pools holds by the pool's id and the endpoint's name whether an endpoint is to be removed (true) or given back.
	Pools map[string]map[string]bool
	// Removed are the nodes whose endpoints are out of service once that is done, sorted.
	Removed []string
	// Last are the dead nodes whose endpoints stay because they are the last ones, Missing describes endpoints that the vendor does
	// not have.
	Last, Missing []string
}

// Plan returns what makes the pools as wished. It never takes the last endpoint that is in service, over all pools; endpoints that
// the operator has disabled are left alone. It is pure.
func Plan(endpoints map[string]spec.PoolEndpoint, pools map[string]Pool, wishes map[string]Wish) Changes {
	out := Changes{Pools: map[string]map[string]bool{}}
	serving := 0
	for _, p := range pools {
		for _, e := range p.Endpoints {
			if p.Enabled && e.Enabled && !e.Removed {
				serving++
			}
		}
	}
	change := func(at spec.PoolEndpoint, removed bool) {
		if out.Pools[at.Pool] == nil {
			out.Pools[at.Pool] = map[string]bool{}
		}
		out.Pools[at.Pool][at.Name] = removed
	}
	names := slices.Sorted(maps.Keys(endpoints))
	var removable []string
	for _, name := range names {
		at := endpoints[name]
		pool, have := pools[at.Pool]
		n := slices.IndexFunc(pool.Endpoints, func(e Endpoint) bool { return e.Name == at.Name })
		switch {
		case !have:
			out.Missing = append(out.Missing, fmt.Sprintf("pool %s of node %s", at.Pool, name))
			continue
		case n < 0:
			out.Missing = append(out.Missing, fmt.Sprintf("endpoint %s of node %s in pool %s", at.Name, name, at.Pool))
			continue
		}
		e := pool.Endpoints[n]
		switch {
		case !e.Enabled:
		case e.Removed && wishes[name] == Restore:
			change(at, false)
			if pool.Enabled {
				serving++
			}
		case e.Removed:
			out.Removed = append(out.Removed, name)
		case wishes[name] == Remove:
			removable = append(removable, name)
		}
	}
	for _, name := range removable {
		at := endpoints[name]
		if pools[at.Pool].Enabled {
			if serving <= 1 {
				out.Last = append(out.Last, name)
				continue
			}
			serving--
		}
		change(at, true)
		out.Removed = append(out.Removed, name)
	}
	slices.Sort(out.Removed)
	return out
}
