package wireguard

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard/tunnel"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Fit implements mesh.Fitter. WireGuard sends what it is given, in packets of that size and its overhead; whoever has to drop one seldom says so.
func (d *Driver) Fit(ctx context.Context, paths map[string]int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.view == nil {
		return nil
	}
	before := d.measured()
	after := maps.Clone(before)
	for name, path := range paths {
		if path == 0 {
			delete(after, name)
		} else {
			after[name] = path
		}
	}
	if maps.Equal(before, after) {
		return nil
	}
	public, err := d.publicKey()
	if err != nil {
		return fmt.Errorf("fit the mesh's packets into its paths: %w", err)
	}
	d.paths = after
	// What is wrong with single peers Apply has said.
	c, _ := newConfig(d.view, public, d.resolver.Addresses, after)
	if err := d.apply(ctx, c); err != nil {
		d.paths = before
		return fmt.Errorf("fit the mesh's packets into its paths: %w", err)
	}
	return nil
}

// measured returns what the paths to peers take, as far as it is known; after a restart what was known before. It is not changed any more.
func (d *Driver) measured() map[string]int {
	if d.paths != nil {
		return d.paths
	}
	d.paths = map[string]int{}
	text, err := d.sys.ReadFile(configPath)
	if err != nil {
		return d.paths // there is none yet; what cannot be read is measured again
	}
	var before tunnel.Config
	if json.Unmarshal(text, &before) != nil {
		return d.paths // the same
	}
	for _, p := range before.Peers {
		if p.Path != 0 {
			d.paths[p.Name] = p.Path
		}
	}
	return d.paths
}

// forget drops what is known of paths that there are not any more: nobody would measure them again.
func (d *Driver) forget(v *topology.View) {
	paths := maps.Clone(d.measured())
	maps.DeleteFunc(paths, func(name string, _ int) bool {
		p, there := v.Peer(name)
		return !there || len(p.Addresses) == 0 || len(v.Self.Addresses) == 0
	})
	d.paths = paths
}

// smaller returns the lesser of two sizes, of which 0 is none.
func smaller(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
