package pairs

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	// permitInterval is how often a side is told that the other node is gone.
	permitInterval = 20 * time.Second
	// heardWithin is how old the last word of a node that is there can be.
	heardWithin = time.Minute
)

// permit tells sides whose other node has been gone for long that they may move old directories alone.
func (m *Manager) permit(ctx context.Context) {
	sight := m.cfg.See()
	if !sight.Known {
		return
	}
	for _, p := range sight.Pairs {
		driver := m.cfg.Drivers[p.Driver]
		if p.Cold == nil || driver == nil || !m.gone(p, sight) {
			continue
		}
		if err := driver.PermitAlone(ctx, p.Name); err != nil {
			m.cfg.Log.Warn("a side cannot be told that it is alone", "pair", p.Name, "error", err)
		}
	}
}

// gone tells whether the other node of a pair has been gone for as long as it takes to move old directories without it: nobody has heard of it, not by
// way of a third node either, and this node is not the one that is cut off, since it hears at least half of all others.
func (m *Manager) gone(p topology.Pair, sight Sight) bool {
	if p.Cold.Takeover == 0 || sight.Away || sight.Reaches(p.Peer.Node) {
		return false
	}
	since := m.began
	if at := sight.Received[p.Peer.Node]; at.After(since) {
		since = at
	}
	if time.Since(since) < time.Duration(p.Cold.Takeover)*time.Hour {
		return false
	}
	others, heard := 0, 0
	for node := range sight.Statuses {
		if node == m.cfg.Node || node == p.Peer.Node {
			continue
		}
		others++
		if time.Since(sight.Received[node]) < heardWithin {
			heard++
		}
	}
	return 2*heard >= others
}

// ColdStream implements api.ColdStreamer.
func (m *Manager) ColdStream(pair, node string) (func(net.Conn), error) {
	p, driver, err := m.ofPeer(pair, node)
	if err != nil {
		return nil, err
	}
	if p.Leads() || p.Cold == nil {
		return nil, &api.Error{StatusCode: http.StatusForbidden, Reason: trust.ReasonNotAllowed, Message: fmt.Sprintf("on this node's account %s has nothing to say about old directories of pair %q", node, pair)}
	}
	return func(conn net.Conn) {
		// It lasts as long as the connection does.
		if err := driver.AcceptCold(context.Background(), pair, m.Limit(pair, conn, p.Limits.Bandwidth)); err != nil {
			m.cfg.Log.Debug("a stream about old directories has ended", "pair", pair, "error", err)
		}
	}, nil
}

// sameCold tells whether two statuses say the same.
func sameCold(a, b *spec.ColdStatus) bool {
	if a == nil || b == nil {
		return a == b
	}
	one, other := *a, *b
	equal := one.Last.Equal(other.Last)
	one.Last, other.Last = time.Time{}, time.Time{}
	return equal && one == other
}
