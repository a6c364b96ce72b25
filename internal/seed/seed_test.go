package seed_test

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/platform/volume"
	"github.com/atollhq/terraform-provider-atoll/internal/seed"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func payload(t *testing.T) []byte {
	t.Helper()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := trust.IssueTicket(key, trust.TicketRequest{Cluster: "web", Node: "hk1", Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	data, err := platform.NewPayload(trust.Root{Cluster: "web", Key: key.Public()}, ticket, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func full(t *testing.T) seed.Seed {
	t.Helper()
	return seed.Seed{
		Payload: payload(t), Hostname: "hk1", Instance: "atoll-web-hk1-1",
		SSHKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbT7Yq1 me@home"},
		Network: &seed.Network{
			Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.10/24"), netip.MustParsePrefix("2001:db8::10/64")},
			Gateways:  []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("fe80::1")},
			DNS:       []netip.Addr{netip.MustParseAddr("9.9.9.9")},
		},
	}
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("NOT TESTED: %s is not installed", name)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestImageForOthers lets the tools that others use judge the volume: blkid as cloud-init does, fsck.vfat and mtools.
func TestImageForOthers(t *testing.T) {
	s := full(t)
	image, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "seed.img")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	// cloud-init takes devices with TYPE vfat (or iso9660) and LABEL or LABEL_FATBOOT cidata in either case.
	got := tool(t, "blkid", "-p", "-o", "export", path)
	for _, want := range []string{"TYPE=vfat\n", "LABEL=CIDATA\n", "LABEL_FATBOOT=CIDATA\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("blkid says %q, want %q in it", got, want)
		}
	}
	tool(t, "fsck.vfat", "-n", path)
	files, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if got := tool(t, "mtype", "-i", path, "::/"+f.Name); got != string(f.Data) {
			t.Errorf("mtools reads %d bytes of %s, want %d", len(got), f.Name, len(f.Data))
		}
	}
}

// TestRoundTrip reads a written seed as the agent does.
func TestRoundTrip(t *testing.T) {
	for name, objects := range map[string]int{"small": 0, "the largest": platform.MaxPayload} {
		t.Run(name, func(t *testing.T) {
			s := full(t)
			if objects > 0 {
				s.Payload = append(bytes.TrimRight(s.Payload, "\n"), bytes.Repeat([]byte(" "), objects-len(s.Payload))...)
				s.UserData, s.SSHKeys = append([]byte("#cloud-config\n#"), bytes.Repeat([]byte("x"), 60_000)...), nil
			}
			image, err := s.Image()
			if err != nil {
				t.Fatal(err)
			}
			v, err := volume.Open(bytes.NewReader(image))
			if err != nil || v.Label != platform.LabelNoCloud || v.Kind != volume.VFAT {
				t.Fatalf("got %+v and %v", v, err)
			}
			root := t.TempDir()
			for path, data := range map[string][]byte{"dev/sdb": image, "sys/class/block/sdb/size": []byte("8192\n")} {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			sources, err := platform.Machine{Root: root}.Sources()
			if err != nil {
				t.Fatal(err)
			}
			found, findings := platform.Look(t.Context(), sources)
			if found == nil || found.Source.Name() != "seed volume CIDATA" || found.Payload.Node != "hk1" {
				t.Fatalf("got %v, %+v", found, findings)
			}
			if err := found.Source.Forget(t.Context(), found.SHA256); err != nil {
				t.Error(err)
			}
			if again, findings := platform.Look(t.Context(), sources); again != nil {
				t.Errorf("a forgotten seed was found again: %+v", findings)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	s := full(t)
	files, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range files[1:] {
		got[f.Name] = string(f.Data)
	}
	want := map[string]string{
		"meta-data": "instance-id: atoll-web-hk1-1\nlocal-hostname: hk1\n",
		"user-data": "#cloud-config\ndisable_root: false\nssh_authorized_keys:\n    - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbT7Yq1 me@home\n",
		"network-config": `ethernets:
    e*:
        dhcp4: false
        dhcp6: false
        addresses:
            - 203.0.113.10/24
            - 2001:db8::10/64
        routes:
            - to: 0.0.0.0/0
              via: 203.0.113.1
            - to: ::/0
              via: fe80::1
        nameservers:
            addresses:
                - 9.9.9.9
version: 2
`,
	}
	vendor := got["vendor-data"]
	delete(got, "vendor-data")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(vendor, "#!/bin/sh\n") || !strings.Contains(vendor, "manual_cache_clean: true") {
		t.Errorf("vendor-data is %q", vendor)
	}
	s.Network.Addresses[0] = netip.MustParsePrefix("203.0.113.10/32")
	s.Network.Gateways[0] = netip.MustParseAddr("198.51.100.1")
	s.Network.MAC = "52-54-00-12-34-56"
	files, err = s.Files()
	if err != nil {
		t.Fatal(err)
	}
	if text := string(files[4].Data); !strings.Contains(text, "primary:\n        match:\n            macaddress: \"52:54:00:12:34:56\"\n") {
		t.Errorf("network-config is %q", text)
	} else if want := "routes:\n            - to: 198.51.100.1/32\n            - to: 0.0.0.0/0\n              via: 198.51.100.1\n"; !strings.Contains(text, want) {
		t.Errorf("network-config is\n%s\nwant a way to the gateway of another network:\n%s", text, want)
	}
}

func TestRefuses(t *testing.T) {
	network := func(edit func(n *seed.Network)) func(s *seed.Seed) { return func(s *seed.Seed) { edit(s.Network) } }
	tests := []struct {
		name string
		edit func(s *seed.Seed)
		want string
	}{
		{"no payload", func(s *seed.Seed) { s.Payload = []byte("{}") }, "version 0"},
		{"keys and user-data", func(s *seed.Seed) { s.UserData = []byte("#cloud-config\n") }, "SSH keys"},
		{"user-data of another kind", func(s *seed.Seed) { s.UserData, s.SSHKeys = []byte("hello"), nil }, "#cloud-config"},
		{"user-data too large", func(s *seed.Seed) { s.UserData, s.SSHKeys = bytes.Repeat([]byte("#"), 70_000), nil }, "65535"},
		{"user-data with the ticket", func(s *seed.Seed) {
			s.UserData, s.SSHKeys = []byte("#cloud-config\natoll: {atoll: 1}\n"), nil
		}, "beside it"},
		{"no address", network(func(n *seed.Network) { n.Addresses = nil }), "needs an address"},
		{"an address without its network", network(func(n *seed.Network) {
			n.Addresses[0], n.Gateways = netip.MustParsePrefix("203.0.113.10/32"), n.Gateways[1:]
		}), "203.0.113.10/24"},
		{"a network", network(func(n *seed.Network) { n.Addresses[0] = netip.MustParsePrefix("203.0.113.0/24") }), "is the network"},
		{"loopback", network(func(n *seed.Network) { n.Addresses[0] = netip.MustParsePrefix("127.0.0.1/8") }), "no address"},
		{"two gateways", network(func(n *seed.Network) { n.Gateways[1] = netip.MustParseAddr("203.0.113.2") }), "second one"},
		{"a gateway of another kind", network(func(n *seed.Network) { n.Addresses = n.Addresses[:1] }), "no address of its kind"},
		{"a bad hardware address", network(func(n *seed.Network) { n.MAC = "52:54" }), "hardware address"},
		{"both names of a port", network(func(n *seed.Network) { n.MAC, n.Interface = "52:54:00:12:34:56", "ens3" }), "not by both"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := full(t)
			tt.edit(&s)
			if _, err := s.Image(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
