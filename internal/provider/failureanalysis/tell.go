package failureanalysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
)

// What a plan says when something cannot work, when something hangs on one thing, when a connection is slower or has no spare way, and
// when a database is not all described yet.
// Terraform shows only the first of several warnings with one summary, so that they get what they are about behind it.
const (
	cannotWork  = "Cannot work"
	onePoint    = "Single point of failure"
	worthToKnow = "Works, but not as well as it could"
	notWhole    = "Members are missing"
)

// diagnose says what nobody has accepted and what no resource's plan says itself: one error for what cannot work, one warning for each
// loss.
func (q *question) diagnose(r analysis.Result, run *operator.Cluster) diag.Diagnostics {
	var diags diag.Diagnostics
	byLoss := map[string][]analysis.Finding{}
	var losses []string
	for _, f := range r.Findings {
		if f.Accepted || q.told(f, run) || !q.certain(f) {
			continue
		}
		if f.Told != nil {
			rest := *f.Told
			rest.Ports = untold(rest, run)
			f.Message, f.Remedy = rest.Text()
		}
		switch {
		case len(f.Losses) > 0:
			loss := f.Losses[0].String()
			if byLoss[loss] == nil {
				losses = append(losses, loss)
			}
			byLoss[loss] = append(byLoss[loss], f)
		case f.Severity == analysis.Fault:
			diags.AddAttributeError(q.at(f), cannotWork, diagnose.Sentence(f.Message, f.Remedy))
		default:
			summary := worthToKnow
			if f.Problem == analysis.NoQuorum {
				summary = notWhole
			}
			diags.AddAttributeWarning(q.at(f), summary+": "+f.Affected[0].String()+" ("+string(f.Problem)+")", diagnose.Sentence(f.Message, f.Remedy))
		}
	}
	for _, loss := range losses {
		all := byLoss[loss]
		var b strings.Builder
		fmt.Fprintf(&b, "Without %s:\n", all[0].Cause())
		var stops []string
		for _, f := range all {
			fmt.Fprintf(&b, "\n- %s.\n  %s%s.", f.Message, strings.ToUpper(f.Remedy[:1]), f.Remedy[1:])
			for _, ref := range f.Affected {
				if word := fmt.Sprintf("%q", ref.String()); !slices.Contains(stops, word) {
					stops = append(stops, word)
				}
			}
		}
		fmt.Fprintf(&b, "\n\nWhere that is meant to be so, say it: accept = { %q = [%s] }.", loss, strings.Join(stops, ", "))
		diags.AddAttributeWarning(q.at(all[0]), onePoint+": "+loss, b.String())
	}
	return diags
}

// certain tells whether a finding stays true whatever becomes known: while it is not known which nodes there are, only what a firewall
// blocks does, and while it is not known what is accepted, only what cannot work at all.
func (q *question) certain(f analysis.Finding) bool {
	switch {
	case f.Problem == analysis.Blocked:
		return true
	case !q.all:
		return false
	}
	return !q.quiet || f.Severity == analysis.Fault
}

// told tells whether the plan of a resource says it.
func (q *question) told(f analysis.Finding, run *operator.Cluster) bool {
	switch f.Problem {
	case analysis.Blocked:
		return len(untold(*f.Told, run)) == 0
	case analysis.NoServer:
		return true
	case analysis.NoCopy:
		// A pair warns when both nodes are at one site of one provider.
		first := q.Nodes[f.Nodes[0]]
		return first.Site != "" && first.Provider != "" && !slices.ContainsFunc(f.Nodes, func(name string) bool {
			return q.Nodes[name].Site != first.Site || q.Nodes[name].Provider != first.Provider
		})
	case analysis.UnknownPeer, analysis.NoLink, analysis.Apart, analysis.NoNode, analysis.NoQuorum, analysis.NoWay, analysis.NoEdge:
	}
	return false
}

// untold returns the ports of a barrier that no node's plan tells of: nodes know of no database, load balancer or pair, and not which
// links do without UDP.
func untold(b analysis.Barrier, run *operator.Cluster) []topology.Port {
	_, from := run.Place(b.From)
	_, to := run.Place(b.To)
	if !from || !to || run.Described() == nil {
		return b.Ports
	}
	return slices.DeleteFunc(slices.Clone(b.Ports), func(p topology.Port) bool {
		switch p.Service {
		case topology.ServiceMesh:
			return b.Cuts
		case topology.ServiceAPI:
			return b.Side != analysis.Mesh
		case topology.ServiceGossip, topology.ServiceProbe:
			return true
		default:
			return false
		}
	})
}

// at returns the attribute that a finding is about: the node that is lost or whose firewall it is, otherwise what all of it is in.
func (q *question) at(f analysis.Finding) path.Path {
	nodes := path.Root("nodes")
	switch {
	case len(f.Losses) > 0 && f.Losses[0].Kind == analysis.LossNode:
		return nodes.AtMapKey(q.keys[f.Losses[0].Name])
	case f.Problem == analysis.NoEdge:
		return path.Root("load_balancers")
	case f.Problem == analysis.Blocked, f.Problem == analysis.UnknownPeer:
		return nodes.AtMapKey(q.keys[f.Nodes[0]]).AtName("firewall")
	case f.Problem == analysis.NoQuorum && len(f.Losses) == 0:
		return path.Root("databases")
	}
	return nodes
}
