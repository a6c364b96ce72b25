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
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// The table of Atoll's image, and its sets of ports, which are closed until they are in there. The agent fills the sets and
// changes nothing else: a machine that was adopted with a firewall of its own has no such table, and keeps its firewall.
const (
	firewallTable = "atoll_base"
	openTCP       = "open_tcp"
	openUDP       = "open_udp"
)

// openPorts are the ports that others reach from outside the mesh.
type openPorts struct {
	tcp, udp []int
	// others tells that whatever else is open stays so.
	others bool
}

// waitingPorts are those of a node that is no member: only its health may be asked.
func waitingPorts(p spec.Ports) openPorts { return openPorts{tcp: []int{p.Health}} }

// memberPorts are those of a member: the cluster's own, what the node's own object opens for applications, and those of local
// proxies. While an object
// is missing, as when the store was damaged, nobody knows what is not wanted any more: nothing is closed then.
func memberPorts(p spec.Ports, c *spec.Cluster, v *topology.View) openPorts {
	out := openPorts{tcp: []int{p.API, p.Health}, others: v == nil}
	if c != nil {
		out.udp = append(out.udp, c.Mesh.Port)
		if c.Mesh.Driver == spec.MeshTinc {
			out.tcp = append(out.tcp, c.Mesh.Port)
		}
	}
	if v != nil {
		out.tcp, out.udp = append(out.tcp, v.PublicPorts.TCP...), append(out.udp, v.PublicPorts.UDP...)
		out.tcp = append(out.tcp, proxyPorts(v)...)
		out.add(v.HostFirewall)
	}
	return out
}

// add adds what the node's own packet filter lets in beside what the cluster needs, or the image's would keep it out.
func (o *openPorts) add(f *topology.HostFirewall) {
	if f == nil {
		return
	}
	for _, opening := range f.Openings {
		if opening.Mesh || opening.Service != topology.ServiceApplication {
			continue
		}
		set := &o.tcp
		if opening.Protocol == topology.UDP {
			set = &o.udp
		}
		for port := opening.First; port <= opening.Last; port++ {
			*set = append(*set, port)
		}
	}
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
		wanted, ours := want[set]
		if !ours {
			continue
		}
		slices.Sort(wanted)
		wanted = slices.Compact(wanted)
		if ports.others {
			wanted = slices.DeleteFunc(wanted, func(p int) bool { return slices.Contains(have[set], p) })
		} else {
			if slices.Equal(have[set], wanted) {
				continue
			}
			fmt.Fprintf(&script, "flush set inet %s %s\n", firewallTable, set)
		}
		if len(wanted) > 0 {
			fmt.Fprintf(&script, "add element inet %s %s { %s }\n", firewallTable, set, join(wanted))
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

// longRun is how many ports in a row are written as a range.
const longRun = 16

// join writes ports that are in ascending order as the elements of a set.
func join(ports []int) string {
	var texts []string
	for i := 0; i < len(ports); {
		end := i
		for end+1 < len(ports) && ports[end+1] == ports[end]+1 {
			end++
		}
		if end-i < longRun {
			end = i
			texts = append(texts, strconv.Itoa(ports[i]))
		} else {
			texts = append(texts, fmt.Sprintf("%d-%d", ports[i], ports[end]))
		}
		i = end + 1
	}
	return strings.Join(texts, ", ")
}

// unknownElement stands for what a set holds that is neither a port nor a range of them, so that the set equals no wish.
const unknownElement = -1

// portsOf returns the ports of one element of a set. nft prints neighbours as a range or one by one, as its version likes.
func portsOf(raw json.RawMessage) []int {
	var port int
	if json.Unmarshal(raw, &port) == nil {
		return []int{port}
	}
	var r struct {
		Range []int `json:"range"`
	}
	if json.Unmarshal(raw, &r) != nil || len(r.Range) != 2 || r.Range[0] < 0 || r.Range[1] > 65535 {
		return []int{unknownElement}
	}
	var out []int
	for p := r.Range[0]; p <= r.Range[1]; p++ {
		out = append(out, p)
	}
	return out
}

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
			ports = append(ports, portsOf(raw)...)
		}
		slices.Sort(ports)
		sets[o.Set.Name] = ports
	}
	return sets, nil
}
