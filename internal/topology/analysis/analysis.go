// Package analysis finds, before anything is made, what of a cluster cannot work and what hangs on one thing: who is kept from
// whom by a firewall, and what stops when a node, a site, a provider, a link or the edge vendor is lost.
//
// It is pure like topology: no I/O, no clock, no chance, the same answer for the same objects. What is not known yet counts as if
// it were well, so that everything that is found stays true when it becomes known. All functions are safe for concurrent use.
package analysis

import (
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Input is what is analysed. A node's empty provider or site, and a port that is 0, are not known yet.
type Input struct {
	topology.Input
	// Unsure are the nodes whose public addresses are not known yet. Of the others, one without addresses cannot be reached.
	Unsure map[string]bool
	// Accept holds what is known to hang on one thing and meant to: by the loss ("site/hong-kong"), what it may stop
	// ("database/app").
	Accept map[string][]string
}

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	// Fault cannot work.
	Fault Severity = "error"
	// Risk works, and hangs on one thing.
	Risk Severity = "warning"
)

// Problem is what kind of finding it is.
type Problem string

// The problems.
const (
	// Blocked is a connection that one node has to make to another and that a firewall does not let through.
	Blocked Problem = "blocked"
	// UnknownPeer is a rule of a firewall for a node that is not there.
	UnknownPeer Problem = "unknown-peer"
	// NoLink is a pair of nodes neither of which can be reached from outside.
	NoLink Problem = "no-link"
	// Apart is a mesh that falls into parts.
	Apart Problem = "apart"
	// NoNode is a cluster of which nothing is left.
	NoNode Problem = "no-node"
	// NoQuorum is a database that takes no writes.
	NoQuorum Problem = "no-quorum"
	// NoCopy is a pair of which no copy is left.
	NoCopy Problem = "no-copy"
	// NoWay is a tree whose changes do not get from one node that is left to another.
	NoWay Problem = "no-way"
	// NoServer is a hostname that nobody serves.
	NoServer Problem = "no-server"
	// NoEdge is a hostname that does not lead to the nodes any more.
	NoEdge Problem = "no-edge"
)

// LossKind is the kind of thing that is lost.
type LossKind string

// The kinds of losses.
const (
	LossNode     LossKind = "node"
	LossSite     LossKind = "site"
	LossProvider LossKind = "provider"
	LossLink     LossKind = "link"
	LossEdge     LossKind = "edge"
)

// EdgeVendor is who answers for the hostnames of load balancers.
const EdgeVendor = "cloudflare"

// Loss is one thing that fails with everything that belongs to it. A link's name is as in spec.LinkName.
type Loss struct {
	Kind LossKind
	Name string
}

// String returns the loss as "kind/name".
func (l Loss) String() string { return string(l.Kind) + "/" + l.Name }

// Finding is one thing that cannot work or that hangs on one thing.
type Finding struct {
	Problem  Problem
	Severity Severity
	// Losses each bring it about, the smallest first; none when it is so as it stands. Several are the same nodes by several names.
	Losses []Loss
	// Affected is what does not work (then), in order: the cluster stands for its mesh.
	Affected []spec.Ref
	// Nodes are those that it is about, sorted; for Blocked the one whose firewall it is, and the other.
	Nodes []string
	// Told is the blocked connection, for Blocked.
	Told *Barrier
	// Message and Remedy are for people.
	Message, Remedy string
	// Accept is what to write where it is meant to be so, and Accepted tells that somebody did. Accept is empty where nothing can be
	// accepted, or where it is another resource's to accept.
	Accept   string
	Accepted bool
}

// Impact is what one loss stops, everything that smaller ones stop included.
type Impact struct {
	Loss Loss
	// Nodes are those that are lost, sorted.
	Nodes []string
	// Stops is in order; the cluster stands for its mesh.
	Stops []spec.Ref
}

// Result is the whole analysis.
type Result struct {
	// Findings come with faults first, and then by what they are about. Where a loss stops something that a smaller one stops as well,
	// only the smaller is here.
	Findings []Finding
	// Impacts are the losses of nodes, sites, providers, links and the edge that stop anything, in the order of their kinds and names.
	Impacts []Impact
	// Unused are entries of Input.Accept that accept nothing that is there: "site/hong-kong: database/app".
	Unused []string
}

// Analyze analyses a cluster.
func Analyze(in Input) Result {
	m := newModel(in)
	s := newSimulation(m)
	findings := slices.Concat(m.closure(), s.asItStands())
	risks, impacts := s.losses()
	findings = append(findings, risks...)
	slices.SortStableFunc(findings, func(a, b Finding) int { return strings.Compare(string(a.Severity), string(b.Severity)) })
	return Result{Findings: findings, Impacts: impacts, Unused: s.unused()}
}

// Lose returns what stops when all of these nodes are lost at once, in order. What does not work as it stands is not among it, and
// names of nodes that are not there mean nothing.
func Lose(in Input, nodes ...string) []spec.Ref {
	s := newSimulation(newModel(in))
	alive := s.all.Clone()
	for _, name := range nodes {
		if i, there := s.index[name]; there {
			alive.Clear(i)
		}
	}
	return s.refs(s.broken(world{alive: alive}))
}
