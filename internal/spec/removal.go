package spec

import (
	"maps"
	"slices"
)

// MinRemovalNodes is the smallest cluster in which most nodes can agree that another is dead.
const MinRemovalNodes = 3

// ReasonRemoved is the reason of ConditionEdgeReady while an endpoint is out of service because its node was found dead. The message
// says which.
const ReasonRemoved = "Removed"

// QuickRemoval lets the nodes disable the endpoint of a dead node at Cloudflare, and enable it again when it is well.
type QuickRemoval struct {
	// AccountID is Cloudflare's id of the account that has the pools.
	AccountID string `json:"account_id"`
	// ZoneID and BalancerID are Cloudflare's ids of the load balancer and its zone, both empty when it has no sessions to drain:
	// while an endpoint is removed, sessions must not be sent to it for the drain's time.
	ZoneID     string `json:"zone_id,omitempty"`
	BalancerID string `json:"balancer_id,omitempty"`
	// BaseURL is where the API is, empty for Cloudflare's own.
	BaseURL string `json:"base_url,omitempty"`
	// Endpoints says where each node is in the pools, by the node's name.
	Endpoints map[string]PoolEndpoint `json:"endpoints"`
	// Tokens holds the API token for each node that may act, by its name: encrypted to that node's identity (trust.Seal), so
	// that whoever carries the object cannot read it.
	Tokens map[string]string `json:"tokens"`
}

// PoolEndpoint is one endpoint of one of Cloudflare's pools.
type PoolEndpoint struct {
	// Pool is the pool's id, Name the endpoint's name in it.
	Pool string `json:"pool"`
	Name string `json:"name"`
}

func (r QuickRemoval) validate(nodes map[string]ServingNode) Problems {
	var ps Problems
	if r.AccountID == "" {
		ps.add("account_id", "", "is empty")
	}
	if (r.ZoneID == "") != (r.BalancerID == "") {
		ps.add("balancer_id", "", "goes with zone_id: give both or none")
	}
	if len(nodes) < MinRemovalNodes {
		ps.add("endpoints", "add nodes, or leave the removal to the vendor's monitors",
			"%d nodes cannot agree that one of them is dead, it takes %d", len(nodes), MinRemovalNodes)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Endpoints)) {
		if _, ok := nodes[name]; !ok {
			ps.add("endpoints."+name, "", "is none of the nodes")
		}
		if e := r.Endpoints[name]; e.Pool == "" || e.Name == "" {
			ps.add("endpoints."+name, "", "names no pool or no endpoint")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Tokens)) {
		if _, ok := nodes[name]; !ok {
			ps.add("tokens."+name, "", "is none of the nodes")
		}
	}
	if len(r.Tokens) == 0 {
		ps.add("tokens", "", "is empty: no node could act")
	}
	return ps
}
