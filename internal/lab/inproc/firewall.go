package inproc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// baseTable is the table of the node image's firewall.
const baseTable = "atoll_base"

// firewall stands for the sets of open ports that a machine of the node image has. It knows only what the agent says to nft.
type firewall struct {
	mu     sync.Mutex
	sets   map[string][]int
	broken bool
}

func newFirewall() *firewall {
	return &firewall{sets: map[string][]int{"open_tcp": {}, "open_udp": {}}}
}

// run answers nft. A nil firewall is that of a machine that has none.
func (f *firewall) run(c host.Command) (host.Output, error) {
	if f == nil || !slices.Contains(c.Args, baseTable) && !strings.Contains(string(c.Stdin), baseTable) {
		return host.Output{Stdout: []byte(`{"nftables": []}`)}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.ReadOnly {
		return f.list()
	}
	if f.broken {
		return host.Output{}, hosttest.Fail(c, 1, "Operation not supported")
	}
	return host.Output{}, f.load(string(c.Stdin))
}

func (f *firewall) list() (host.Output, error) {
	objects := []any{}
	for name, ports := range f.sets {
		objects = append(objects, map[string]any{"set": map[string]any{"name": name, "elem": ports}})
	}
	out, err := json.Marshal(map[string]any{"nftables": objects})
	return host.Output{Stdout: out}, err
}

// load carries out lines such as "flush set inet atoll_base open_tcp" and "add element inet atoll_base open_tcp { 80, 443 }".
func (f *firewall) load(script string) error {
	for line := range strings.Lines(script) {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" ,{}\n", r) })
		if len(words) < 5 || words[3] != baseTable || f.sets[words[4]] == nil {
			return fmt.Errorf("this firewall does not understand %q", line)
		}
		set := words[4]
		switch strings.Join(words[:2], " ") {
		case "flush set":
			f.sets[set] = []int{}
		case "add element":
			for _, w := range words[5:] {
				first, last, ok := spec.ParsePorts(w)
				if !ok {
					return fmt.Errorf("this firewall does not understand %q", w)
				}
				for port := first; port <= last; port++ {
					f.sets[set] = append(f.sets[set], port)
				}
			}
			slices.Sort(f.sets[set])
		default:
			return fmt.Errorf("this firewall does not understand %q", line)
		}
	}
	return nil
}

// errNoFirewall is returned for a machine without the node image's firewall.
var errNoFirewall = errors.New("the machine has no firewall of the node image")

func (m *Machines) firewallAt(address netip.Addr) (*firewall, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.all {
		if one.Address == address && one.firewall != nil {
			return one.firewall, nil
		}
	}
	return nil, fmt.Errorf("%v: %w", address, errNoFirewall)
}

// OpenPorts returns the ports that the firewall of the cloud's machine at an address lets in, in ascending order.
func (m *Machines) OpenPorts(address netip.Addr) (tcp, udp []int, err error) {
	f, err := m.firewallAt(address)
	if err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sets["open_tcp"]), slices.Clone(f.sets["open_udp"]), nil
}

// BreakFirewall makes the kernel of the cloud's machine at an address refuse changes of its firewall, until it is mended.
func (m *Machines) BreakFirewall(address netip.Addr, broken bool) error {
	f, err := m.firewallAt(address)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = broken
	return nil
}
