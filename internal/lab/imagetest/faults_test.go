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

// awaitConsole waits until a machine has said something on its console.
func (s *site) awaitConsole(t *testing.T, node string, said *regexp.Regexp) {
	t.Helper()
	machine, err := s.Node(node)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), ordealPatience)
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
	// cloud-init asks as well, and holds the network back until it has an answer that it can do with.
	s.awaitConsole(t, "sg1", regexp.MustCompile(`no first-boot data yet: Linode metadata: read Linode's metadata service`))
	s.awaitConsole(t, "sg1", regexp.MustCompile(`(answered|returned a) 503`))
	answers()
	s.awaitConsole(t, "sg1", regexp.MustCompile(`node sg1 of cluster web`))
}

// addSufferer makes a machine with its first-boot data, which gets the address that the configuration names.
func (s *site) addSufferer(t *testing.T, o ordeal, address string) {
	t.Helper()
	m := lab.Machine{Name: o.node, Site: "hk-colo", Boot: lab.BootVM, DirectKernel: !o.grub, Off: true}
	payload := ""
	if o.by == bySeed {
		var network []string
		if o.spoilt {
			network = []string{"--address", address + "/26", "--gateway", "198.51.100.1"}
		}
		m.Seed = s.seed(t, o.node, network...)
	} else {
		payload = s.seed(t, o.node, "--format", "json")
	}
	switch o.by {
	case bySeed:
		if o.spoilt {
			s.spoil(t, o.node, m.Seed)
		}
	case byCredential:
		m.Credentials = map[string][]byte{"atoll.first-boot": read(t, payload)}
	case byKernelArgument:
		m.KernelArguments = "atoll.first_boot=" + packed(t, read(t, payload))
	case byESP:
	}
	if o.full {
		m.Disk = 1 // as large as the image: there is nothing to grow into
	}
	if err := s.Add(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if machine, err := s.Node(o.node); err != nil || machine.IPv4 != address {
		t.Fatalf("%s has the address %s, want %s: %v", o.node, machine.IPv4, address, err)
	}
	if o.full {
		fill(t, s.disk(t, o.node))
	}
	if o.by == byESP {
		onESP(t, s.disk(t, o.node), payload)
	}
}

// disk is the file of the disk of a machine that is off.
func (s *site) disk(t *testing.T, node string) string {
	t.Helper()
	disk, err := s.Disk(node)
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
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
	s.awaitLastBoot(t, o.node)
	if err := s.Discard(t.Context(), o.node); err != nil {
		t.Error(err)
	}
}

// awaitLastBoot waits until a machine has said in its last boot that it is a node: the apply may have seen the one before.
func (s *site) awaitLastBoot(t *testing.T, node string) {
	t.Helper()
	s.eventually(t, node+" is a node again", ordealPatience, func(context.Context) error {
		machine, err := s.Node(node)
		if err != nil {
			return err
		}
		text := console(machine)
		if last := text[max(0, strings.LastIndex(text, "Linux version")):]; !strings.Contains(last, "node "+node+" of cluster web") {
			return fmt.Errorf("its console says:\n%s", lastLines(text, 80))
		}
		return nil
	})
}
