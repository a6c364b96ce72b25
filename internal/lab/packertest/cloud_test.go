//go:build linux

package packertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
	"github.com/atollhq/terraform-provider-atoll/internal/seed"
)

const (
	// token is what Packer shows the API.
	token = "packertest-0123456789abcdef"
	// hostNetwork is the network namespace of this machine: a build installs packages from wherever this machine does.
	hostNetwork = "/proc/self/ns/net"
	sshPort     = 22
)

// cloud is a Linode account whose instances are virtual machines that only this machine reaches: each has a loopback
// address, with SSH on one port for all of them, since port 22 may be this machine's own. It implements linode.Machines and linode.Disks.
type cloud struct {
	api *linode.Server
	url string
	lab string // in the names of processes and control groups
	dir string
	ssh uint16 // the port

	mu       sync.Mutex
	machines map[int]*vm.VM
}

var (
	_ linode.Machines = (*cloud)(nil)
	_ linode.Disks    = (*cloud)(nil)
)

// newCloud starts the API behind the vendor's contract. Its Debian is the given file system.
func newCloud(t *testing.T, debian string) *cloud {
	t.Helper()
	port, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{ssh: port, lab: fmt.Sprintf("t%d-packer", os.Getpid()), dir: t.TempDir(), machines: map[int]*vm.VM{}}
	c.api = &linode.Server{
		Machines: c, Token: token, ImageDir: filepath.Join(c.dir, "images"),
		Images: []linode.Image{{ID: "linode/debian13", Label: "Debian 13", Size: 2500, File: debian, Capabilities: []string{"cloud-init"}}},
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	web := httptest.NewServer(escapeImages(contracttest.Watched(t, contracttest.Linode)(c.api)))
	c.url = web.URL
	t.Cleanup(func() {
		c.api.Close()
		web.Close()
		if t.Failed() {
			c.showConsoles(t)
		}
		//nolint:usetesting // the test's own context has ended
		if err := c.close(context.Background()); err != nil {
			t.Errorf("remove the machines: %v", err)
		}
	})
	return c
}

// escapeImages escapes the slash of an image's ID in the path of a request, for the contract's sake: version 1.0.0 of
// Packer's plugin does not.
func escapeImages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before, number, ok := strings.Cut(r.URL.EscapedPath(), "/images/private/"); ok {
			r.URL.RawPath = before + "/images/private%2F" + number
		}
		next.ServeHTTP(w, r)
	})
}

// Create implements linode.Machines. As the vendor does, it needs the image's copy and a way in for the keys; the way is
// a NoCloud seed, which any Debian with cloud-init understands.
func (c *cloud) Create(ctx context.Context, spec linode.Machine) (linode.Addresses, error) {
	if spec.ImageFile == "" {
		return linode.Addresses{}, fmt.Errorf("image %s has no content", spec.Image)
	}
	name := "linode-" + strconv.Itoa(spec.ID)
	// All of 127.0.0.0/8 is this machine, and instances are numbered.
	address := netip.AddrFrom4([4]byte{127, 77, byte(spec.ID >> 8), byte(spec.ID)})
	user, err := json.Marshal(map[string]any{"disable_root": false, "ssh_authorized_keys": spec.AuthorizedKeys})
	if err != nil {
		return linode.Addresses{}, err
	}
	volume, err := seed.Volume([]seed.File{
		{Name: "user-data", Data: append([]byte("#cloud-config\n"), user...)}, // JSON is YAML
		{Name: "meta-data", Data: fmt.Appendf(nil, "instance-id: %d\nlocal-hostname: localhost\n", spec.ID)},
	})
	if err != nil {
		return linode.Addresses{}, err
	}
	login := filepath.Join(c.dir, name+".seed")
	if err := os.WriteFile(login, volume, 0o600); err != nil {
		return linode.Addresses{}, err
	}
	v, err := vm.New(ctx, vm.Config{
		Lab: c.lab, Name: name, Dir: filepath.Join(c.dir, name), Run: filepath.Join(c.dir, "run"),
		Image: spec.ImageFile, DirectKernel: true, Disk: spec.Disk, Memory: spec.Memory, CPUs: 2, Seed: login,
		MAC: net.HardwareAddr{0xf2, 0x3c, 0x95, byte(spec.ID >> 16), byte(spec.ID >> 8), byte(spec.ID)},
		// Without this cloud-init would wait for a metadata service that is not there.
		System:  vm.System{Manufacturer: "QEMU", Product: "packertest"},
		Forward: map[netip.AddrPort]int{netip.AddrPortFrom(address, c.ssh): sshPort},
	})
	if err != nil {
		return linode.Addresses{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.machines[spec.ID] = v
	return linode.Addresses{IPv4: address, Prefix: 8}, nil
}

// freePort finds a port that nobody on this machine listens on.
func freePort(ctx context.Context) (uint16, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":0")
	if err != nil {
		return 0, err
	}
	address, err := netip.ParseAddrPort(listener.Addr().String())
	return address.Port(), errors.Join(err, listener.Close())
}

func (c *cloud) machine(id int) (*vm.VM, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.machines[id]
	if m == nil {
		return nil, fmt.Errorf("there is no machine of instance %d", id)
	}
	return m, nil
}

// Boot implements linode.Machines.
func (c *cloud) Boot(ctx context.Context, id int) error {
	m, err := c.machine(id)
	if err != nil {
		return err
	}
	return m.Boot(ctx, hostNetwork, func(nodes.Exit) { c.api.SetRunning(id, false) })
}

// Shutdown implements linode.Machines.
func (c *cloud) Shutdown(ctx context.Context, id int) error {
	m, err := c.machine(id)
	if err != nil {
		return err
	}
	return m.Shutdown(ctx, 2*time.Minute)
}

// Reboot implements linode.Machines.
func (c *cloud) Reboot(ctx context.Context, id int) error {
	if err := c.Shutdown(ctx, id); err != nil {
		return err
	}
	return c.Boot(ctx, id)
}

// Delete implements linode.Machines.
func (c *cloud) Delete(ctx context.Context, id int) error {
	c.mu.Lock()
	m := c.machines[id]
	delete(c.machines, id)
	c.mu.Unlock()
	if m == nil {
		return nil
	}
	return m.Destroy(ctx)
}

// Disk implements linode.Disks.
func (c *cloud) Disk(_ context.Context, id int) (string, error) {
	m, err := c.machine(id)
	if err != nil {
		return "", err
	}
	if m.On() {
		return "", errors.New("the machine is on")
	}
	return m.Disk(), nil
}

// close removes the machines that a build has left.
func (c *cloud) close(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, m := range c.machines {
		errs = append(errs, m.Destroy(ctx))
	}
	return errors.Join(append(errs, nodes.LabCgroup(c.lab).Destroy(ctx))...)
}

// showConsoles logs what the machines said last.
func (c *cloud) showConsoles(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, m := range c.machines {
		text, err := os.ReadFile(m.Console())
		if err != nil {
			t.Log(err)
		}
		lines := strings.Split(string(text), "\n")
		t.Logf("console of instance %d:\n%s", id, strings.Join(lines[max(0, len(lines)-60):], "\n"))
	}
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
