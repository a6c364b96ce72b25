package tunnel

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// readKey reads a private key file.
func readKey(path string) (wgtypes.Key, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return wgtypes.Key{}, fmt.Errorf("read the mesh key: %w", err)
	}
	key, err := wgtypes.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return wgtypes.Key{}, fmt.Errorf("read the mesh key: %s holds no WireGuard key", path)
	}
	return key, nil
}

// setPeers makes the interface's peers those of the configuration, each with the addresses that go by it, and changes
// nothing that is right. Endpoints are only given to peers that are new, and to those in move.
func (i *iface) setPeers(c Config, private wgtypes.Key, ways map[netip.Addr]netip.Addr, move map[netip.Addr]netip.AddrPort) error {
	have, err := i.client.Device(i.name)
	if err != nil {
		return fmt.Errorf("look at interface %s: %w", i.name, err)
	}
	var change wgtypes.Config
	if have.PrivateKey != private {
		change.PrivateKey = &private
	}
	if have.ListenPort != c.Port {
		change.ListenPort = &c.Port
	}
	known := map[wgtypes.Key]wgtypes.Peer{}
	for _, p := range have.Peers {
		known[p.PublicKey] = p
	}
	for _, p := range c.Peers {
		key, err := wgtypes.ParseKey(p.Key)
		if err != nil {
			return fmt.Errorf("mesh key of node %q: %w", p.Name, err)
		}
		allowed := addressesBy(c, p, ways)
		if p.OtherKey != "" {
			other, err := wgtypes.ParseKey(p.OtherKey)
			if err != nil {
				return fmt.Errorf("second mesh key of node %q: %w", p.Name, err)
			}
			var idle wgtypes.Key
			key, idle = inUse(key, other, known)
			if spare, needed := spareKey(idle, known[key], known); needed {
				change.Peers = append(change.Peers, spare)
			}
			delete(known, idle)
		}
		now, there := known[key]
		delete(known, key)
		endpoint, moved := move[p.MeshAddress]
		if there && !moved && sameNets(now.AllowedIPs, allowed) {
			continue
		}
		pc := wgtypes.PeerConfig{PublicKey: key, UpdateOnly: there, ReplaceAllowedIPs: true, AllowedIPs: allowed}
		if moved {
			pc.Endpoint = net.UDPAddrFromAddrPort(endpoint)
		}
		change.Peers = append(change.Peers, pc)
	}
	// First, so that a key which is replaced takes its addresses with it before they are given to the new one.
	var gone []wgtypes.PeerConfig
	for key := range known {
		gone = append(gone, wgtypes.PeerConfig{PublicKey: key, Remove: true})
	}
	change.Peers = append(gone, change.Peers...)
	if change.PrivateKey == nil && change.ListenPort == nil && len(change.Peers) == 0 {
		return nil
	}
	if err := i.client.ConfigureDevice(i.name, change); err != nil {
		return fmt.Errorf("configure interface %s: %w", i.name, err)
	}
	return nil
}

// addressesBy returns the addresses that go by a peer: its link-local one always, and the mesh address of each node whose
// way begins there. A node without a way stays with its own peer.
func addressesBy(c Config, p Peer, ways map[netip.Addr]netip.Addr) []net.IPNet {
	link := linkAddress(p.MeshAddress)
	out := []net.IPNet{*ipNet(netip.PrefixFrom(link, link.BitLen()))}
	for _, to := range c.Peers {
		by, ok := ways[to.MeshAddress]
		if !ok {
			by = to.MeshAddress
		}
		if by == p.MeshAddress {
			out = append(out, *ipNet(netip.PrefixFrom(to.MeshAddress, 32)))
		}
	}
	return out
}

func sameNets(a, b []net.IPNet) bool {
	text := func(nets []net.IPNet) []string {
		out := make([]string, len(nets))
		for i, n := range nets {
			out[i] = n.String()
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(text(a), text(b))
}

// caller finds out where a peer can be reached.
type caller struct {
	candidates []netip.AddrPort
	next       int
	since      time.Time
}

// tryFor is how long a peer has to answer at one place before the next is tried. WireGuard repeats a handshake after five
// seconds.
const tryFor = 6 * time.Second

// due returns the next place to try for a peer that was last heard at heard, if it is time for that.
func (c *caller) due(heard, now time.Time) (netip.AddrPort, bool) {
	if len(c.candidates) == 0 || now.Sub(heard) < tryFor || now.Sub(c.since) < tryFor {
		return netip.AddrPort{}, false
	}
	return c.take(now), true
}

// take returns the next place to try. Those that this machine has no way to (an IPv6 address where there is no IPv6) come
// after all others.
func (c *caller) take(now time.Time) netip.AddrPort {
	order := slices.Clone(c.candidates)
	slices.SortStableFunc(order, func(a, b netip.AddrPort) int {
		switch x, y := reaches(a.Addr()), reaches(b.Addr()); {
		case x == y:
			return 0
		case x:
			return -1
		default:
			return 1
		}
	})
	e := order[c.next%len(order)]
	c.next, c.since = c.next+1, now
	return e
}
