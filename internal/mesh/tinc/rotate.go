package tinc

import (
	"context"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/keyfile"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// tinc 1.0 knows one key of a node, and reads the private one at its start alone. So a node has another name in tinc with each
// key: whoever knows both names lets it in under either, and it may change at any moment, without anybody having to change
// something in the same one. Both names have the node's address, which tinc sends to the one that is reachable.

// nameLetter stands between a node's name and the number of its key. It is in no name, so no two nodes become one.
const nameLetter = "K"

// nameOf returns tinc's name for a node with one of its keys.
func nameOf(node string, number int) string {
	if number == 0 {
		return tincName(node)
	}
	return tincName(node) + nameLetter + strconv.Itoa(number)
}

// isNameOf tells whether a name is another one of the node that has the name self.
func isNameOf(name, self string) bool {
	node, _, _ := strings.Cut(self, nameLetter)
	base, number, changed := strings.Cut(name, nameLetter)
	_, err := strconv.Atoi(number)
	return base == node && (!changed || err == nil)
}

// namesOf returns the names under which a peer may come.
func namesOf(p topology.Peer) []string {
	names := []string{nameOf(p.Name, p.KeyNumber)}
	if p.OtherKey != nil && p.OtherKey.Number != p.KeyNumber {
		names = append(names, nameOf(p.Name, p.OtherKey.Number))
	}
	return names
}

// keysOf returns the key of each of those names.
func keysOf(p topology.Peer) []string {
	keys := []string{p.MeshKey}
	if len(namesOf(p)) > 1 {
		keys = append(keys, p.OtherKey.Public)
	}
	return keys
}

// ownNumber returns the number of the node's key.
func ownNumber(self topology.Peer, public string) int {
	if self.OtherKey != nil && self.OtherKey.Public == public {
		return self.OtherKey.Number
	}
	return self.KeyNumber
}

// up tells whether there is a connection to a peer, under any of its names.
func (d *Driver) up(p topology.Peer) bool {
	for _, name := range namesOf(p) {
		if d.connected.up(name) {
			return true
		}
	}
	return false
}

// keys are the files of the node's keys.
func (d *Driver) keys() keyfile.Keys {
	return keyfile.Keys{System: d.sys, File: keyPath, Next: nextKeyPath, Public: d.publicOf, Make: d.makeKey}
}

// Keys implements mesh.Rotator.
func (d *Driver) Keys(context.Context) (current, prepared string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys().Both()
}

// PrepareKey implements mesh.Rotator.
func (d *Driver) PrepareKey(ctx context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys().Prepare(ctx)
}

// SwitchKey implements mesh.Rotator.
func (d *Driver) SwitchKey(_ context.Context, prepared string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys().Switch(prepared)
}
