// Package tunnel is the program that runs a node's WireGuard interface: the kernel's where it has one, else wireguard-go in
// this process. It finds the ways between the nodes by package linkstate, so that the mesh lives on, and goes round dead
// links, also when the agent does not run.
//
// A way round is made by moving a node's address from its own peer to the one that forwards. Whatever is forwarded is
// decrypted by the node that forwards it. Nodes say hello at link-local addresses that never move, and so always go the
// direct way.
package tunnel

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// HelloPort is the UDP port of hellos, at link-local addresses inside the tunnel.
const HelloPort = spec.WireGuardHelloPort

// Config is what the agent wants of the interface. It holds nothing secret.
type Config struct {
	Interface string `json:"interface"`
	// Port is the public UDP port.
	Port int `json:"port"`
	// MTU is the interface's largest packet, in bytes.
	MTU int `json:"mtu"`
	// Address is the node's mesh address with the length of the mesh network.
	Address netip.Prefix `json:"address"`
	// Key is the public half of the node's key.
	Key   string `json:"key"`
	Peers []Peer `json:"peers"`
}

// Peer is one other node.
type Peer struct {
	Name        string     `json:"name"`
	MeshAddress netip.Addr `json:"mesh_address"`
	Key         string     `json:"key"`
	// OtherKey is a second key under which the node may come while it changes from one to the other, "" while it does not.
	OtherKey string `json:"other_key,omitempty"`
	// Endpoints are where the node may be reached, best first; none for one that has to call itself.
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
	// MTU is the largest packet to this peer, in bytes, 0 for the interface's.
	MTU int `json:"mtu,omitempty"`
	// Path is what the path to this peer was measured to take, in bytes with all headers; 0 for all, or where that is not known. It is there for an agent that
	// starts again, and means nothing to the tunnel.
	Path int `json:"path,omitempty"`
}

// mtuTo returns the largest packet to a peer, in bytes, 0 for the interface's: it has to fit into the path to the node at which its way begins as well.
func (c Config) mtuTo(p Peer, ways map[netip.Addr]netip.Addr) int {
	most := p.MTU
	for _, by := range c.Peers {
		if by.MeshAddress == ways[p.MeshAddress] && by.MTU != 0 && (most == 0 || by.MTU < most) {
			most = by.MTU
		}
	}
	return most
}

// narrow tells whether the path to any peer takes less than the interface sends.
func (c Config) narrow() bool {
	return slices.ContainsFunc(c.Peers, func(p Peer) bool { return p.MTU != 0 })
}

// Encode returns the configuration as a file.
func (c Config) Encode() ([]byte, error) {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the tunnel's configuration: %w", err)
	}
	return append(text, '\n'), nil
}

// Digest tells one configuration file from another.
func Digest(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:16])
}

// State is what the program says of itself, in a file that it replaces whenever something changes.
type State struct {
	// Read is the digest of the configuration that was read last, and Problem what is wrong with it; empty when it holds.
	Read    string `json:"read"`
	Problem string `json:"problem,omitempty"`
	// Repairs counts how often the configuration was applied when somebody asked for it.
	Repairs int `json:"repairs"`
	// Kernel tells whether the kernel's WireGuard is used.
	Kernel bool `json:"kernel"`
	// Routes are the next hops to the peers that can be reached, both by name: a peer's own name is the direct way.
	Routes map[string]string `json:"routes"`
}

// ParseState reads a state file.
func ParseState(file []byte) (State, error) {
	var s State
	if err := json.Unmarshal(file, &s); err != nil {
		return State{}, fmt.Errorf("read the tunnel's state: %w", err)
	}
	return s, nil
}

// Options say where the program finds everything.
type Options struct {
	// ConfigPath, KeyPath and StatePath are files: what is wanted, the private key, and where the program says how it is.
	ConfigPath, KeyPath, StatePath string
	// Ready is called when the interface is up for the first time, Alive once a second as long as the program works. Both
	// may be nil.
	Ready, Alive func()
	Log          *slog.Logger
}

// linkAddress returns a node's link-local address, which follows from its mesh address.
func linkAddress(node netip.Addr) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80}
	four := node.As4()
	copy(a[12:], four[:])
	return netip.AddrFrom16(a)
}

// nodeOf returns the mesh address that belongs to a link-local one.
func nodeOf(link netip.Addr) netip.Addr {
	a := link.As16()
	return netip.AddrFrom4([4]byte(a[12:]))
}

func readConfig(path string) (Config, string, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return Config{}, "", fmt.Errorf("read the tunnel's configuration: %w", err)
	}
	var c Config
	if err := json.Unmarshal(file, &c); err != nil {
		return Config{}, Digest(file), fmt.Errorf("read the tunnel's configuration %s: %w", path, err)
	}
	return c, Digest(file), nil
}
