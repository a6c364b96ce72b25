package linode

import (
	"context"
	"net/netip"
)

// Machines runs what the API describes. Create returns before the machine is ready to boot when
// preparing it takes long; Boot, Shutdown, Reboot and Delete return when they are done. Delete of a
// machine that is gone, Boot of one that runs and Shutdown of one that does not are no errors,
// because a restarted lab repeats what it had not finished. Calls for different machines come at
// the same time, calls for one machine one after another.
type Machines interface {
	Create(ctx context.Context, m Machine) (Addresses, error)
	Boot(ctx context.Context, id int) error
	Shutdown(ctx context.Context, id int) error
	Reboot(ctx context.Context, id int) error
	Delete(ctx context.Context, id int) error
}

// Rebuilder is what Machines may implement too: put a machine back to an image. Without it a
// rebuild is Delete and Create, and the instance may get other addresses.
type Rebuilder interface {
	Rebuild(ctx context.Context, m Machine) error
}

// Disks is what Machines may implement too, for images that are made of a disk: the path of the root disk of a machine
// that is off, a raw file or a qcow2 one that holds a file system without partitions. Nobody changes the disk until the
// next call for the machine; what is returned is only read. Without it such an image has no content.
type Disks interface {
	Disk(ctx context.Context, id int) (path string, err error)
}

// Machine is what an instance is made of.
type Machine struct {
	ID     int
	Label  string
	Region string
	Type   string
	// Image is the image's ID, e.g. "private/1".
	Image string
	// ImageFile is the path of the image's raw file system without partitions, empty when the image has no content. It
	// is there until Create or Rebuild returns, so that a machine needs a copy of its own.
	ImageFile string
	// UserData is what the metadata service will hand out, decoded. It is a secret.
	UserData       []byte
	AuthorizedKeys []string
	// RootPass is the password that the vendor gives root on the disk, empty for none. It is a secret.
	RootPass string
	// Memory is in MiB, Disk in MiB.
	VCPUs, Memory, Disk int
}

// Addresses are a machine's public addresses.
type Addresses struct {
	IPv4 netip.Addr `json:"ipv4"`
	// IPv6 is made up when it is not set: the API has one for every instance.
	IPv6 netip.Addr `json:"ipv6,omitzero"`
	// Gateway and Prefix describe the IPv4 network; they default to the first address of a /24.
	Gateway netip.Addr `json:"gateway,omitzero"`
	Prefix  int        `json:"prefix,omitempty"`
}

// fill sets what the machine did not say.
func (a Addresses) fill(id int) Addresses {
	if !a.IPv6.IsValid() {
		// The vendor derives it from the MAC address; any distinct one in 2001:db8::/32 will do.
		b := netip.MustParseAddr("2001:db8:f03c::1").As16()
		b[12], b[13], b[14], b[15] = byte(id>>24), byte(id>>16), byte(id>>8), byte(id)
		a.IPv6 = netip.AddrFrom16(b)
	}
	if a.Prefix == 0 {
		a.Prefix = 24
	}
	if !a.Gateway.IsValid() && a.IPv4.Is4() {
		network := netip.PrefixFrom(a.IPv4, a.Prefix).Masked().Addr()
		a.Gateway = network.Next()
	}
	return a
}

// inMemory gives the n-th instance of a server without machines an address of 198.19.0.0/16, the
// upper half of the benchmarking range; the lower half is the lab's.
func inMemory(n int) Addresses {
	host := n % (255 * 253)
	return Addresses{IPv4: netip.AddrFrom4([4]byte{198, 19, byte(host / 253), byte(host%253 + 2)})}
}
