package topology

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
)

// ErrCIDRFull is returned when every address of a mesh network is taken.
var ErrCIDRFull = errors.New("no free address in the mesh network")

// AllocateMeshAddress chooses the mesh address of the node of that name. Taken maps each address in use to its node. The
// choice is a hash of the name, so one node gets the same address wherever it is computed and adding nodes moves nobody;
// when that address is another node's, the next free one is taken. The network and broadcast addresses are never chosen.
// It fails with ErrCIDRFull when nothing is free.
func AllocateMeshAddress(cidr netip.Prefix, name string, taken map[netip.Addr]string) (netip.Addr, error) {
	if !cidr.IsValid() || !cidr.Addr().Is4() {
		return netip.Addr{}, fmt.Errorf("choose a mesh address for node %q: %s is not an IPv4 network", name, cidr)
	}
	room := hosts(cidr)
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash never fails
	start := h.Sum64()
	for i := range room {
		addr := nth(cidr, 1+(start%room+i)%room)
		if owner, used := taken[addr]; !used || owner == name {
			return addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("choose a mesh address for node %q in %s (%d addresses): %w", name, cidr, room, ErrCIDRFull)
}

// hosts returns how many nodes cidr has addresses for.
func hosts(cidr netip.Prefix) uint64 {
	if bits := cidr.Addr().BitLen() - cidr.Bits(); bits >= 2 {
		return 1<<min(bits, 32) - 2
	}
	return 0
}

// nth returns the address n places after the network address of an IPv4 network.
func nth(cidr netip.Prefix, n uint64) netip.Addr {
	base := cidr.Masked().Addr().As4()
	var out [4]byte
	binary.BigEndian.PutUint32(out[:], binary.BigEndian.Uint32(base[:])+uint32(n))
	return netip.AddrFrom4(out)
}

func first(cidr netip.Prefix) netip.Addr { return nth(cidr, 1) }

// last returns the broadcast address.
func last(cidr netip.Prefix) netip.Addr { return nth(cidr, hosts(cidr)+1) }
