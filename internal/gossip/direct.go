package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// exchangeTimeout bounds one exchange with one peer.
const exchangeTimeout = 15 * time.Second

// Direct says how members are reached over HTTPS, for Pusher and Syncer.
type Direct struct {
	// Node is this node's name.
	Node  string
	Store *store.Store
	// Client returns a client that calls as this node.
	Client func(api.Target) *api.Client
	// Target returns how a node is called; nil is TargetOf.
	Target func(s *store.Snapshot, node string) api.Target
	// Heard is told the end of every exchange with a peer: nil when the peer admits this node and answered, else what
	// went wrong, such as an api.Error with the reason of a refusal. Peer is an endpoint when its name is not known yet.
	// It is called concurrently; nil is fine.
	Heard func(peer string, err error)
	// Log may be nil.
	Log *slog.Logger
}

// TargetOf returns how a node is called: over the mesh first, then at its public addresses. A member must answer with its
// admitted identity, a node that is not known as one with the identity that the operator pinned, if any.
func TargetOf(s *store.Snapshot, node string) api.Target {
	ports := spec.DefaultPorts()
	if s.Cluster != nil {
		ports = s.Cluster.Ports
	}
	n := s.Nodes[node]
	t := api.Target{Cluster: s.ClusterName, Node: node, Endpoints: n.Endpoints(ports.API)}
	if m, ok := s.Members[node]; ok {
		t.Pin = &m.Identity
		t.Endpoints = append([]string{net.JoinHostPort(n.MeshAddress.String(), strconv.Itoa(ports.API))}, t.Endpoints...)
	}
	return t
}

func (d Direct) withDefaults() Direct {
	if d.Target == nil {
		d.Target = TargetOf
	}
	if d.Heard == nil {
		d.Heard = func(string, error) {}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return d
}

// exchange compares digests with a peer, takes what it has newer and gives it what it lacks. Merged tells whether anything
// of it was news here.
func (d Direct) exchange(ctx context.Context, client *api.Client) (merged bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	newer, wanted, err := client.Sync(ctx, d.Store.Digest())
	if err != nil {
		return d.heed(err), err
	}
	merged = accepted(d.Store.MergeRemote(newer))
	if recs := d.Store.Get(wanted); len(recs) > 0 {
		if _, err := client.Push(ctx, recs); err != nil {
			return merged, err
		}
	}
	return merged, nil
}

// heed takes the signed evidence of a refusal: a node that was removed while it was off learns of that here, since nobody
// talks to it any more.
func (d Direct) heed(err error) bool {
	var refusal *api.Error
	if !errors.As(err, &refusal) || len(refusal.Records) == 0 {
		return false
	}
	return accepted(d.Store.MergeRemote(refusal.Records))
}

func accepted(out []store.Outcome) bool {
	for _, o := range out {
		if o.Result == store.Accepted {
			return true
		}
	}
	return false
}

// same tells whether two targets are called in the same way, so that a client can be kept.
func same(a, b api.Target) bool { return fingerprint(a) == fingerprint(b) }

func fingerprint(t api.Target) string {
	pin := ""
	if t.Pin != nil {
		pin = t.Pin.String()
	}
	return fmt.Sprintf("%s %s %q %s", t.Cluster, t.Node, t.Endpoints, pin)
}
