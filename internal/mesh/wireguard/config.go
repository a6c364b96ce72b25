package wireguard

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard/tunnel"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// overhead is what WireGuard adds to a packet: IPv6 and UDP headers, its own header, a counter and a tag.
	overhead = 40 + 8 + 16 + 16
	// block is what WireGuard fills packets up to a multiple of, in bytes.
	block = 16
	// MTU is the mesh interface's largest packet, in bytes: what the paths of 1,492 bytes that PPPoE leaves can take.
	MTU = 1492 - overhead
)

// newConfig returns the configuration that v asks for. A peer whose key cannot be used is left out, and the error says so;
// the configuration holds for all others. Addresses returns the IP addresses of a peer, best first; paths are what the paths to peers were measured
// to take.
func newConfig(v *topology.View, public string, addresses func(topology.Peer) []netip.Addr, paths map[string]int) (tunnel.Config, error) {
	var problems []error
	c := tunnel.Config{
		Interface: interfaceName, Port: v.Mesh.Port, MTU: MTU, Key: public,
		Address: netip.PrefixFrom(v.Self.MeshAddress, v.CIDR.Bits()),
	}
	holders := map[string]string{public: v.Self.Name}
	for _, p := range v.Peers {
		key, err := canonicalKey(p.MeshKey)
		if other, taken := holders[key]; err == nil && taken {
			err = fmt.Errorf("it is also that of node %q", other)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("mesh key of node %q: %w", p.Name, err))
			continue
		}
		holders[key] = p.Name
		peer := tunnel.Peer{Name: p.Name, MeshAddress: p.MeshAddress, Key: key}
		for _, a := range addresses(p) {
			peer.Endpoints = append(peer.Endpoints, netip.AddrPortFrom(a, uint16(v.Mesh.Port))) //nolint:gosec // validated
		}
		peer.Path = paths[p.Name]
		if path := smaller(p.Link.MTU, peer.Path); path != 0 {
			peer.MTU = (path - overhead) / block * block
		}
		c.Peers = append(c.Peers, peer)
	}
	problems = append(problems, addOtherKeys(&c, v, holders))
	return c, errors.Join(problems...)
}

// addOtherKeys adds the second keys of the peers. They come after all keys in use, so that no node can take another's.
func addOtherKeys(c *tunnel.Config, v *topology.View, holders map[string]string) error {
	var problems []error
	for i, peer := range c.Peers {
		p, _ := v.Peer(peer.Name)
		if p.OtherKey == nil {
			continue
		}
		other, err := canonicalKey(p.OtherKey.Public)
		if holder := holders[other]; err == nil && holder != "" && holder != p.Name {
			err = fmt.Errorf("it is also that of node %q", holder)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("second mesh key of node %q: %w", p.Name, err))
			continue
		}
		if other != peer.Key {
			holders[other], c.Peers[i].OtherKey = p.Name, other
		}
	}
	return errors.Join(problems...)
}

// canonicalKey returns a peer's public key written anew.
func canonicalKey(text string) (string, error) {
	key, err := wgtypes.ParseKey(text)
	if err != nil {
		return "", errors.New("it is not a WireGuard key (32 bytes in base64)")
	}
	if key == (wgtypes.Key{}) {
		return "", errors.New("it is empty")
	}
	return key.String(), nil
}

// tableName is the driver's own nftables table. Who may send what is WireGuard's to check: it takes a packet from a peer
// only if it would send the answer there. The table narrows what forwarding between peers has opened: a packet from the
// mesh that goes on elsewhere must be for a service that this machine itself has put behind an address (a container's), and
// IPv6 carries nothing but hellos. Redirects would tell of a direct way that is known to be broken.
const tableName = "atoll_mesh"

const filterChains = `	chain forward {
		type filter hook forward priority -150; policy accept;
		iifname "` + interfaceName + `" oifname != "` + interfaceName + `" ct status & dnat == 0 drop
	}
	chain input {
		type filter hook input priority -150; policy accept;
		iifname "` + interfaceName + `" ip6 saddr != fe80::/10 drop
	}
	chain output {
		type filter hook output priority -150; policy accept;
		oifname "` + interfaceName + `" icmp type redirect drop
	}
`

// filterMark is in the table's comment and tells whether it is the one that the driver wrote.
func filterMark() string {
	sum := sha256.Sum256([]byte(filterChains))
	return "atolld wireguard " + hex.EncodeToString(sum[:8])
}

func filterRules() string {
	return fmt.Sprintf("table inet %s\ndelete table inet %s\ntable inet %s {\n\tcomment %q\n%s}\n", tableName, tableName, tableName, filterMark(), filterChains)
}
