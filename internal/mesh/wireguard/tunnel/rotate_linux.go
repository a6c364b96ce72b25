package tunnel

import (
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// A node that changes its key is two of the interface's peers for a while, one for each key, and its addresses go by one of
// them. WireGuard sends under the new key after the next handshake, which the node begins at once, and reads what was sent under
// the old one until then. So addresses follow the last handshake; until they have, what the node sends is not taken, which is the
// only gap.

// inUse returns which of a node's two keys its addresses go by: the one of the last handshake, the first where there was none.
func inUse(first, other wgtypes.Key, known map[wgtypes.Key]wgtypes.Peer) (used, idle wgtypes.Key) {
	if known[other].LastHandshakeTime.After(known[first].LastHandshakeTime) {
		return other, first
	}
	return first, other
}

// spareKey returns the peer of a key that is not in use, and whether the interface lacks it or has it otherwise. It has the
// place of the one in use, so that either end can call.
func spareKey(idle wgtypes.Key, used wgtypes.Peer, known map[wgtypes.Key]wgtypes.Peer) (wgtypes.PeerConfig, bool) {
	now, there := known[idle]
	pc := wgtypes.PeerConfig{PublicKey: idle, UpdateOnly: there, ReplaceAllowedIPs: true}
	if !there {
		pc.Endpoint = used.Endpoint
	}
	return pc, !there || len(now.AllowedIPs) > 0
}

// changes tells whether some node changes its key, which has to be followed closely.
func (c Config) changes() bool {
	return slices.ContainsFunc(c.Peers, func(p Peer) bool { return p.OtherKey != "" })
}

// is tells whether a peer is the neighbour that is known, perhaps with another of its keys.
func (n *neighbor) is(p Peer) bool {
	return n.peer.Name == p.Name && (n.peer.Key == p.Key || p.OtherKey != "" && n.peer.Key == p.OtherKey || n.peer.OtherKey != "" && n.peer.OtherKey == p.Key)
}
