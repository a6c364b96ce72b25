// Package mesh is the contract between the agent and the technologies that join the nodes of a cluster to one private
// network. Package meshtest holds the tests that every driver passes.
package mesh

import (
	"context"
	"log/slog"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Driver keeps one node's mesh as a view describes it. Its methods may be called from several goroutines.
type Driver interface {
	// EnsureKey returns the node's public key, and makes the private key if there is none. The private key never leaves
	// the node, is readable by root alone, and stays the same until Apply(nil).
	EnsureKey(ctx context.Context) (public string, err error)
	// Apply makes the mesh as v describes it: peers that are not in v are cut off before it returns, also where they
	// would come by way of another peer. It may be called many times with the same view, and then changes nothing and
	// interrupts nothing; what was broken meanwhile (a stopped daemon, a missing file or address) is repaired. A nil view
	// removes everything that the driver made, keys too. The view's Self is a member, so EnsureKey came before.
	Apply(ctx context.Context, v *topology.View) error
	// Status returns the mesh as the driver sees it now. A mesh that is not there or not running is no error.
	Status(ctx context.Context) (Status, error)
}

// New makes a driver that works on a host. It does nothing to the host yet.
type New func(host.System, *slog.Logger) Driver

// Status is a node's mesh as it is.
type Status struct {
	// Running tells whether the mesh is up on this node.
	Running bool
	// Interface is the mesh's network interface.
	Interface string
	// Peers is what the driver knows of each peer of the last view, by name.
	Peers map[string]PeerStatus
}

// PeerStatus is what the driver knows of one peer. It comes from the driver's routing; whether packets really arrive is
// for a Prober to find out.
type PeerStatus struct {
	// Reachable tells whether the driver has a path to the peer, by whatever way.
	Reachable bool
	// Direct tells whether traffic to the peer takes the direct path.
	Direct bool
	// NextHop is the node that traffic to the peer goes to first; empty when the path is direct or there is none.
	NextHop string
}
