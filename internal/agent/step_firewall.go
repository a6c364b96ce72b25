package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// The table of Atoll's image, and its sets of ports, which are closed until they are in there. The agent fills the sets and
// changes nothing else: a machine that was adopted with a firewall of its own has no such table, and keeps its firewall.
const (
	firewallTable = "atoll_base"
	openTCP       = "open_tcp"
	openUDP       = "open_udp"
)

// openPorts are the ports that others reach from outside the mesh.
type openPorts struct{ tcp, udp []int }

// waitingPorts are those of a node that is no member: only its health may be asked.
func waitingPorts(p spec.Ports) openPorts { return openPorts{tcp: []int{p.Health}} }

// memberPorts are those of a member. The cluster is nil while its object is missing.
func memberPorts(p spec.Ports, c *spec.Cluster) openPorts {
	out := openPorts{tcp: []int{p.API, p.Health}}
	if c == nil {
		return out
	}
	out.udp = []int{c.Mesh.Port}
	if c.Mesh.Driver == spec.MeshTinc {
		out.tcp = append(out.tcp, c.Mesh.Port)
	}
	return out
}

// firewallStep keeps exactly these ports open in the image's firewall.
type firewallStep struct {
	system host.System
	ports  func(input) openPorts
}

func (firewallStep) name() string { return "firewall" }

func (f firewallStep) reconcile(ctx context.Context, in input) error {
	have, err := listFirewall(ctx, f.system)
	if err != nil {
		return err
	}
	ports := f.ports(in)
	want := map[string][]int{openTCP: ports.tcp, openUDP: ports.udp}
	var script strings.Builder
	// A set that the table does not have is not the agent's to make: nothing would look into it.
	for _, set := range slices.Sorted(maps.Keys(have)) {
		ports, ours := want[set]
		if !ours {
			continue
		}
		slices.Sort(ports)
		ports = slices.Compact(ports)
		if slices.Equal(have[set], ports) {
			continue
		}
		fmt.Fprintf(&script, "flush set inet %s %s\n", firewallTable, set)
		if len(ports) > 0 {
			fmt.Fprintf(&script, "add element inet %s %s { %s }\n", firewallTable, set, join(ports))
		}
	}
	if script.Len() == 0 {
		return nil
	}
	// One transaction: no port is closed on the way.
	if _, err := f.system.Run(ctx, host.Command{Name: "nft", Args: []string{"-f", "-"}, Stdin: []byte(script.String())}); err != nil {
		return fmt.Errorf("open the ports of the cluster: %w", err)
	}
	return nil
}

func join(ports []int) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = strconv.Itoa(p)
	}
	return strings.Join(texts, ", ")
}

// unknownElement stands for what a set holds that is no single port, so that the set equals no wish.
const unknownElement = -1

// listFirewall returns the elements of the table's sets, none when there is no such table or no nft.
func listFirewall(ctx context.Context, system host.System) (map[string][]int, error) {
	out, err := system.Run(ctx, host.Command{Name: "nft", Args: []string{"-j", "list", "table", "inet", firewallTable}, ReadOnly: true})
	var failed *host.CommandError
	if errors.As(err, &failed) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the firewall: %w", err)
	}
	var list struct {
		Objects []struct {
			Set *struct {
				Name     string            `json:"name"`
				Elements []json.RawMessage `json:"elem"`
			} `json:"set"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out.Stdout, &list); err != nil {
		return nil, fmt.Errorf("look at the firewall: nft printed no JSON: %w", err)
	}
	sets := map[string][]int{}
	for _, o := range list.Objects {
		if o.Set == nil {
			continue
		}
		ports := []int{}
		for _, raw := range o.Set.Elements {
			port := unknownElement
			if json.Unmarshal(raw, &port) != nil {
				port = unknownElement
			}
			ports = append(ports, port)
		}
		slices.Sort(ports)
		sets[o.Set.Name] = ports
	}
	return sets, nil
}
