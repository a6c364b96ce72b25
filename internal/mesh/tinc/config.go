package tinc

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// MTU is the mesh interface's largest packet, in bytes. tinc adds up to 85 bytes over IPv4 and 105 over IPv6 (IP and UDP
// headers, sequence number, an Ethernet header, CBC padding, MAC), so 1,380 fits the paths of 1,492 bytes that PPPoE
// leaves. A larger packet would still arrive, but over the slow TCP connection.
const MTU = 1380

const (
	interfaceName = "atoll0"
	macLength     = 16
	minKeyBits    = 2048
	header        = "# Written by atolld; changes are overwritten.\n"
)

// config is everything that one view makes of a node, as text.
type config struct {
	// main is tinc.conf without connectTo, which tinc reads again on HUP, other than the rest.
	main      string
	connectTo string
	// prefix is the node's mesh address with the length of the mesh network.
	prefix netip.Prefix
	// hosts are the host files by tinc's name of the node; self is the node's own.
	hosts  map[string]string
	self   string
	filter string
	// holds are the commands that hold a peer back, and names all its names, both by tinc's names of the peer.
	holds map[string]string
	names map[string][]string
}

// newConfig returns the configuration that v asks for. A peer whose key cannot be used is left out, and the error says so;
// the configuration holds for all others. resolve returns the IP addresses of a peer, best first: host names are resolved
// here, because tincd stands still while it asks the DNS, and one dead name server would stop every link of the node.
func newConfig(v *topology.View, public string, resolve func(topology.Peer) []netip.Addr) (config, error) {
	var problems []error
	c := config{self: nameOf(v.Self.Name, ownNumber(v.Self, public)), hosts: map[string]string{}, holds: map[string]string{}, names: map[string][]string{}}
	c.hosts[c.self] = header + fmt.Sprintf("Subnet = %s/32\n", v.Self.MeshAddress) + public
	var sources []netip.Addr
	var connect strings.Builder
	for _, p := range v.Peers {
		addresses, known := resolve(p), false
		for i, text := range keysOf(p) {
			key, err := canonicalKey(text)
			if err != nil {
				problems = append(problems, fmt.Errorf("mesh key of node %q: %w", p.Name, err))
				continue
			}
			known = true
			name := namesOf(p)[i]
			c.hosts[name] = hostFile(p, addresses, v.Mesh.Port, key)
			c.holds[name], c.names[name] = holdRules(p.MeshAddress, addresses), namesOf(p)
			if len(addresses) > 0 {
				fmt.Fprintf(&connect, "ConnectTo = %s\n", name)
			}
		}
		if known {
			sources = append(sources, p.MeshAddress)
		}
	}
	c.connectTo = connect.String()
	c.main = mainFile(v, c.self)
	c.prefix = ownPrefix(v)
	c.filter = filterRules(sources, v.Mesh.Port)
	return c, errors.Join(problems...)
}

// tincName returns tinc's name for a node. tinc knows letters, digits and underscores; our names have no underscore, so
// no two nodes become one.
func tincName(node string) string { return strings.ReplaceAll(node, "-", "_") }

// mainFile leaves two traps of tinc 1.0 behind. IndirectData: without it, tinc sends UDP to a node's last address for as
// long as the node is reachable by anybody, also after the connection to it died; only a failed round of MTU probes ends
// that, and when the path dies while such a round is under way (up to 30 s after every connect) the round runs to its end
// first. With it, packets go where a live connection is. StrictSubnets: only the operator's objects say who has which
// address, not what a peer tells.
func mainFile(v *topology.View, self string) string {
	t := v.Mesh.TincOrDefault()
	var b strings.Builder
	b.WriteString(header)
	for _, line := range []struct{ name, value string }{
		{"Name", self},
		{"Interface", interfaceName},
		{"Mode", "router"},
		{"Port", fmt.Sprint(v.Mesh.Port)},
		{"StrictSubnets", "yes"},
		{"IndirectData", "yes"},
		{"Forwarding", "internal"},
		{"DecrementTTL", "yes"},
		{"PingInterval", fmt.Sprint(t.PingInterval)},
		{"PingTimeout", fmt.Sprint(t.PingTimeout)},
		{"MaxTimeout", fmt.Sprint(pause(t.MaxTimeout, v.Self.MeshAddress))},
		{"Cipher", "aes-256-cbc"},
		{"Digest", "sha256"},
		{"MACLength", fmt.Sprint(macLength)},
		{"Hostnames", "no"},
	} {
		fmt.Fprintf(&b, "%s = %s\n", line.name, line.value)
	}
	return b.String()
}

// pause returns how long this node waits between two attempts to connect, from 1 s to longest. It differs from node to
// node: two nodes that dial each other at the same moment each close the connection that the other keeps, and with the
// same pause they would meet again.
func pause(longest int, own netip.Addr) int { return longest - int(own.As4()[3])%longest }

// core returns a digest of what tincd reads at its start alone.
func (c config) core() string {
	sum := sha256.Sum256([]byte(c.main + c.upCommands() + c.hosts[c.self]))
	return hex.EncodeToString(sum[:])
}

func (c config) upCommands() string {
	return "rm -rf " + comeDir + "\nmkdir " + comeDir + "\nnft -f " + filterPath + "\ncat " + holdDir + "/* 2>/dev/null | sed s/" + holdWord + "/" + holdAway + "/ | nft -f -\n" + fmt.Sprintf("ip link set dev \"$INTERFACE\" mtu %d up\nip address replace %s dev \"$INTERFACE\"\n", MTU, c.prefix)
}

// upScript returns tinc-up, which runs when tincd has made the interface, so that the mesh is back after a crash without
// the agent. It notes for the agent what tincd was started with.
func (c config) upScript() string {
	return "#!/bin/sh\n" + header + "echo " + c.core() + " >" + corePath + "\n" + c.upCommands()
}

// ownPrefix returns the node's mesh address with the length of the mesh network.
func ownPrefix(v *topology.View) netip.Prefix {
	return netip.PrefixFrom(v.Self.MeshAddress, v.CIDR.Bits())
}

func hostFile(p topology.Peer, addresses []netip.Addr, port int, key string) string {
	var b strings.Builder
	b.WriteString(header)
	for _, a := range addresses {
		fmt.Fprintf(&b, "Address = %s %d\n", a, port)
	}
	fmt.Fprintf(&b, "Subnet = %s/32\n", p.MeshAddress)
	b.WriteString(linkOptions(p.Link))
	b.WriteString(key)
	return b.String()
}

// linkOptions returns what this node's copy of the peer's host file says about their link. tinc 1.0 takes each of them from
// there when the connection is made. Weight enters tinc's spanning tree only: between two ways tinc 1.0 takes the one with
// fewer hops.
func linkOptions(l spec.LinkSettings) string {
	var b strings.Builder
	if l.TCPOnly {
		b.WriteString("TCPOnly = yes\n")
	}
	if l.MTU != 0 {
		fmt.Fprintf(&b, "PMTU = %d\n", payload(l.MTU))
	}
	return b.String()
}

// payload returns how much of a path's packet is left for tinc's payload, which begins with an Ethernet header: less IPv6
// and UDP headers and the MAC come whole cipher blocks, of which padding takes at least a byte and the sequence number four.
func payload(pathMTU int) int {
	const block = 16
	encrypted := (pathMTU - 40 - 8 - macLength) / block * block
	return encrypted - 1 - 4
}

// canonicalKey returns a peer's public key written anew. What a peer claims as its key ends up in a configuration file, so
// nothing but the key may come through.
func canonicalKey(text string) (string, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "RSA PUBLIC KEY" || len(block.Headers) != 0 || strings.TrimSpace(string(rest)) != "" {
		return "", errors.New("it is not one PEM block \"RSA PUBLIC KEY\"")
	}
	key, err := x509.ParsePKCS1PublicKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("read it: %w", err)
	}
	if key.N.BitLen() < minKeyBits {
		return "", fmt.Errorf("it has %d bits, fewer than %d", key.N.BitLen(), minKeyBits)
	}
	return encodePublic(key), nil
}

func encodePublic(key *rsa.PublicKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(key)}))
}
