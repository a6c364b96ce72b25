//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/install"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// layers are the read-only file systems below the machines' disks.
type layers struct {
	base string // Debian
	// own is held while what Atoll's own image adds to base is made.
	own sync.Mutex
}

// ownImages is how the identifiers of an account's own images begin; all others are the vendor's plain systems.
const ownImages = "private/"

// imageLayer installs the agent into a layer of its own, as an image build does, and returns the layer; "" when the lab
// has no agent. The layer is that of the agent as it is now: one that was built again is in the next machine.
func (l *Lab) imageLayer(ctx context.Context) (string, error) {
	if l.options.Atolld == "" {
		return "", nil
	}
	l.layers.own.Lock()
	defer l.layers.own.Unlock()
	program, err := os.ReadFile(l.options.Atolld)
	if err != nil {
		return "", fmt.Errorf("put the agent into the image: %w", err)
	}
	sum := sha256.Sum256(program)
	dir := filepath.Join(l.record.data.DataDir, "layers", "atolld-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unfinished := dir + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", fmt.Errorf("put the agent into the image: %w", err)
	}
	if _, err := install.Install(ctx, host.Real(), install.Options{Root: unfinished, Binary: l.options.Atolld}); err != nil {
		return "", fmt.Errorf("put the agent into the image: %w", err)
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return "", fmt.Errorf("put the agent into the image: %w", err)
	}
	return dir, nil
}

// serveCloud starts the Linode API and its metadata service on the router.
func (l *Lab) serveCloud(ctx context.Context) error {
	l.cloud = &linode.Server{
		Machines: linodes{l}, Token: l.operator.token, Log: l.options.Log.With("cloud", "linode"), Lookup: l.linodeAt,
		ImageDir: filepath.Join(l.record.data.DataDir, "uploads"),
	}
	router := l.net.Router()
	api, err := router.Listen(ctx, "tcp", net.JoinHostPort(network.RouterAddress, "8480"))
	if err != nil {
		return fmt.Errorf("start the Linode API: %w", err)
	}
	l.serve(api, l.cloud)
	addresses := []string{network.MetadataAddress}
	if network.HaveIPv6() {
		addresses = append(addresses, network.MetadataAddress6)
	}
	for _, a := range addresses {
		metadata, err := router.Listen(ctx, "tcp", net.JoinHostPort(a, "80"))
		if err != nil {
			return fmt.Errorf("start the metadata service: %w", err)
		}
		l.serve(metadata, l.cloud.Metadata())
	}
	return nil
}

// linodeAt tells which instance has an address.
func (l *Lab) linodeAt(a netip.Addr) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.machines {
		if m.kind == KindLinode && (m.addresses.IPv4 == a.Unmap() || m.addresses.IPv6 == a || linkLocal(m.mac(l.options.Name)) == a.WithZone("")) {
			return m.id, true
		}
	}
	return 0, false
}

// linkLocal is the address that a virtual machine asks from before it has any other (RFC 4291, appendix A), as cloud-init does.
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]})
}

// linodes boots what the Linode API is asked for.
type linodes struct{ lab *Lab }

var (
	_ linode.Machines = linodes{}
	_ linode.Disks    = linodes{}
)

// Create implements linode.Machines.
func (c linodes) Create(ctx context.Context, spec linode.Machine) (linode.Addresses, error) {
	s := seed{
		name: c.name(ctx, spec), site: spec.Region, kind: KindLinode, id: spec.ID,
		authorizedKeys: spec.AuthorizedKeys, layers: []string{c.lab.layers.base},
		// A container has no DMI to read the vendor from.
		files:     map[string]string{"/etc/atoll/platform": "linode\n"},
		imageFile: spec.ImageFile, disk: spec.Disk, rootPass: spec.RootPass,
	}
	if strings.HasPrefix(spec.Image, ownImages) && c.lab.options.Boot == BootContainer {
		layer, err := c.lab.imageLayer(ctx)
		if err != nil {
			return linode.Addresses{}, err
		}
		if layer != "" {
			s.layers = append(s.layers, layer)
		}
	}
	m, err := c.lab.add(ctx, s)
	if err != nil {
		return linode.Addresses{}, err
	}
	return linode.Addresses{IPv4: m.addresses.IPv4, IPv6: m.addresses.IPv6, Gateway: m.addresses.Gateway, Prefix: network.SitePrefix}, nil
}

// name calls a machine by its label unless another machine of the lab has that name.
func (c linodes) name(ctx context.Context, spec linode.Machine) string {
	c.awaitName(ctx, spec.Label)
	if _, err := c.lab.machine(spec.Label); err == nil || spec.Label == "" || spec.Label == network.Operator || spec.Label == network.Edge {
		return fmt.Sprintf("linode-%d", spec.ID)
	}
	return spec.Label
}

// awaitName waits a while for an instance of that label that is being deleted: no two living ones have the same label.
func (c linodes) awaitName(ctx context.Context, label string) {
	ctx, cancel := context.WithTimeout(ctx, c.lab.options.Boot.patience().shutdown)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if m, err := c.lab.machine(label); err != nil || m.kind != KindLinode {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Boot implements linode.Machines.
func (c linodes) Boot(ctx context.Context, id int) error {
	m, err := c.find(id)
	if err != nil {
		return err
	}
	return c.lab.boot(ctx, m)
}

// Shutdown implements linode.Machines.
func (c linodes) Shutdown(ctx context.Context, id int) error {
	m, err := c.find(id)
	if err != nil {
		return err
	}
	return c.lab.shutdown(ctx, m)
}

// Reboot implements linode.Machines.
func (c linodes) Reboot(ctx context.Context, id int) error {
	if err := c.Shutdown(ctx, id); err != nil {
		return err
	}
	return c.Boot(ctx, id)
}

// Delete implements linode.Machines.
func (c linodes) Delete(ctx context.Context, id int) error {
	m, err := c.find(id)
	if errors.Is(err, ErrNoMachine) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.lab.net.Silence(m.name); err != nil {
		return err
	}
	return c.lab.dispose(ctx, m)
}

// Disk implements linode.Disks.
func (c linodes) Disk(_ context.Context, id int) (string, error) {
	m, err := c.find(id)
	switch {
	case err != nil:
		return "", err
	case m.virtual == nil:
		return "", fmt.Errorf("make an image of %s: %w", m.name, ErrNotVirtual)
	case m.virtual.On():
		return "", fmt.Errorf("make an image of %s: it is on: switch it off first", m.name)
	}
	return m.virtual.Disk(), nil
}

func (c linodes) find(id int) (*machine, error) {
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	for _, m := range c.lab.machines {
		if m.kind == KindLinode && m.id == id {
			return m, nil
		}
	}
	return nil, fmt.Errorf("Linode %d: %w", id, ErrNoMachine) //nolint:staticcheck // a name
}
