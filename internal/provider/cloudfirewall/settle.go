// Package cloudfirewall keeps the firewalls at Linode that nodes ask for as their cluster needs them. What one lets in follows from the
// signed objects that the nodes hold, so whoever changes an object settles the firewalls afterwards: a node, for the others that have to
// let it in, and a load balancer, for the ports of its proxies. What nobody settled, each node's next plan finds.
package cloudfirewall

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/mark"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Summaries of what users are told.
const (
	failed  = "Linode firewall"
	summary = "Linode firewall is not up to date"
)

// Path is where a node's configuration asks for a firewall.
func Path() path.Path { return path.Root("linode").AtName("firewall") }

// Label is the label of a node's firewall.
func Label(cluster, node string) string { return mark.Label(cluster, node, linode.MaxFirewallLabel) }

// Occasion is what makes it necessary to look at the firewalls of a cluster.
type Occasion struct {
	Cluster string
	// Nodes are where nodes are that can be asked what there is.
	Nodes map[string][]string
	// Fresh is a node that has just joined and may not know everything yet.
	Fresh string
	// Leaving tells that something is being removed: that no node is left that could be asked is no news then.
	Leaving bool
}

// Settle brings every firewall in line that Atoll keeps for the cluster, those of nodes that this run removes excepted. It replaces the
// rules of one in one go, and touches none that lets in the right things already. What fails is told as warnings: it keeps nothing else
// from being done, and the next plan of the node finds what is left to do. Without a token of Linode there is nothing to do.
func Settle(ctx context.Context, op *operator.Operator, o Occasion) diag.Diagnostics {
	client, err := op.Linode()
	if err != nil {
		return nil
	}
	var diags diag.Diagnostics
	reg := op.Cluster(o.Cluster)
	defer reg.KeepFirewalls()()
	have, err := client.MarkedFirewalls(ctx, "atoll:")
	if err != nil {
		diags.AddWarning(summary, unsettled(err))
		return diags
	}
	if len(have) == 0 {
		return nil
	}
	in, answered := look(ctx, op, o.Cluster, o.others(reg), o.Nodes)
	byMark := map[string]linode.Firewall{}
	for _, f := range have {
		for _, tag := range f.Tags {
			byMark[tag] = f
		}
	}
	if len(answered) == 0 || len(answered) == 1 && answered[0] == o.Fresh && len(in.Nodes) > 1 {
		if !o.Leaving && ours(have, o.Cluster) {
			diags.AddWarning(summary, fmt.Sprintf("No node of cluster %q answers that knows what its firewalls at Linode have to let in. "+
				"They stay as they are; apply again when nodes answer.", o.Cluster))
		}
		return diags
	}
	for _, name := range slices.Sorted(maps.Keys(in.Nodes)) {
		f, there := byMark[mark.Node(o.Cluster, name)]
		if !there || in.Nodes[name].CloudFirewall == nil || reg.Removed(name) {
			continue
		}
		if err := settle(ctx, client, in, name, f); err != nil {
			diags.AddWarning(summary, fmt.Sprintf("Node %q: %s", name, unsettled(err)))
		}
	}
	return diags
}

// others are the nodes that can be asked, but those that this run removes.
func (o Occasion) others(reg *operator.Cluster) map[string][]string {
	out := map[string][]string{}
	for name, endpoints := range o.Nodes {
		if !reg.Removed(name) {
			out[name] = endpoints
		}
	}
	for _, p := range reg.Others("") {
		out[p.Name] = p.Endpoints
	}
	return out
}

// ours tells whether a firewall is marked as one of the cluster's, as far as that can be told.
func ours(have []linode.Firewall, cluster string) bool {
	return slices.ContainsFunc(have, func(f linode.Firewall) bool {
		return slices.ContainsFunc(f.Tags, func(tag string) bool {
			return len(tag) > len(mark.Cluster(cluster)) && tag[:len(mark.Cluster(cluster))] == mark.Cluster(cluster)
		})
	})
}

func settle(ctx context.Context, client *linode.Client, in topology.Input, name string, f linode.Firewall) error {
	rules, err := Rules(in, name)
	if err != nil || f.Rules.Equal(rules) {
		return err
	}
	return client.SetFirewallRules(ctx, f.ID, rules)
}

// unsettled says why a firewall is not as it should be, and what to do.
func unsettled(err error) string {
	var many *linode.TooManyRulesError
	if errors.As(err, &many) {
		return tooMany(many)
	}
	return fmt.Sprintf("its firewall at Linode may not let in what it should: %v.\n\nApply again: the plan of the node shows what is left to do.", err)
}

// tooMany says what to do about a firewall that would need too many rules.
func tooMany(err *linode.TooManyRulesError) string {
	return err.Error() + ".\n\nWrite fewer and larger networks in linode.firewall.operators and open, use neighbouring ports or ranges of them, " +
		"or leave linode.firewall out and give the node a host_firewall, which has no such limits."
}

// Own is the firewall of one node while it is made or changed.
type Own struct {
	Cluster, Node string
	// ID is Linode's id of it as far as it is known, otherwise 0.
	ID int
	// Body is the node as it is to be, Of what holds for the cluster.
	Body spec.Node
	Of   spec.Cluster
	// Nodes are where nodes are that can be asked what there is.
	Nodes map[string][]string
}

// Change is what Make has done.
type Change struct {
	Firewall linode.Firewall
	// Before are the rules that were replaced; Replaced tells that there were any.
	Before   linode.FirewallRules
	Replaced bool
}

// Make returns the node's firewall, enabled and with rules for what is known of the cluster now: the one that is there, one that a run
// made that broke off, or a new one. It guards nothing that it did not guard before.
func Make(ctx context.Context, op *operator.Operator, client *linode.Client, o Own) (Change, diag.Diagnostics) {
	reg := op.Cluster(o.Cluster)
	defer reg.KeepFirewalls()()
	in, _ := look(ctx, op, o.Cluster, Occasion{Nodes: o.Nodes}.others(reg), o.Nodes)
	in.Cluster, in.Nodes[o.Node] = o.Of, o.Body
	rules, err := Rules(in, o.Node)
	if err != nil {
		return Change{}, Problem(err)
	}
	c := Change{}
	err = linode.ErrNotFound
	if o.ID != 0 {
		c.Firewall, err = client.Firewall(ctx, o.ID)
	}
	if errors.Is(err, linode.ErrNotFound) {
		c.Firewall, err = client.CreateFirewall(ctx, linode.NewFirewall{Label: Label(o.Cluster, o.Node), Mark: mark.Node(o.Cluster, o.Node), Rules: rules})
	}
	if err != nil {
		return c, Problem(err)
	}
	if c.Before = c.Firewall.Rules; !c.Before.Equal(rules) {
		if err := client.SetFirewallRules(ctx, c.Firewall.ID, rules); err != nil {
			return c, Problem(err)
		}
		c.Firewall.Rules, c.Replaced = rules, true
	}
	if !c.Firewall.Enabled {
		if err := client.EnableFirewall(ctx, c.Firewall.ID); err != nil {
			return c, Problem(err)
		}
	}
	return c, nil
}
