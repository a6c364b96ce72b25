//go:build linux

package vm

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Defaults of a machine's size. The node image boots with 256 MiB; databases want more.
const (
	DefaultMemory = 512      // MiB
	DefaultDisk   = 10 << 10 // MiB
)

// System is what a machine's firmware says of it in SMBIOS table 1.
type System struct {
	Manufacturer string
	Product      string
	Serial       string
	UUID         string
}

// Config describes a virtual machine. Lab, Name, Dir, Run, Image and MAC are required.
type Config struct {
	Lab  string
	Name string // unique in the lab
	// Dir is the folder of the machine's disk and console.
	Dir string
	// Run is a folder for sockets; its path must be short, since a socket's path has room for 107 bytes.
	Run string
	// Image is the disk to start from: a qcow2 image, which stays untouched below the machine's own disk, or, with
	// DirectKernel, a raw one, which is copied.
	Image string
	// DirectKernel starts the kernel that /boot/grub/grub.cfg of the unpartitioned file system on the disk names,
	// as a cloud that brings its own GRUB does. Without it the disk's own boot loader runs, under a BIOS.
	DirectKernel bool
	// KernelArguments are added to the command line of a kernel that is started directly.
	KernelArguments string
	// Disk is the size of the machine's disk in MiB; DefaultDisk when 0. It is never smaller than the image.
	Disk int
	// Memory is in MiB; DefaultMemory when 0.
	Memory int
	// Accelerator is how the processor is run; TCG when empty.
	Accelerator Accelerator
	// CPUs is the number of processors; 1 when 0.
	CPUs int
	// Seed is the path of a second disk, "" for none. The machine gets a copy, for it may write to it: an agent takes
	// secrets off its seed.
	Seed string
	// MAC is the hardware address of the network card.
	MAC net.HardwareAddr
	// Forward puts the machine behind this one instead of on a cable: it reaches what this machine does (QEMU's user-mode
	// network), and who connects to one of these addresses in the namespace of Boot gets to that TCP port of the machine.
	Forward map[netip.AddrPort]int
	// System is what the firmware says.
	System System
	// Credentials are handed to systemd by the firmware (SMBIOS table 11), by name. They may be secret.
	Credentials map[string][]byte
}

func (c Config) withDefaults() Config {
	if c.Disk == 0 {
		c.Disk = DefaultDisk
	}
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	if c.CPUs == 0 {
		c.CPUs = 1
	}
	return c
}

// tapName is what the machine's end of the cable is called inside its namespace.
const tapName = "tap0"

// processor is the fastest model under emulation that can run all of the image: newer ones make the kernel switch on
// costly defences against faults that an emulated processor does not have.
const processor = "qemu64,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt"

// places are the files of a machine.
type places struct{ dir string }

func (p places) disk(raw bool) string {
	if raw {
		return filepath.Join(p.dir, "disk.raw")
	}
	return filepath.Join(p.dir, "disk.qcow2")
}
func (p places) console() string               { return filepath.Join(p.dir, "console.log") }
func (p places) complaints() string            { return filepath.Join(p.dir, "qemu.log") }
func (p places) kernel() string                { return filepath.Join(p.dir, "vmlinuz") }
func (p places) initrd() string                { return filepath.Join(p.dir, "initrd.img") }
func (p places) credential(name string) string { return filepath.Join(p.dir, "credential-"+name) }

// kernel is what is started directly.
type kernel struct {
	image, initrd string
	arguments     string
}

// argv is QEMU's command line. Nothing on it is secret: every process of this machine can read it.
func (c Config) argv(p places, socket string, k *kernel) []string {
	format := "qcow2"
	if c.DirectKernel {
		format = "raw"
	}
	// A guest's flush reaches this machine's page cache, which survives QEMU: what a guest believes to be on disk is
	// there after a power cut. It need not reach this machine's own disk.
	argv := []string{
		"qemu-system-x86_64",
		"-name", "guest=" + escape("atoll."+c.Lab+"."+c.Name),
		"-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35",
		"-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.Memory),
		"-rtc", "base=utc", "-action", "reboot=shutdown",
		"-chardev", "file,id=console,append=on,path=" + escape(p.console()), "-serial", "chardev:console",
		"-chardev", "socket,id=monitor,server=on,wait=off,path=" + escape(socket), "-mon", "chardev=monitor,mode=control",
		"-device", "virtio-rng-pci",
		"-device", "virtio-scsi-pci,id=scsi",
		"-drive", "if=none,id=disk,discard=unmap,cache=unsafe,format=" + format + ",file=" + escape(p.disk(c.DirectKernel)),
		"-device", "scsi-hd,drive=disk,bus=scsi.0,lun=0,bootindex=1",
		// A drive for discs without a disc, as many machines have one.
		"-device", "scsi-cd,bus=scsi.0,lun=7",
		"-netdev", c.netdev(),
		"-device", "virtio-net-pci,netdev=cable,romfile=,mac=" + c.MAC.String(),
	}
	argv = append(argv, c.Accelerator.arguments()...)
	if c.Seed != "" {
		argv = append(argv,
			"-blockdev", "driver=raw,node-name="+filepath.Base(c.Seed)+",cache.no-flush=on,file.driver=file,file.filename="+escape(c.Seed),
			"-device", "scsi-hd,id="+seedDevice+",drive="+filepath.Base(c.Seed)+",bus=scsi.0,lun=1")
	}
	if s := c.System.smbios(); s != "" {
		argv = append(argv, "-smbios", s)
	}
	if c.System.UUID != "" {
		argv = append(argv, "-uuid", c.System.UUID)
	}
	for _, name := range c.credentialNames() {
		argv = append(argv, "-smbios", "type=11,path="+escape(p.credential(name)))
	}
	if k != nil {
		argv = append(argv, "-kernel", k.image, "-append", k.arguments)
		if k.initrd != "" {
			argv = append(argv, "-initrd", k.initrd)
		}
	}
	return argv
}

// netdev is what the machine's network card is connected to.
func (c Config) netdev() string {
	if len(c.Forward) == 0 {
		return "tap,id=cable,script=no,downscript=no,ifname=" + tapName
	}
	var b strings.Builder
	b.WriteString("user,id=cable")
	for from, port := range c.Forward {
		fmt.Fprintf(&b, ",hostfwd=tcp:%s-:%d", from, port)
	}
	return b.String()
}

// escape doubles the commas of a value, which would otherwise end it.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

func (s System) smbios() string {
	var b strings.Builder
	for _, f := range []struct{ key, value string }{
		{"manufacturer", s.Manufacturer}, {"product", s.Product}, {"serial", s.Serial},
	} {
		if f.value != "" {
			b.WriteString("," + f.key + "=" + escape(f.value))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "type=1" + b.String()
}

func (c Config) credentialNames() []string {
	var names []string
	for name := range c.Credentials {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// credential is the string in SMBIOS table 11 by which systemd knows a credential (systemd.system-credentials(7)).
func credential(name string, value []byte) []byte {
	return fmt.Appendf(nil, "io.systemd.credential.binary:%s=%s", name, base64.StdEncoding.EncodeToString(value))
}
