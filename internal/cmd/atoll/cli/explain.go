package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// explanation is everything that a cluster knows of one of its nodes, from every side.
type explanation struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	// Seen is the node whose view of the cluster this is, at the time At. Ready tells that nothing is wrong with the node.
	Seen  string    `json:"seen"`
	At    time.Time `json:"at"`
	Ready bool      `json:"ready"`
	// Findings are what is wrong and what should be looked at, the causes before what follows from them.
	Findings []finding `json:"findings"`
	// State is the node as that view has it. Its conditions are the node's own where it answered from here, which Answers tells.
	State   api.NodeView `json:"state"`
	Answers bool         `json:"answers"`
	// Views are the node as each node that answered sees it, by that one's name.
	Views map[string]sight `json:"views"`
	// Links are those to every other node, by its name.
	Links         map[string]nodeLink            `json:"links"`
	Databases     map[string]api.DatabaseView    `json:"databases"`
	Pairs         map[string]api.PairView        `json:"pairs"`
	LoadBalancers map[string]api.ServingView     `json:"load_balancers"`
	Behind        map[spec.Ref]generationsBehind `json:"behind,omitempty"`
	Conflicts     []store.ConflictInfo           `json:"conflicts,omitempty"`
	// Unanswered says for each node that did not answer from here why; that may be this machine's fault.
	Unanswered map[string]string `json:"unanswered,omitempty"`
}

// finding is one thing that is wrong, or that should be looked at, and what to do.
type finding struct {
	// Wrong tells that it keeps the node, or something on it, from being as it should.
	Wrong bool      `json:"wrong"`
	What  string    `json:"what"`
	Since time.Time `json:"since,omitzero"`
	Do    string    `json:"do,omitempty"`
}

// sight is a node as another one sees it.
type sight struct {
	State   api.NodeState `json:"state"`
	Since   time.Time     `json:"since"`
	Message string        `json:"message,omitempty"`
	// Age is how old the node's last report is there, in seconds; -1 when there is none.
	Age float64 `json:"age_s"`
}

// nodeLink is a link as the node that is explained has it: To leads from it to the other, From back.
type nodeLink struct {
	Named bool          `json:"named"`
	To    api.Direction `json:"to"`
	From  api.Direction `json:"from"`
	// Reports are what both ends say of the direct way between them.
	Reports []api.LinkReport `json:"reports,omitempty"`
}

// generationsBehind tells how far a node is behind with an object.
type generationsBehind struct {
	Applied uint64 `json:"applied"`
	Newest  uint64 `json:"newest"`
}

// explain puts together what all answers say of a node. It fails when none of them knows it.
func explain(node string, r report, answers []answer, meshPort string) (explanation, error) {
	views := []api.ClusterStatus{r.ClusterStatus}
	x := explanation{
		Cluster: r.Cluster, Node: node, Seen: r.Seen, At: r.At, Views: map[string]sight{}, Links: map[string]nodeLink{},
		Databases: map[string]api.DatabaseView{}, Pairs: map[string]api.PairView{}, LoadBalancers: map[string]api.ServingView{},
		Behind: map[spec.Ref]generationsBehind{}, Unanswered: r.Unanswered, Findings: []finding{},
	}
	for _, a := range answers {
		if a.err != nil {
			continue
		}
		views = append(views, a.status)
		if v, known := a.status.Nodes[node]; known {
			x.Views[a.status.Seen] = sight{v.State, v.Since, v.Message, v.Age}
		}
		x.Answers = x.Answers || a.status.Seen == node
	}
	// Of two answers the node's own is the newer one, whatever part of the cluster is the larger.
	slices.SortStableFunc(views, func(a, b api.ClusterStatus) int {
		return cmp.Compare(boolean(b.Seen == node), boolean(a.Seen == node))
	})
	state, known := r.Nodes[node]
	for _, v := range views {
		if known {
			break
		}
		state, known = v.Nodes[node]
	}
	if !known {
		return x, fmt.Errorf("cluster %q has no node %q; it has %s", r.Cluster, node, words(slices.Sorted(maps.Keys(r.Nodes))))
	}
	if own, ok := views[0].Nodes[node]; ok && x.Answers {
		state.Conditions, state.Applied, state.Version, state.BootID, state.MeshKey = own.Conditions, own.Applied, own.Version, own.BootID, own.MeshKey
	}
	x.State = state
	x.gather(r, views)
	x.judge(r, meshPort)
	return x, nil
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// gather collects the node's parts. What the node that a fact is about says itself counts more than what others have heard of it.
func (x *explanation) gather(r report, views []api.ClusterStatus) {
	for other := range r.Nodes {
		if other == x.Node {
			continue
		}
		l := nodeLink{To: directionIn(views, x.Node, other), From: directionIn(views, other, x.Node)}
		view := r.Links[spec.LinkName(x.Node, other)]
		l.Named, l.Reports = view.Named, view.Reports
		x.Links[other] = l
	}
	for name, d := range r.Databases {
		if _, ours := d.Members[x.Node]; ours {
			d.Members = maps.Clone(d.Members)
			if own, ok := views[0].Databases[name].Members[x.Node]; ok {
				d.Members[x.Node] = own
			}
			x.Databases[name] = d
		}
	}
	for name, p := range r.Pairs {
		if _, ours := p.Sides[x.Node]; ours {
			p.Sides = maps.Clone(p.Sides)
			if own, ok := views[0].Pairs[name].Sides[x.Node]; ok {
				p.Sides[x.Node] = own
			}
			x.Pairs[name] = p
		}
	}
	for hostname := range r.LoadBalancers {
		if n, ours := r.LoadBalancers[hostname].Nodes[x.Node]; ours {
			x.LoadBalancers[hostname] = n
		}
	}
	for ref, applied := range x.State.Applied {
		if newest := r.Generations[ref]; newest > applied {
			x.Behind[ref] = generationsBehind{applied, newest}
		}
	}
	for _, c := range r.Conflicts {
		if c.Ref == (spec.Ref{Kind: spec.KindNode, Name: x.Node}) {
			x.Conflicts = append(x.Conflicts, c)
		}
	}
}

// directionIn returns how traffic goes from one node to another: as its first node says itself, or else as the first view has it
// that knows.
func directionIn(views []api.ClusterStatus, from, to string) api.Direction {
	out := api.Direction{State: api.UnknownLink}
	for _, own := range []bool{true, false} {
		for _, v := range views {
			if own && v.Seen != from {
				continue
			}
			l, known := v.Links[spec.LinkName(from, to)]
			if !known {
				continue
			}
			d := l.There
			if l.From != from {
				d = l.Back
			}
			if d.State != api.UnknownLink && d.State != "" {
				return d
			}
			out.Since = d.Since
		}
	}
	return out
}

// judge makes the findings, causes first: the machine, what the node says of itself, links, then what runs on it.
func (x *explanation) judge(r report, meshPort string) {
	x.judgeMachine()
	x.judgeConditions()
	x.judgeLinks(r, meshPort)
	x.judgeDatabases()
	x.judgePairs()
	x.judgeServing()
	x.judgeRest()
	x.Ready = !slices.ContainsFunc(x.Findings, func(f finding) bool { return f.Wrong })
}

func (x *explanation) found(wrong bool, since time.Time, do, format string, args ...any) {
	x.Findings = append(x.Findings, finding{Wrong: wrong, Since: since, Do: do, What: fmt.Sprintf(format, args...)})
}

func (x *explanation) judgeMachine() {
	v := x.State
	if v.Maintenance != nil {
		reason := ""
		if v.Maintenance.Reason != "" {
			reason = ": " + v.Maintenance.Reason
		}
		do := "atoll maintenance leave " + x.Node + " puts it back into service"
		if v.Maintenance.Upgrade != nil {
			do = "atoll upgrade resume goes on, atoll upgrade abort takes it back"
		}
		x.found(false, v.Maintenance.Since, do, "the operator has taken it out of service%s", reason)
	}
	const look = "see whether its machine runs and has its network; on it, `systemctl status atolld` and `journalctl -u atolld` say what the agent does"
	switch v.State {
	case api.NodeJoining:
		x.found(true, v.Since, "start the machine with its first-boot data; its console and its health endpoint say what it waits for. When the ticket is over, `terraform apply` makes another",
			"no machine has joined under this name yet")
	case api.NodeDown, api.NodeSilent:
		if x.Answers {
			x.found(true, v.Since, "the way between it and the others is broken, not the node: the links below say in which direction",
				"%s hears nothing of it (%s), but it answers from here", x.Seen, v.Message)
			return
		}
		x.found(true, v.Since, look, "%s", v.Message)
	case api.NodeReady, api.NodeNotReady:
		if why, silent := x.Unanswered[x.Node]; silent {
			x.found(false, time.Time{}, "the others hear of it, so it runs: see whether a firewall, or the network that you are in, keeps you from its API (`atoll ports "+x.Node+"` names the port)",
				"it does not answer from here: %s", why)
		}
	}
}

func (x *explanation) judgeConditions() {
	if s := x.State.State; (s == api.NodeDown || s == api.NodeSilent) && !x.Answers {
		return // they are of before
	}
	for _, c := range x.State.Conditions {
		if c.Good() {
			continue
		}
		text := fmt.Sprintf("%s is %s (%s)", c.Type, c.Status, cmp.Or(c.Reason, "no reason"))
		if c.Message != "" {
			text += ": " + c.Message
		}
		x.found(true, c.Since, x.remedy(c), "%s", text)
	}
}

// remedy says what to do about a condition that is not good. Where the message of the condition says it, there is nothing to add.
func (x *explanation) remedy(c spec.Condition) string {
	switch c.Type {
	case spec.ConditionApplied:
		if c.Status == spec.ConditionUnknown {
			return "`terraform apply` sends the descriptions again; see below whether its links are up"
		}
		return "mend what the message names; the agent tries again by itself. On the node, `journalctl -u atolld` has the whole story"
	case spec.ConditionMeshReady:
		if c.Reason == "NotRunning" {
			return "mend what condition Applied names"
		}
		return "see its links below: which direction fails says on which side to look"
	case spec.ConditionGossipReady:
		if m, ok := x.State.Condition(spec.ConditionMeshReady); ok && !m.Good() {
			return "it follows from the mesh"
		}
		return "the mesh is up, so look at the agent of the other node: `atoll status --explain` with its name"
	case spec.ConditionConflict:
		return "decide which machine is the right one: `atoll pin " + x.Node + "`"
	case spec.ConditionClockSane:
		return "set the machine's clock and keep it set: `timedatectl status` says whether anything does"
	case spec.ConditionStoreSound:
		return "the records come again from other nodes; when it happens again, look at the machine's disk"
	case spec.ConditionDatabaseReady, spec.ConditionFilesReady:
		return "see what is said of it below"
	case spec.ConditionFirewallReady:
		return "change `host_firewall` of its atoll_node; on the node, `nft list table inet atoll` is what is in force"
	case spec.ConditionJoined, spec.ConditionEdgeReady:
	}
	return ""
}

// judgeLinks says of each link what its two directions together tell.
func (x *explanation) judgeLinks(r report, meshPort string) {
	if s := x.State.State; s == api.NodeJoining || (s == api.NodeDown || s == api.NodeSilent) && !x.Answers {
		return // nothing of them is its links' fault
	}
	for _, other := range slices.Sorted(maps.Keys(x.Links)) {
		peer := r.Nodes[other]
		if peer.State == api.NodeDown || peer.State == api.NodeSilent || peer.State == api.NodeJoining {
			continue // it is the peer that is to be explained
		}
		l := x.Links[other]
		to, from := l.To, l.From
		since := later(to.Since, from.Since)
		switch {
		case to.State == api.Down && from.State == api.Down:
			x.found(true, since, "see whether anything reaches "+x.Node+" ("+x.otherLinks(other)+"); where it is this pair alone, a firewall or the line between the two sites lets the mesh through in neither direction: "+meshPort+" at both",
				"%s and %s do not reach each other", x.Node, other)
		case to.State == api.Down:
			x.found(true, to.Since, "open "+meshPort+" at "+other+" for "+x.Node+": a firewall there, or on the way, lets only answers through", "%s", oneWay(x.Node, other, from))
		case from.State == api.Down:
			x.found(true, from.Since, "open "+meshPort+" at "+x.Node+" for "+other+": a firewall there, or on the way, lets only answers through", "%s", oneWay(other, x.Node, to))
		case x.leftAlone(other, l):
		case to.State == api.UpIndirect || from.State == api.UpIndirect:
			x.found(true, since, "it works as long as "+via(to, from)+" does. Open "+meshPort+" at both, for each other's public addresses",
				"no direct path between %s and %s%s: traffic goes by %s", x.Node, other, which(x.Node, other, to, from), via(to, from))
		}
		x.judgeMeasured(other, l)
		for _, d := range []struct {
			from, to string
			api.Direction
		}{{x.Node, other, to}, {other, x.Node, from}} {
			if d.State != api.Down && d.Loss >= api.LossWorthWarning && r.At.Sub(d.Since) >= api.LossWorthSince {
				x.found(false, d.Since, "ask the providers about the line between the two sites", "%s -> %s loses %.0f %% of its packets", d.from, d.to, d.Loss*100)
			}
		}
	}
}

// oneWay says that one node does not reach the other, and what is known of the way back.
func oneWay(from, to string, back api.Direction) string {
	if back.State == api.UnknownLink {
		return fmt.Sprintf("%s does not reach %s; whether %s reaches %s is not known", from, to, to, from)
	}
	way := ""
	if back.State == api.UpIndirect {
		way = ", by way of " + cmp.Or(back.Via, "another node")
	}
	return fmt.Sprintf("one-way: %s does not reach %s, which does reach it%s", from, to, way)
}

// otherLinks says how many of the other nodes are reached.
func (x *explanation) otherLinks(without string) string {
	up, all := 0, 0
	for other, l := range x.Links {
		if other == without {
			continue
		}
		all++
		if l.To.State == api.UpDirect || l.To.State == api.UpIndirect {
			up++
		}
	}
	return fmt.Sprintf("it reaches %d of its %d other peers", up, all)
}

// which says which direction has no direct path, when the other has one.
func which(a, b string, to, from api.Direction) string {
	switch {
	case from.State == api.UpDirect:
		return " from " + a + " to " + b
	case to.State == api.UpDirect:
		return " from " + b + " to " + a
	default:
		return ""
	}
}

func via(to, from api.Direction) string { return cmp.Or(to.Via, from.Via, "another node") }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (x *explanation) judgeRest() {
	for _, ref := range slices.SortedFunc(maps.Keys(x.Behind), func(a, b spec.Ref) int { return strings.Compare(a.String(), b.String()) }) {
		b := x.Behind[ref]
		x.found(false, time.Time{}, "", "it has not put the newest %s into effect yet (generation %d, the newest is %d)", ref, b.Applied, b.Newest)
	}
	for _, c := range x.Conflicts {
		x.found(true, c.Since, "decide which machine is the right one: `atoll pin "+x.Node+"`", "conflict: %s", c.Message)
	}
}
