//go:build linux

package imagetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// firstFree is the address of the first machine that comes after hk1 at its site.
var firstFree = netip.MustParseAddr("198.51.100.11")

// ordeal is something bad that happens to a machine at its first boot. It must join all the same.
type ordeal struct {
	node string
	what string
	// prepare changes the disk before the first boot.
	prepare func(t *testing.T, disk string)
	// credential brings the first-boot data by the firmware instead of by a seed disk.
	credential bool
	// spoilt has the first-boot data on the seed disk damaged.
	spoilt bool
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

// ordeals are ten moments of first boot at which the power is cut, in their order, and other misfortunes.
func ordeals() []ordeal {
	return []ordeal{
		cut("cut0", "as the kernel starts", `Linux version`),
		cut("cut1", "in the initial RAM disk", `Run /init as init process`),
		cut("cut2", "as the root file system is mounted", `EXT4-fs \(sda\): mounted`),
		cut("cut3", "as systemd begins", `systemd \d+.* running in system mode`),
		cut("cut4", "as the root file system grows", `resizing filesystem`),
		cut("cut5", "as the machine keeps its identity", `Starting systemd-machine-id-commit`),
		cut("cut6", "as the agent starts", `Start(ing|ed) atolld.service`),
		cut("cut7", "as the network comes up", `Start(ing|ed) systemd-networkd.service`),
		cut("cut8", "as cloud-init runs", `Cloud-init v\. .* running`),
		cut("cut9", "as the node joins", `node cut9 of cluster web`),
		{node: "dark", what: "no network for a while", happen: dark, credential: true},
		{node: "torn", what: "a damaged seed", happen: newSeed, spoilt: true},
		{node: "full", what: "disk nearly full", prepare: fill},
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

// dark pulls the cable before the machine asks for an address and puts it back when it has been heard to wait for that.
func dark(t *testing.T, s *site, node string) {
	if err := s.PullCable(node); err != nil {
		t.Fatal(err)
	}
	s.awaitConsole(t, node, regexp.MustCompile(`(?i)no network`))
	if err := s.PlugCable(node); err != nil {
		t.Fatal(err)
	}
}

// left is how many blocks of 4 KiB fill leaves free.
const left = 2000

// fill leaves some MiB of the file system free. It grows by nothing: the disk ends where it does.
func fill(t *testing.T, disk string) {
	debugfs := func(requests string) string {
		cmd := exec.CommandContext(t.Context(), "debugfs", "-w", disk)
		cmd.Stdin = strings.NewReader(requests)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("debugfs: %v\n%s", err, out)
		}
		return string(out)
	}
	free := regexp.MustCompile(`Free blocks:\s+(\d+)`)
	blocks := func() int {
		found := free.FindStringSubmatch(debugfs("stats -h\n"))
		if found == nil {
			t.Fatal("debugfs does not say how many blocks are free")
		}
		var n int
		if _, err := fmt.Sscan(found[1], &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	debugfs(fmt.Sprintf("write /dev/null filler\nfallocate filler 0 %d\n", blocks()-left))
	if n := blocks(); n > left {
		t.Fatalf("%d blocks are free, want at most %d", n, left)
	}
}

// awaitConsole waits until a machine has said something on its console.
func (s *site) awaitConsole(t *testing.T, node string, said *regexp.Regexp) {
	t.Helper()
	machine, err := s.Node(node)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		text := console(machine)
		if said.MatchString(text) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s has not said %q on its console:\n%s", node, said, lastLines(text, 40))
		case <-tick.C:
		}
	}
}

// progress tells which nodes an apply has completed, from the engine's messages.
type progress struct {
	mu      sync.Mutex
	pending []byte
	done    map[string]chan struct{}
}

// Write reads the engine's messages, each a line.
func (p *progress) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = append(p.pending, data...)
	for {
		line, rest, ok := bytes.Cut(p.pending, []byte("\n"))
		if !ok {
			return len(data), nil
		}
		p.pending = rest
		var m struct {
			Type string `json:"type"`
			Hook struct {
				Resource struct {
					Key string `json:"resource_key"`
				} `json:"resource"`
			} `json:"hook"`
		}
		if json.Unmarshal(line, &m) != nil || m.Type != "apply_complete" {
			continue
		}
		if c, ok := p.done[m.Hook.Resource.Key]; ok {
			close(c)
		}
	}
}

// TestFirstBoot has machines suffer at their first boot while one apply waits for all of them. Each must end as a node.
func TestFirstBoot(t *testing.T) {
	s := newSite(t, "faults", lab.Machine{Name: "hk1", Site: "hk-colo", Boot: lab.BootContainer})
	list := ordeals()
	p := &progress{done: map[string]chan struct{}{}}
	machines := map[string]string{}
	address := firstFree
	for _, o := range list {
		p.done[o.node], machines[o.node] = make(chan struct{}), address.String()
		address = address.Next()
	}
	hosts, err := json.Marshal(machines)
	if err != nil {
		t.Fatal(err)
	}
	_, manifest := require(t)
	if err := s.Work.Write("machines.auto.tfvars.json", fmt.Sprintf(`{"machines": %s, "image": %q}`, hosts, manifest)); err != nil {
		t.Fatal(err)
	}
	s.mustRun(t, "apply", "-auto-approve", "-target=atoll_node.hk1")
	s.Work.Log = p
	ctx, stop := context.WithCancel(t.Context())
	applied := make(chan error, 1)
	go func() {
		_, err := s.Work.Run(ctx, "apply", "-auto-approve", "-json", "-parallelism=20")
		applied <- err
	}()
	answers := s.Cloud().Inject(linode.Fault{PathPrefix: linode.MetadataPath, Status: http.StatusServiceUnavailable, Times: -1})
	// Machines come in the order of their addresses, a few at a time.
	next := make(chan ordeal)
	go func() {
		defer close(next)
		for _, o := range list {
			select {
			case next <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Run("machines", func(t *testing.T) {
		t.Run("no metadata for a while", func(t *testing.T) {
			t.Parallel()
			s.muteMetadata(t, answers)
		})
		var order sync.Mutex
		for i := range max(2, min(3, runtime.NumCPU()-1)) {
			t.Run(fmt.Sprint("slot ", i+1), func(t *testing.T) {
				t.Parallel()
				for {
					order.Lock()
					o, more := <-next
					if !more {
						order.Unlock()
						return
					}
					s.addSufferer(t, o, machines[o.node])
					order.Unlock()
					t.Run(o.what, func(t *testing.T) { s.suffer(t, o, p.done[o.node]) })
				}
			})
		}
	})
	if t.Failed() {
		stop()
	}
	err = <-applied
	stop()
	if err != nil && !t.Failed() {
		t.Error(err)
	}
	status, _, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := len(list) + 2; len(status.Nodes) != want || len(status.Conflicts) > 0 {
		t.Errorf("the cluster has %d nodes and the conflicts %v, want %d and none", len(status.Nodes), status.Conflicts, want)
	}
	s.mustRun(t, "destroy", "-auto-approve", "-target=atoll_node.sg1")
}

// muteMetadata waits for the Linode that the apply makes, whose metadata service is there but fails, and has it answer once
// the machine has said what it waits for.
func (s *site) muteMetadata(t *testing.T, answers func()) {
	defer answers()
	s.eventually(t, "there is a Linode", ordealPatience, func(context.Context) error {
		_, err := s.Node("sg1")
		return err
	})
	s.awaitConsole(t, "sg1", regexp.MustCompile(`Linode metadata: .*503`))
	answers()
	s.awaitConsole(t, "sg1", regexp.MustCompile(`node sg1 of cluster web`))
}

// addSufferer makes a machine with its seed, which gets the address that the configuration names.
func (s *site) addSufferer(t *testing.T, o ordeal, address string) {
	t.Helper()
	m := lab.Machine{Name: o.node, Site: "hk-colo", Boot: lab.BootVM, DirectKernel: true, Off: true}
	if o.credential {
		payload, err := os.ReadFile(s.seed(t, o.node, "--format", "json"))
		if err != nil {
			t.Fatal(err)
		}
		m.Credentials = map[string][]byte{"atoll.first-boot": payload}
	} else {
		m.Seed = s.seed(t, o.node)
	}
	if o.spoilt {
		s.spoil(t, o.node, m.Seed)
	}
	if o.prepare != nil {
		m.Disk = 1 // as large as the image: there is nothing to grow into
	}
	if err := s.Add(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if machine, err := s.Node(o.node); err != nil || machine.IPv4 != address {
		t.Fatalf("%s has the address %s, want %s: %v", o.node, machine.IPv4, address, err)
	}
	if o.prepare == nil {
		return
	}
	disk, err := s.Disk(o.node)
	if err != nil {
		t.Fatal(err)
	}
	o.prepare(t, disk)
}

// ordealPatience is how long a machine may take to become a node: a minute or two where nothing else is going on.
const ordealPatience = 10 * time.Minute

// suffer boots a machine, makes its misfortune happen, and waits until the apply has it.
func (s *site) suffer(t *testing.T, o ordeal, done <-chan struct{}) {
	from := time.Now()
	if err := s.PowerOn(t.Context(), o.node); err != nil {
		t.Fatal(err)
	}
	if o.happen != nil {
		o.happen(t, s, o.node)
	}
	happened := time.Since(from)
	select {
	case <-done:
		t.Logf("%s: it happened after %.1f s, and the node was there after %.1f s", o.what, happened.Seconds(), time.Since(from).Seconds())
	case <-time.After(ordealPatience):
		machine, err := s.Node(o.node)
		if err != nil {
			t.Fatal(err)
		}
		t.Fatalf("%s is no node after %v; its console:\n%s", o.node, ordealPatience, lastLines(console(machine), 80))
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
	if err := s.Discard(t.Context(), o.node); err != nil {
		t.Error(err)
	}
}
