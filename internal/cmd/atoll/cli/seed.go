package cli

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh"

	"github.com/atollhq/terraform-provider-atoll/internal/seed"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// The forms of a seed.
const (
	formatDisk = "disk"
	formatJSON = "json"
)

// seedOptions are the flags of atoll seed.
type seedOptions struct {
	ticket              ticketFlags
	out, device, format string
	force               bool
	network             networkFlags
	sshKeys             []string
	userData            string
}

// networkFlags describe a network without DHCP.
type networkFlags struct {
	addresses, gateways, dns []string
	port, mac                string
}

func (n *networkFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&n.addresses, "address", nil, "`address/prefix` of the machine, in place of DHCP; may be repeated")
	flags.StringArrayVar(&n.gateways, "gateway", nil, "default `router`; once for IPv4, once for IPv6")
	flags.StringArrayVar(&n.dns, "dns", nil, "`address` of a name server; may be repeated")
	flags.StringVar(&n.port, "interface", "", "`name` of the port that gets the addresses, with * for any characters (default \""+seed.AnyInterface+"\": every Ethernet port with a cable, so name one when several have)")
	flags.StringVar(&n.mac, "mac", "", "hardware `address` of that port, in place of its name")
}

// network returns what the flags say, nil for DHCP.
func (n networkFlags) network() (*seed.Network, error) {
	if len(n.addresses) == 0 {
		if len(n.gateways) > 0 || len(n.dns) > 0 || n.port != "" || n.mac != "" {
			return nil, errors.New("--gateway, --dns, --interface and --mac belong to an --address; without one the machine uses DHCP")
		}
		return nil, nil
	}
	out := &seed.Network{Interface: n.port, MAC: n.mac}
	for _, text := range n.addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--address %s: write an address and the length of its network's prefix, like 203.0.113.10/24", text)
		}
		out.Addresses = append(out.Addresses, p)
	}
	var err error
	if out.Gateways, err = parseAddresses("gateway", n.gateways); err != nil {
		return nil, err
	}
	if out.DNS, err = parseAddresses("dns", n.dns); err != nil {
		return nil, err
	}
	return out, out.Check()
}

func parseAddresses(flag string, texts []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--%s %s: write an IP address", flag, text)
		}
		out = append(out, a)
	}
	return out, nil
}

func seedCommand(env Environment) *cobra.Command {
	o := seedOptions{ticket: ticketFlags{lifetime: 24 * time.Hour}}
	cmd := &cobra.Command{
		Use:   "seed --node NAME",
		Short: "Make the seed of a machine that Terraform cannot reach",
		Long: `Makes the seed of a machine that nobody can reach over a network yet: a small volume (FAT, label CIDATA) that
the machine's agent finds on a USB stick, a virtual CD or a second disk, and that tells it which node of which
cluster it is. cloud-init finds its own files on the same volume: SSH keys, a network without DHCP, and whatever
else --user-data holds. With --format json it makes only the first-boot data, for the file atoll.json on the
image's EFI partition, for /etc/atoll/first-boot.json, or for a web server that a PXE boot points to.

Whoever has the seed before the machine has used it can join in the machine's place: it is a file that only you
can read, and good for --lifetime. The agent overwrites the ticket on the volume once it has joined.`,
		Example: `  # A USB stick for a machine with DHCP: make an image, then write it to the stick.
  atoll seed --node hk1
  atoll seed --node hk1 --device /dev/sdb

  # Remote hands: a machine with a fixed address and your SSH key; send them hk1.seed.img over a channel you trust,
  # to be copied to a stick or attached by the remote console.
  atoll seed --node hk1 --lifetime 72h --ssh-key ~/.ssh/id_ed25519.pub \
    --address 203.0.113.10/24 --gateway 203.0.113.1 --dns 9.9.9.9

  # A disk that is already written with the image: the file on its EFI partition.
  atoll seed --node hk1 --format json --out /media/ESP/atoll.json

  # PXE: put the file on a web server and name it on the kernel's command line, with the checksum that is printed.
  atoll seed --node hk1 --format json --lifetime 2h
  #   atoll.first_boot=https://boot.example.com/hk1.json atoll.first_boot_sha256=...`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, env) },
	}
	flags := cmd.Flags()
	o.ticket.add(cmd)
	flags.StringVar(&o.out, "out", "", "the `file` to write, - for standard output (default NODE.seed.img or NODE.first-boot.json)")
	flags.StringVar(&o.device, "device", "", "the `device` to write the volume to, such as /dev/sdb; refused while it is in use")
	flags.StringVar(&o.format, "format", formatDisk, formatDisk+" for the volume, "+formatJSON+" for the bare first-boot data")
	flags.BoolVar(&o.force, "force", false, "overwrite what is there")
	flags.StringArrayVar(&o.sshKeys, "ssh-key", nil, "`file` with public SSH keys that may log in as root; may be repeated")
	flags.StringVar(&o.userData, "user-data", "", "`file` with cloud-init user-data of your own, in place of --ssh-key")
	o.network.add(flags)
	cmd.MarkFlagsMutuallyExclusive("out", "device")
	cmd.MarkFlagsMutuallyExclusive("ssh-key", "user-data")
	return cmd
}

func (o *seedOptions) run(cmd *cobra.Command, env Environment) error {
	s, err := o.volume()
	if err != nil {
		return err
	}
	// Everything that can be refused is refused before a ticket is made.
	target, err := o.target(env)
	if err != nil {
		return err
	}
	made, err := o.ticket.issue(cmd, env)
	if err != nil {
		return err
	}
	data := slices.Concat(made.payload, []byte("\n"))
	if o.format == formatDisk {
		s.Payload, s.Hostname = made.payload, o.ticket.node
		s.Instance = seed.InstanceID(o.ticket.cluster, o.ticket.node, made.ticket.ID)
		if data, err = s.Image(); err != nil {
			return err
		}
	}
	if err := target.write(data); err != nil {
		return err
	}
	cmd.PrintErrf("%s lets one machine join %s as %s until %s.\n", target.name, o.ticket.cluster, o.ticket.node,
		made.ticket.Expires.Format(time.RFC3339))
	if o.format == formatJSON {
		cmd.PrintErrf("SHA-256: %x\n", sha256.Sum256(data))
	}
	return nil
}

// volume returns the seed that the flags describe, still without its ticket.
func (o *seedOptions) volume() (seed.Seed, error) {
	var s seed.Seed
	if o.format != formatDisk && o.format != formatJSON {
		return s, fmt.Errorf("--format %s: choose %s or %s", o.format, formatDisk, formatJSON)
	}
	err := spec.ValidateName("node", o.ticket.node).Err()
	if err != nil {
		return s, err
	}
	if s.Network, err = o.network.network(); err != nil {
		return s, err
	}
	for _, name := range o.sshKeys {
		keys, err := readKeys(name)
		if err != nil {
			return s, err
		}
		s.SSHKeys = append(s.SSHKeys, keys...)
	}
	if o.userData != "" {
		if s.UserData, err = os.ReadFile(o.userData); err != nil {
			return s, fmt.Errorf("read the user-data: %w", err)
		}
	}
	if o.format == formatJSON && (s.Network != nil || s.SSHKeys != nil || s.UserData != nil || o.device != "") {
		return s, fmt.Errorf("--format %s holds nothing but first-boot data: a network, SSH keys, user-data and --device need --format %s",
			formatJSON, formatDisk)
	}
	return s, nil
}

// readKeys reads public keys, one a line.
func readKeys(name string) ([]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the SSH keys: %w", err)
	}
	if bytes.Contains(data, []byte("PRIVATE KEY")) {
		return nil, fmt.Errorf("%s is a private key: name the public one, %s.pub", name, name)
	}
	var keys []string
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if _, _, _, _, err := ssh.ParseAuthorizedKey(line); err != nil {
			return nil, fmt.Errorf("%s: line %q is no public SSH key", name, line)
		}
		keys = append(keys, string(line))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no public SSH key", name)
	}
	return keys, nil
}

// target is where a seed goes.
type target struct {
	name  string
	write func(data []byte) error
}

func (o *seedOptions) target(env Environment) (target, error) {
	switch {
	case o.device != "":
		return o.deviceTarget()
	case o.out == "-":
		if f, ok := env.Stdout.(*os.File); ok && o.format == formatDisk && isTerminal(f) {
			return target{}, errors.New("a volume is nothing for a terminal: name a file with --out, or send it to a program")
		}
		return target{"What was printed", func(data []byte) error {
			_, err := io.Copy(env.Stdout, bytes.NewReader(data))
			return err
		}}, nil
	}
	name := o.out
	if name == "" {
		name = o.ticket.node + map[string]string{formatDisk: ".seed.img", formatJSON: ".first-boot.json"}[o.format]
	}
	if err := seed.CheckFile(name, o.force); err != nil {
		return target{}, refusedFile(err)
	}
	return target{name, func(data []byte) error {
		if err := seed.WriteFile(name, data, o.force); err != nil {
			return refusedFile(err)
		}
		return nil
	}}, nil
}

func refusedFile(err error) error {
	var device *seed.DeviceError
	switch {
	case errors.As(err, &device):
		return fmt.Errorf("%w: to overwrite what is on it, say --device %s in place of --out", err, device.Path)
	case errors.Is(err, seed.ErrExists):
		return fmt.Errorf("%w and is left as it is: name another file with --out, or overwrite it with --force", err)
	}
	return fmt.Errorf("write the seed: %w", err)
}

func (o *seedOptions) deviceTarget() (target, error) {
	d, err := seed.Inspect(o.device)
	if err != nil {
		return target{}, err
	}
	if len(d.Holds) > 0 && !o.force {
		return target{}, fmt.Errorf("this would overwrite %s: if that is the right one, say --force", d)
	}
	return target{d.String(), func(data []byte) error { return seed.WriteDevice(o.device, data) }}, nil
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
