package cli_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/platform/volume"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxL9qvSZkq4sX1x9jW7oVQHq7s5nB0h6w3c8YfQ2d9N me@home"

// fileOn reads a file of a seed volume.
func fileOn(t *testing.T, image []byte, name string) string {
	t.Helper()
	v, err := volume.Open(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	f, err := v.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSeed(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	root := trust.Root{Cluster: "web", Key: key.Public()}
	write(t, "terraform.tfstate", stateOf(t, key))
	write(t, "id.pub", "# mine\n"+publicKey+"\n\n")

	// The cluster comes from the state, which has one.
	made := o.must(t, "seed", "--node", "hk2", "--ssh-key", "id.pub", "--address", "203.0.113.10/24", "--gateway", "203.0.113.1", "--dns", "9.9.9.9", "--mac", "52:54:00:12:34:56")
	if want := "hk2.seed.img lets one machine join web as hk2 until " + now.Add(24*time.Hour).Format(time.RFC3339); !strings.Contains(made.stderr, want) {
		t.Errorf("said %q, want %q", made.stderr, want)
	}
	info, err := os.Stat("hk2.seed.img")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the seed is %v (%v), want mode 0600", info.Mode(), err)
	}
	image, err := os.ReadFile("hk2.seed.img")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := platform.ParsePayload([]byte(fileOn(t, image, "atoll.json")))
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := root.VerifyTicket(payload.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	if payload.Node != "hk2" || len(payload.Objects) != 1 || strings.Join(ticket.Seeds, " ") != "198.51.100.11:7443" {
		t.Errorf("got node %q, %d objects, seeds %v", payload.Node, len(payload.Objects), ticket.Seeds)
	}
	for name, want := range map[string]string{
		"user-data": publicKey, "meta-data": "instance-id: atoll-web-hk2-" + ticket.ID + "\n", "network-config": "203.0.113.10/24",
	} {
		if got := fileOn(t, image, name); !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q in it", name, got, want)
		}
	}
	if strings.Contains(fileOn(t, image, "user-data"), "ticket") {
		t.Error("the ticket is in user-data, of which cloud-init keeps a copy")
	}

	printed := o.must(t, "seed", "--node", "hk2", "--format", "json", "--out", "-")
	if _, err := platform.ParsePayload([]byte(printed.stdout)); err != nil {
		t.Error(err)
	}
	if sum := fmt.Sprintf("SHA-256: %x\n", sha256.Sum256([]byte(printed.stdout))); !strings.Contains(printed.stderr, sum) {
		t.Errorf("said %q, want %q", printed.stderr, sum)
	}
}

func TestSeedOverwritesOnDemandOnly(t *testing.T) {
	o := newOperator(t)
	o.withKey(t)
	write(t, "seed.img", "precious")
	args := []string{"seed", "--cluster", "web", "--node", "hk2", "--out", "seed.img"}
	r := o.run(t, args...)
	if data, err := os.ReadFile("seed.img"); r.code != cli.Failed || !strings.Contains(r.stderr, "--force") || string(data) != "precious" {
		t.Errorf("exit code %d, %q, file %q (%v)", r.code, r.stderr, data, err)
	}
	o.must(t, append(args, "--force")...)
	if data, err := os.ReadFile("seed.img"); err != nil || len(data) < 1<<20 {
		t.Errorf("the seed has %d bytes (%v)", len(data), err)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("the folder has %v, want the key and the seed", entries)
	}
}

func TestSeedRefuses(t *testing.T) {
	o := newOperator(t)
	if r := o.run(t, "seed", "--cluster", "web", "--node", "hk2"); r.code != cli.Failed || !strings.Contains(r.stderr, "no signing key") {
		t.Errorf("without a signing key: exit code %d, %q", r.code, r.stderr)
	}
	o.withKey(t)
	write(t, "private", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
	write(t, "nothing.pub", "# none\n")
	write(t, "broken.pub", "ssh-ed25519 hello\n")
	write(t, "ud", "hello")
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no node", []string{"--cluster", "web"}, `"node" not set`},
		{"no cluster", []string{"--node", "hk2"}, "--cluster"},
		{"a name that leads elsewhere", []string{"--cluster", "web", "--node", "../hk2"}, "node"},
		{"another format", []string{"--cluster", "web", "--node", "hk2", "--format", "iso"}, "choose disk or json"},
		{"a private key", []string{"--cluster", "web", "--node", "hk2", "--ssh-key", "private"}, "private.pub"},
		{"no key", []string{"--cluster", "web", "--node", "hk2", "--ssh-key", "nothing.pub"}, "no public SSH key"},
		{"a broken key", []string{"--cluster", "web", "--node", "hk2", "--ssh-key", "broken.pub"}, "no public SSH key"},
		{"user-data of nobody's", []string{"--cluster", "web", "--node", "hk2", "--user-data", "ud"}, "#cloud-config"},
		{"a gateway alone", []string{"--cluster", "web", "--node", "hk2", "--gateway", "192.0.2.1"}, "--address"},
		{"an address alone", []string{"--cluster", "web", "--node", "hk2", "--address", "192.0.2.1"}, "/24"},
		{"a bad name server", []string{"--cluster", "web", "--node", "hk2", "--address", "192.0.2.1/24", "--dns", "dns.example.com"}, "--dns dns.example.com"},
		{"a network in JSON", []string{"--cluster", "web", "--node", "hk2", "--format", "json", "--address", "192.0.2.1/24"}, "--format disk"},
		{"endless", []string{"--cluster", "web", "--node", "hk2", "--lifetime", "10000h"}, "lifetime"},
		{"no folder", []string{"--cluster", "web", "--node", "hk2", "--out", "none/seed.img"}, "none"},
		{"a device as a file", []string{"--cluster", "web", "--node", "hk2", "--out", "/dev/null"}, "--device /dev/null"},
		{"a file as a device", []string{"--cluster", "web", "--node", "hk2", "--device", "ud"}, "no disk or partition"},
		{"both", []string{"--cluster", "web", "--node", "hk2", "--device", "/dev/sdx", "--out", "x"}, "device"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := o.run(t, append([]string{"seed"}, tt.args...)...)
			if r.code != cli.Failed || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("exit code %d, %q, want an error with %q", r.code, r.stderr, tt.want)
			}
			if _, err := os.Stat("hk2.seed.img"); err == nil {
				t.Error("a seed was written all the same")
			}
		})
	}
}
