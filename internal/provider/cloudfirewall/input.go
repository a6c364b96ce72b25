package cloudfirewall

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// mostAsked is how many nodes are asked what there is. Each of them knows everything but what the others have heard of in the last
// moments.
const mostAsked = 9

// Input puts together what several nodes hold: of every object the newest.
func Input(cluster string, seen ...operator.Known) topology.Input {
	in := topology.Input{
		ClusterName: cluster, Nodes: map[string]spec.Node{}, Databases: map[string]spec.Database{}, DatabaseMembers: map[string]spec.Member{},
		LoadBalancers: map[string]spec.LoadBalancer{},
	}
	newest := map[spec.Ref]uint64{}
	for _, k := range seen {
		for ref, generation := range k.Generations {
			if generation <= newest[ref] {
				continue
			}
			newest[ref] = generation
			switch ref.Kind {
			case spec.KindCluster:
				if k.Cluster != nil {
					in.Cluster = k.Cluster.Cluster
				}
			case spec.KindNode:
				take(in.Nodes, k.Nodes, ref.Name)
			case spec.KindDatabase:
				take(in.Databases, k.Databases, ref.Name)
			case spec.KindMember:
				take(in.DatabaseMembers, k.DatabaseMembers, ref.Name)
			case spec.KindLoadBalancer:
				take(in.LoadBalancers, k.LoadBalancers, ref.Name)
			default: // nothing at a node's public addresses follows from it
			}
		}
	}
	return in
}

// take brings one object to where from has it, which is nowhere when it was removed.
func take[T any](to, from map[string]T, name string) {
	if one, alive := from[name]; alive {
		to[name] = one
	} else {
		delete(to, name)
	}
}

// look asks nodes, by their names and where they are, and returns what they hold together, and who answered. Those that are first are
// asked before others are, when there are too many.
func look(ctx context.Context, op *operator.Operator, cluster string, nodes, first map[string][]string) (topology.Input, []string) {
	var mu sync.Mutex
	var g errgroup.Group
	var seen []operator.Known
	var answered []string
	names := slices.SortedFunc(maps.Keys(nodes), func(a, b string) int {
		_, aFirst := first[a]
		_, bFirst := first[b]
		if aFirst != bFirst {
			if aFirst {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, name := range names[:min(len(names), mostAsked)] {
		if len(nodes[name]) == 0 {
			continue
		}
		g.Go(func() error {
			k, err := op.Look(ctx, cluster, name, nodes[name], "")
			if err != nil {
				return nil //nolint:nilerr // one that does not answer knows nothing that others do not
			}
			mu.Lock()
			defer mu.Unlock()
			seen, answered = append(seen, k), append(answered, name)
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	slices.Sort(answered)
	return Input(cluster, seen...), answered
}

// Rules returns what the firewall of a node is to let in. The node must have one.
func Rules(in topology.Input, node string) (linode.FirewallRules, error) {
	openings, err := topology.CloudFirewallOf(in, node)
	if err != nil {
		return linode.FirewallRules{}, err
	}
	var all []linode.Access
	for _, o := range openings {
		a := linode.Access{Protocol: string(o.Protocol), First: o.First, Last: o.Last, From: slices.Clone(o.From), Service: string(o.Service)}
		if o.Anybody4 {
			a.From = append(a.From, netip.MustParsePrefix("0.0.0.0/0"))
		}
		if o.Anybody6 {
			a.From = append(a.From, netip.MustParsePrefix("::/0"))
		}
		all = append(all, a)
	}
	return linode.NewFirewallRules(all)
}
