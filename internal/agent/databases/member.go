package databases

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// The accounts of a database whose passwords follow from its key.
const (
	accountReplication = "replication"
	accountRouter      = "router"
	// routerUser is what routers log in as.
	routerUser = "atoll_router"
)

// member returns what an engine has to know of this node's member.
func (m *Manager) member(d topology.Database) (*database.Member, error) {
	key, err := m.cfg.OpenKey(d.Self.Key)
	if err != nil {
		return nil, fmt.Errorf("open the database's key: %w; the operator's next apply seals it to this node", err)
	}
	out := &database.Member{
		Database: d.Name, Group: d.Group, Version: d.Version, Node: d.Self.Node,
		Address: m.address(d.Self.MeshAddress, d.Port), ID: idOf(d.Self.MeshAddress), Weight: d.Self.Weight,
		Settings: d.Settings, Schemas: d.Schemas, Users: map[string]database.User{},
	}
	if out.Secrets.Replication, err = key.Password(accountReplication); err != nil {
		return nil, err
	}
	if out.Secrets.Router, err = key.Password(accountRouter); err != nil {
		return nil, err
	}
	for _, peer := range d.Members {
		if peer.Node != d.Self.Node {
			out.Peers = append(out.Peers, database.Peer{Node: peer.Node, Address: m.address(peer.MeshAddress, d.Port)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Users)) {
		user := d.Users[name]
		password, err := key.Open(user.Password)
		if err != nil {
			return nil, fmt.Errorf("open the password of user %q: %w", name, err)
		}
		out.Users[name] = database.User{Password: password, Version: user.PasswordVersion, Schemas: user.Schemas}
	}
	return out, nil
}

func (m *Manager) address(a netip.Addr, port int) netip.AddrPort {
	return netip.AddrPortFrom(m.cfg.Bind(a), uint16(port)) //nolint:gosec // validated
}

// idOf returns a number that no other node of the mesh has: an IPv4 address is one. Of an IPv6 address it is a digest, which
// two of nine members share once in a hundred million clusters.
func idOf(a netip.Addr) uint32 {
	if a.Is4() {
		four := a.As4()
		return binary.BigEndian.Uint32(four[:])
	}
	sum := sha256.Sum256(a.AsSlice())
	return max(binary.BigEndian.Uint32(sum[:]), 1)
}
