package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// portsOptions are the flags of atoll ports.
type portsOptions struct {
	nodes   nodeFlags
	json    bool
	timeout time.Duration
}

func portsCommand(env Environment) *cobra.Command {
	var o portsOptions
	cmd := &cobra.Command{
		Use:   "ports [NODE]",
		Short: "Show which ports of each node are open, to whom and for what",
		Long: `Shows which ports of each node are open, to whom and for what, as the signed objects of the cluster say: what the firewalls have to
let in, of the nodes and in front of them. With a NODE it shows that one alone, and what it connects to at the others.

A port is open to the public (everybody), to the operator (SSH, which the firewall of Atoll's image leaves open, as it does not
know where operators are), to the mesh (other nodes at the mesh address) or to the node itself only. "From" are the nodes that
connect; a port of the mesh, of the API and of the health endpoint is open to everybody all the same, since nodes change and join
from addresses that nobody knows yet, and what listens there proves or ignores who calls.

What is open is derived from the model and not looked up: a machine that was adopted keeps its own firewall, and so does a vendor's
in front of a machine. provider::atoll::ports gives the same table to Terraform, for the firewalls of vendors.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := trust.SigningKeyFromEnvironment(env.Getenv)
			if err != nil {
				return err
			}
			targets, err := o.nodes.targets(env)
			if err != nil {
				return err
			}
			in, unanswered, err := askObjects(cmd.Context(), env, key, targets, o.timeout)
			if err != nil {
				return err
			}
			t := portTable{Cluster: in.ClusterName, Nodes: map[string]nodePorts{}, Unanswered: unanswered, total: len(in.Nodes)}
			all := topology.Ports(in)
			for node, ports := range all {
				if len(args) > 0 && args[0] != node {
					continue
				}
				t.Nodes[node] = nodePorts{Opens: ports}
				if len(args) > 0 || o.json { // the table of all nodes has each row at the node that it leads to
					t.Nodes[node] = nodePorts{Opens: ports, Uses: topology.Uses(all, node)}
				}
			}
			if len(args) > 0 && len(t.Nodes) == 0 {
				return fmt.Errorf("cluster %q has no node %q; it has %s", in.ClusterName, args[0], words(slices.Sorted(maps.Keys(in.Nodes))))
			}
			return o.print(env, t, len(args) > 0)
		},
	}
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.BoolVar(&o.json, "json", false, "print JSON")
	flags.DurationVar(&o.timeout, "timeout", 8*time.Second, "how long a node may take to answer")
	return cmd
}

// portTable is what atoll ports prints.
type portTable struct {
	Cluster string               `json:"cluster"`
	Nodes   map[string]nodePorts `json:"nodes"`
	// Unanswered says for each node that did not answer from here why. The table is of what the others know.
	Unanswered map[string]string `json:"unanswered,omitempty"`
	// total is how many nodes the cluster has.
	total int
}

// nodePorts are a node's ports in both directions.
type nodePorts struct {
	Opens []topology.Port `json:"opens"`
	Uses  []topology.Port `json:"uses"`
}

func (o *portsOptions) print(env Environment, t portTable, one bool) error {
	if o.json {
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(t)
	}
	_, err := fmt.Fprint(env.Stdout, t.text(one))
	return err
}

// text is the table for people. Of one node it has both directions; of all, each direction is some other node's.
func (t portTable) text(one bool) string {
	var b strings.Builder
	names := slices.Sorted(maps.Keys(t.Nodes))
	var opens, uses []topology.Port
	for _, name := range names {
		opens, uses = append(opens, t.Nodes[name].Opens...), append(uses, t.Nodes[name].Uses...)
	}
	if one {
		fmt.Fprintf(&b, "what reaches %s:\n", names[0])
	}
	portRows(&b, opens, t.total, "")
	if one {
		fmt.Fprintf(&b, "what %s connects to:\n", names[0])
		portRows(&b, uses, t.total, names[0])
	}
	var silent []string
	for _, node := range slices.Sorted(maps.Keys(t.Unanswered)) {
		silent = append(silent, fmt.Sprintf("%s: %s", node, t.Unanswered[node]))
	}
	list(&b, "did not answer from here; the table is what the others know", silent)
	return b.String()
}

// portRows writes a row for each port. Callers of a cluster of that many nodes are called all nodes when they are all the others;
// caller is the only one that is meant, "" for all.
func portRows(b *strings.Builder, ports []topology.Port, nodes int, caller string) {
	t := newTable("From", "To", "Port", "Open to", "Service", "For")
	for _, p := range ports {
		from := caller
		if from == "" {
			from = callers(p, nodes)
		}
		t.AppendRow(table.Row{from, p.Node, fmt.Sprintf("%d/%s", p.Number, p.Protocol), p.OpenTo, p.Service, purpose(p)})
	}
	render(b, t)
}

// fewCallers is how many nodes are always named.
const fewCallers = 3

func callers(p topology.Port, nodes int) string {
	var from []string
	switch {
	case p.OpenTo == topology.OpenToNode:
		return p.Node + " itself"
	case len(p.Nodes) > fewCallers && len(p.Nodes) == nodes-1:
		from = []string{fmt.Sprintf("all %d other nodes", len(p.Nodes))}
	default:
		from = slices.Clone(p.Nodes)
	}
	if p.Operator {
		from = append(from, "operator")
	}
	if p.Anybody {
		from = append(from, "anybody")
	}
	return dash(strings.Join(from, ", "))
}

// purpose is what a port is for, with the names of the objects that ask for it but for the node's own.
func purpose(p topology.Port) string {
	var names []string
	for _, ref := range p.Objects {
		if ref.Name != p.Node {
			names = append(names, ref.Name)
		}
	}
	if len(names) == 0 {
		return p.Purpose
	}
	return strings.Join(names, ", ") + ": " + p.Purpose
}
