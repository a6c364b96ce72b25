//go:build linux

package imagetest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// carrier is what brings the first-boot data to a machine.
type carrier int

const (
	bySeed carrier = iota
	byCredential
	byKernelArgument
	byESP
)

// ordeal is something bad that happens to a machine at its first boot. It must join all the same.
type ordeal struct {
	node string
	what string
	by   carrier
	// grub boots the machine by its own boot loader, from a disk with partitions, instead of starting its kernel directly.
	grub bool
	// spoilt has the first-boot data on the seed disk damaged, full the root file system filled.
	spoilt, full bool
	// happen makes it happen to a machine that has just got power.
	happen func(t *testing.T, s *site, node string)
}

// cut cuts the power once the machine has said something on its console, and gives it back.
func cut(node, what, marker string) ordeal {
	said := regexp.MustCompile(marker)
	return ordeal{node: node, what: "power cut " + what, happen: func(t *testing.T, s *site, node string) {
		s.awaitConsole(t, node, said)
		if err := s.Kill(t.Context(), node); err != nil {
			t.Fatal(err)
		}
		if err := s.PowerOn(t.Context(), node); err != nil {
			t.Fatal(err)
		}
	}}
}

// withGRUB is an ordeal of a machine with a boot loader and partitions of its own.
func withGRUB(o ordeal) ordeal {
	o.grub = true
	return o
}

// ordeals are ten moments of first boot at which the power is cut, in their order, and other misfortunes. Some machines get
// their first-boot data by other carriers than a seed disk.
func ordeals() []ordeal {
	return []ordeal{
		cut("cut0", "as the kernel starts", `Linux version`),
		cut("cut1", "in the initial RAM disk", `Run /init as init process`),
		cut("cut2", "as the root file system is mounted", `EXT4-fs \(sda\): mounted`),
		cut("cut3", "as systemd begins", `systemd \d+.* running in system mode`),
		withGRUB(cut("cut4", "as partition and root file system grow", `resizing filesystem`)),
		cut("cut5", "as the machine keeps its identity", `Starting systemd-machine-id-commit`),
		cut("cut6", "as the agent starts", `Start(ing|ed) atolld.service`),
		cut("cut7", "as the network comes up", `Start(ing|ed) systemd-networkd.service`),
		cut("cut8", "as cloud-init runs", `Cloud-init v\. .* running`),
		cut("cut9", "as the node joins", `node cut9 of cluster web`),
		{node: "dark", what: "no network for a while", happen: dark, by: byCredential},
		{node: "torn", what: "a damaged seed", happen: newSeed, spoilt: true},
		{node: "full", what: "a full disk", happen: makeSpace, full: true},
		{node: "pxe", what: "nothing but the kernel's command line", by: byKernelArgument},
		{node: "esp", what: "nothing but the EFI system partition", by: byESP, grub: true},
	}
}

// dark pulls the cable before the machine asks for an address and puts it back when it has been heard to wait for that.
func dark(t *testing.T, s *site, node string) {
	if err := s.PullCable(node); err != nil {
		t.Fatal(err)
	}
	s.awaitConsole(t, node, regexp.MustCompile(`waits for .*no network: no cable in `))
	if err := s.PlugCable(node); err != nil {
		t.Fatal(err)
	}
}

// makeSpace waits until the machine has said that its disk is full, and makes space as somebody does who takes the disk to
// another machine: nobody can log in where nothing can be written.
func makeSpace(t *testing.T, s *site, node string) {
	s.awaitConsole(t, node, regexp.MustCompile(`cannot be used until there is space on the disk.*no space left on device`))
	if err := s.Kill(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	disk := s.disk(t, node)
	// What the journal holds would otherwise be written over the change. It exits with 1 for having mended something.
	out, err := exec.CommandContext(t.Context(), "e2fsck", "-fp", disk).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) {
		t.Fatalf("e2fsck: %v\n%s", err, out)
	}
	debugfs(t, disk, "rm filler\n")
	if err := s.PowerOn(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}

// left is how many blocks of 4 KiB fill leaves free: so few that ext4 keeps all of them for itself, even from root.
const left = 2000

// fill leaves next to nothing of the file system free. It grows by nothing: the disk ends where it does.
func fill(t *testing.T, disk string) {
	t.Helper()
	free := regexp.MustCompile(`Free blocks:\s+(\d+)`)
	blocks := func() int {
		found := free.FindStringSubmatch(debugfs(t, disk, "stats -h\n"))
		if found == nil {
			t.Fatal("debugfs does not say how many blocks are free")
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	debugfs(t, disk, fmt.Sprintf("write /dev/null filler\nfallocate filler 0 %d\n", blocks()-left))
	if n := blocks(); n > left {
		t.Fatalf("%d blocks are free, want at most %d", n, left)
	}
}

// debugfs changes a file system that nobody has mounted.
func debugfs(t *testing.T, disk, requests string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "debugfs", "-w", disk)
	cmd.Stdin = strings.NewReader(requests)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("debugfs: %v\n%s", err, out)
	}
	return string(out)
}

// onESP puts first-boot data onto the EFI system partition of a disk, as any computer can.
func onESP(t *testing.T, disk, payload string) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "disk.raw")
	for _, argv := range [][]string{
		{"qemu-img", "convert", "-O", "raw", disk, raw},
		{"mcopy", "-i", raw + "@@4M", payload, "::/atoll.json"},
		{"qemu-img", "convert", "-O", "qcow2", raw, disk},
	} {
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
}

// good is where a seed is that is not spoilt.
func (s *site) good(node string) string { return filepath.Join(s.dir, node+".good.img") }

// spoil keeps a good copy of a seed and damages it in the middle of the first-boot data.
func (s *site) spoil(t *testing.T, node, seed string) {
	t.Helper()
	data, err := os.ReadFile(seed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.good(node), data, 0o600); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte(`"ticket"`))
	if at < 0 {
		t.Fatal("there is no ticket on the seed")
	}
	copy(data[at:], make([]byte, 8))
	if err := os.WriteFile(seed, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// newSeed plugs a good seed in once the machine has said what is wrong with the one that it has.
func newSeed(t *testing.T, s *site, node string) {
	s.awaitConsole(t, node, regexp.MustCompile(`atoll\.json: .*no valid JSON`))
	if err := s.Insert(t.Context(), node, s.good(node)); err != nil {
		t.Fatal(err)
	}
}

// packed is what fits on a command line, as the guide makes it.
func packed(t *testing.T, payload []byte) string {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(payload)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}
