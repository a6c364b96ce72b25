package api

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// StaleAfter is the age at which a node's last report stops being believed.
const StaleAfter = 60 * time.Second

// fromFuture is how far ahead of the present a report may have arrived: one that arrives while the question is being
// answered. Anything more is from before this machine's clock went back, and its age is not known.
const fromFuture = 5 * time.Second

// Fresh tells whether a report that arrived at a time is still believed. Both times are this machine's; while the process
// runs they carry its monotonic clock, so that a step of the wall clock changes nothing.
func Fresh(received, now time.Time) bool {
	age := now.Sub(received)
	return -fromFuture <= age && age <= StaleAfter
}

// afterlife is how long after a node was found dead a report of it may still arrive. One that comes later is from a node
// that only the mesh does not reach.
const afterlife = 5 * time.Second

// NodeState is one word for how a node is.
type NodeState string

// The states of a node.
const (
	// NodeReady is a node whose every condition is as it should be.
	NodeReady NodeState = "ready"
	// NodeNotReady is a node that reports a condition that is not.
	NodeNotReady NodeState = "not-ready"
	// NodeJoining is a node that is described but has not joined yet.
	NodeJoining NodeState = "joining"
	// NodeSilent is a member whose last report is too old to believe, or that never reported.
	NodeSilent NodeState = "silent"
	// NodeDown is a member that every other reporting node finds dead.
	NodeDown NodeState = "down"
)

// ClusterStatus is the whole cluster as one node sees it.
type ClusterStatus struct {
	Cluster string `json:"cluster"`
	// Seen is the node that answers.
	Seen string    `json:"seen"`
	At   time.Time `json:"at"`
	// Healthy tells that there is nothing in Reasons.
	Healthy bool `json:"healthy"`
	// Reasons says what is wrong, where and since when, the worst first.
	Reasons []string `json:"reasons,omitempty"`
	// Warnings is what works but should be looked at.
	Warnings []string            `json:"warnings,omitempty"`
	Nodes    map[string]NodeView `json:"nodes"`
	Links    map[string]LinkView `json:"links"`
	// LoadBalancers are those that the nodes know of, by hostname.
	LoadBalancers map[string]LoadBalancerView `json:"load_balancers"`
	// Databases are those that the nodes know of, by name.
	Databases map[string]DatabaseView `json:"databases"`
	// Pairs are the pairs of directory trees that the nodes know of, by name.
	Pairs     map[string]PairView  `json:"pairs"`
	Conflicts []store.ConflictInfo `json:"conflicts,omitempty"`
	// Generations holds the newest generation of every object, tombstones included.
	Generations map[spec.Ref]uint64 `json:"generations"`
}

// NodeView is one node in the status of its cluster.
type NodeView struct {
	Provider    string     `json:"provider"`
	Site        string     `json:"site"`
	MeshAddress netip.Addr `json:"mesh_address"`
	Addresses   []string   `json:"addresses,omitempty"`
	State       NodeState  `json:"state"`
	// Message says more about a state other than ready.
	Message string `json:"message,omitempty"`
	// Since is when the state began, as far as that is known.
	Since time.Time `json:"since"`
	// Maintenance is set while the operator has taken the node out of service. State is how it is all the same.
	Maintenance *spec.Maintenance `json:"maintenance,omitempty"`
	// Identity is the admitted identity, zero when nobody is.
	Identity trust.PublicKey `json:"identity"`
	Version  string          `json:"version,omitempty"`
	BootID   string          `json:"boot_id,omitempty"`
	// Received is when the last report arrived at the node that answers, Age how long ago that was in seconds; Age is -1
	// when there was none.
	Received   time.Time        `json:"received"`
	Age        float64          `json:"age_s"`
	Conditions []spec.Condition `json:"conditions,omitempty"`
	// Applied holds the generation of each object that the node has put into effect.
	Applied map[spec.Ref]uint64 `json:"applied,omitempty"`
	// MeshKey is what the node says of its mesh key, nil before its mesh was made.
	MeshKey *MeshKeyView `json:"mesh_key,omitempty"`
}

// Condition returns the node's condition of type t and whether it has reported it.
func (v NodeView) Condition(t spec.ConditionType) (spec.Condition, bool) {
	return spec.Status{Conditions: v.Conditions}.Condition(t)
}

// StatusOf computes the status of the cluster from what the node seen has in its store.
func StatusOf(seen string, s *store.Snapshot, now time.Time) ClusterStatus {
	out := ClusterStatus{
		Cluster: s.ClusterName, Seen: seen, At: now.UTC(),
		Nodes: map[string]NodeView{}, Links: map[string]LinkView{},
		LoadBalancers: map[string]LoadBalancerView{}, Databases: map[string]DatabaseView{}, Pairs: map[string]PairView{},
		Conflicts: s.Conflicts, Generations: s.Generations,
	}
	names := slices.Sorted(maps.Keys(s.Nodes))
	for _, name := range names {
		v := nodeView(name, s, now)
		v.Since = notAfter(v.Since, now)
		out.Nodes[name] = v
	}
	for i, a := range names {
		for _, b := range names[i+1:] {
			out.Links[spec.LinkName(a, b)] = linkView(a, b, s, now)
		}
	}
	for hostname, lb := range s.LoadBalancers {
		out.LoadBalancers[hostname] = out.loadBalancerView(hostname, lb, s, now)
	}
	for name, d := range s.Databases {
		out.Databases[name] = out.databaseView(name, d, s, now)
	}
	for name, p := range s.Pairs {
		out.Pairs[name] = out.pairView(name, p, s, now)
	}
	out.judge(s)
	return out
}

func (out *ClusterStatus) judge(s *store.Snapshot) {
	if s.Cluster == nil {
		out.Reasons = append(out.Reasons, fmt.Sprintf("the description of cluster %q has not arrived at node %q", out.Cluster, out.Seen))
	}
	for _, c := range s.Conflicts {
		out.Reasons = append(out.Reasons, fmt.Sprintf("conflict since %s: %s", stamp(c.Since), c.Message))
	}
	for _, name := range slices.Sorted(maps.Keys(out.Nodes)) {
		v := out.Nodes[name]
		switch {
		case v.Maintenance != nil:
			out.Warnings = append(out.Warnings, v.inMaintenance(name))
		case v.State != NodeReady:
			out.Reasons = append(out.Reasons, fmt.Sprintf("node %s is %s%s: %s", name, v.State, since(v.Since), v.Message))
		}
	}
	out.warnOfRemoved()
	for _, name := range slices.Sorted(maps.Keys(out.Nodes)) {
		if s.Cluster == nil {
			continue
		}
		if text := out.Nodes[name].warnOfKey(name, s.Cluster.Mesh.Generation()); text != "" {
			out.Warnings = append(out.Warnings, text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(out.Links)) {
		reasons, warnings := out.Links[name].judge(out.Nodes, out.At)
		out.Reasons = append(out.Reasons, reasons...)
		out.Warnings = append(out.Warnings, warnings...)
	}
	for _, hostname := range slices.Sorted(maps.Keys(out.LoadBalancers)) {
		out.Reasons = append(out.Reasons, out.LoadBalancers[hostname].judge(hostname, out.Nodes)...)
	}
	for _, name := range slices.Sorted(maps.Keys(out.Databases)) {
		out.Reasons = append(out.Reasons, out.Databases[name].judge(name, out.Nodes)...)
	}
	for _, name := range slices.Sorted(maps.Keys(out.Pairs)) {
		reasons, warnings := out.Pairs[name].judge(name, out.Nodes)
		out.Reasons = append(out.Reasons, reasons...)
		out.Warnings = append(out.Warnings, warnings...)
	}
	for _, d := range s.Damaged {
		out.Warnings = append(out.Warnings, fmt.Sprintf("node %s could not read a stored record: %s", out.Seen, d))
	}
	out.Healthy = len(out.Reasons) == 0
}

// warnOfRemoved tells what nodes have taken out of load balancers, each thing once: all of them see it.
func (out *ClusterStatus) warnOfRemoved() {
	told := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(out.Nodes)) {
		v := out.Nodes[name]
		if c, ok := v.Condition(spec.ConditionEdgeReady); ok && c.Good() && c.Reason == spec.ReasonRemoved && !told[c.Message] &&
			(v.State == NodeReady || v.State == NodeNotReady) {
			told[c.Message] = true
			out.Warnings = append(out.Warnings, fmt.Sprintf("load balancer %s", c.Message))
		}
	}
}

// inMaintenance says that a node is out of service because the operator wants it so, and how it is meanwhile.
func (v NodeView) inMaintenance(name string) string {
	text := fmt.Sprintf("node %s is in maintenance%s", name, since(v.Maintenance.Since))
	if v.Maintenance.Reason != "" {
		text += ": " + v.Maintenance.Reason
	}
	if v.State != NodeReady {
		text += fmt.Sprintf(" (it is %s%s: %s)", v.State, since(v.Since), v.Message)
	}
	return text
}

func nodeView(name string, s *store.Snapshot, now time.Time) NodeView {
	n := s.Nodes[name]
	v := NodeView{
		Provider: n.Provider, Site: n.Site, MeshAddress: n.MeshAddress, Addresses: n.Addresses,
		State: NodeReady, Age: -1,
	}
	if m, away := s.Maintenance[name]; away {
		v.Maintenance = &m
	}
	m, member := s.Members[name]
	if !member {
		v.State, v.Message = NodeJoining, "no machine has joined under this name yet"
		return v
	}
	v.Identity = m.Identity
	status, reported := s.Statuses[name]
	if !reported {
		v.State, v.Since, v.Message = NodeSilent, m.Claim.Made, "it has joined and not reported yet"
		return v
	}
	v.Version, v.BootID, v.Conditions, v.Applied = status.Version, status.BootID, status.Conditions, status.Applied
	v.MeshKey = meshKeyView(status.MeshKey)
	// The age first: in UTC the time has lost its monotonic clock.
	age := now.Sub(s.Received[name])
	v.Received, v.Age = s.Received[name].UTC(), max(0, age.Seconds())
	for _, c := range status.Conditions {
		if c.Since.After(v.Since) {
			v.Since = c.Since
		}
	}
	if dead, at := foundDead(name, s, now); dead && !v.Received.After(at.Add(afterlife)) {
		v.State, v.Since, v.Message = NodeDown, at, "no other node reaches its agent"
		return v
	}
	if !fresh(name, s, now) {
		v.State, v.Since, v.Message = NodeSilent, v.Received, fmt.Sprintf("its last report is %s old", age.Round(time.Second))
		if age < 0 {
			v.Message = "its last report arrived before the clock of the answering node was set back, so its age is not known"
		}
		return v
	}
	v.judgeConditions(status.Conditions)
	return v
}

func (v *NodeView) judgeConditions(conditions []spec.Condition) {
	first := true
	for _, c := range conditions {
		if c.Good() {
			continue
		}
		v.State = NodeNotReady
		text := fmt.Sprintf("%s is %s (%s)", c.Type, c.Status, c.Reason)
		if c.Message != "" {
			text += ": " + c.Message
		}
		if first {
			v.Since, v.Message, first = c.Since, text, false
			continue
		}
		v.Message += "; " + text
		if c.Since.Before(v.Since) {
			v.Since = c.Since
		}
	}
}

// foundDead tells whether every other node with a fresh report finds the node dead, and since when the last of them did.
func foundDead(name string, s *store.Snapshot, now time.Time) (dead bool, since time.Time) {
	witnesses := 0
	for other, status := range s.Statuses {
		peer, sees := status.Peers[name]
		if other == name || !sees || !fresh(other, s, now) {
			continue
		}
		if peer.Alive {
			return false, time.Time{}
		}
		witnesses++
		if peer.AliveSince.After(since) {
			since = peer.AliveSince
		}
	}
	return witnesses > 0, since
}

// fresh tells whether the node's last report is still believed.
func fresh(name string, s *store.Snapshot, now time.Time) bool {
	at, ok := s.Received[name]
	return ok && Fresh(at, now)
}

// notAfter keeps a date that another node's clock has made from lying in the future of whoever reads it.
func notAfter(t, now time.Time) time.Time {
	if t.After(now) {
		return now.UTC()
	}
	return t
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + stamp(t)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
