package spec

import "time"

// ConditionType names one observed fact.
type ConditionType string

// The conditions that an agent reports of its own node.
const (
	// ConditionJoined is true once the node has an identity and the cluster admits it.
	ConditionJoined ConditionType = "Joined"
	// ConditionApplied is true while the node is as its objects describe it.
	ConditionApplied ConditionType = "Applied"
	// ConditionMeshReady is true while every peer answers over the mesh.
	ConditionMeshReady ConditionType = "MeshReady"
	// ConditionGossipReady is true while every peer is alive in gossip.
	ConditionGossipReady ConditionType = "GossipReady"
	// ConditionStoreSound is true while everything stored could be read and verified.
	ConditionStoreSound ConditionType = "StoreSound"
	// ConditionConflict is true while two signed truths contradict each other and the operator must decide.
	ConditionConflict ConditionType = "Conflict"
	// ConditionClockSane is true while the node's clock agrees with its peers' to within a minute.
	ConditionClockSane ConditionType = "ClockSane"
	// ConditionEdgeReady is true while the node can take dead nodes of its load balancers out of the vendor's pools. Only nodes of
	// a load balancer with quick removal have it.
	ConditionEdgeReady ConditionType = "EdgeReady"
	// ConditionDatabaseReady is true while the node's part in every database is as it should be. Only nodes with such a part
	// have it.
	ConditionDatabaseReady ConditionType = "DatabaseReady"
	// ConditionFilesReady is true while every pair that the node belongs to keeps its trees equal. Only nodes with a pair have it.
	ConditionFilesReady ConditionType = "FilesReady"
	// ConditionFirewallReady is true while the node's own packet filter is as its objects describe it and somebody has come through
	// since; Unknown while a change of it is on trial. Only nodes with such a filter have it.
	ConditionFirewallReady ConditionType = "FirewallReady"
)

// ConditionStatus is whether a condition holds.
type ConditionStatus string

// The values of a condition.
const (
	ConditionTrue    ConditionStatus = "True"
	ConditionFalse   ConditionStatus = "False"
	ConditionUnknown ConditionStatus = "Unknown"
)

// Condition is one observed fact that an agent reports.
type Condition struct {
	Type   ConditionType   `json:"type"`
	Status ConditionStatus `json:"status"`
	// Reason is one word for programs, Message is for people: what happened, where, and what to do.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Since is when Status last changed.
	Since time.Time `json:"since"`
}

// Good tells whether the condition is as it should be. Conflict is the one whose good value is False.
func (c Condition) Good() bool {
	if c.Type == ConditionConflict {
		return c.Status == ConditionFalse
	}
	return c.Status == ConditionTrue
}

// Status is what one agent reports of its node. Only the newest counts: the higher Sequence wins within one boot of the
// agent, the later Reported otherwise.
type Status struct {
	Wire    int    `json:"wire"`
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	// Sequence grows with every report of this node and survives restarts of the agent.
	Sequence   uint64      `json:"sequence"`
	Reported   time.Time   `json:"reported"`
	Version    string      `json:"version"`
	BootID     string      `json:"boot_id"`
	Conditions []Condition `json:"conditions"`
	// Applied holds the generation of each object that the node has put into effect.
	Applied map[Ref]uint64 `json:"applied,omitempty"`
	// Peers is how this node sees each other node.
	Peers map[string]PeerStatus `json:"peers,omitempty"`
	// Serving is how fit this node is to serve each load balancer that it belongs to, by hostname.
	Serving map[string]ServingStatus `json:"serving,omitempty"`
	// Databases is this node's part in each database, by name.
	Databases map[string]DatabaseStatus `json:"databases,omitempty"`
	// Pairs is this node's side of each pair, by name.
	Pairs map[string]PairStatus `json:"pairs,omitempty"`
	// Links is what this node measures of the direct way between itself and each other node that has a public address, by that
	// node's name.
	Links map[string]LinkStatus `json:"links,omitempty"`
	// MeshKey is what the node says of its mesh keys, nil before its mesh was made.
	MeshKey *MeshKeyStatus `json:"mesh_key,omitempty"`
}

// ServingStatus is how fit a node is to serve one load balancer.
type ServingStatus struct {
	// Fit is what the health endpoint says, and Since when that last changed.
	Fit   bool      `json:"fit"`
	Since time.Time `json:"since"`
	// Node names the part of the node itself that keeps it from serving (membership, mesh, maintenance, proxy, or application
	// while that was not asked yet), "" for none.
	Node string `json:"node,omitempty"`
	// Application is "" while the application is well or has no check, and otherwise what is wrong with it.
	Application string `json:"application,omitempty"`
	// Barred tells that no floor keeps the node in service: its files have to be equal first, after a maintenance.
	Barred bool `json:"barred,omitempty"`
	// Kept tells that the node stays in service although its application is unwell, or although it has lost the others or the database
	// (then Node is mesh or database), since too few nodes would be left.
	Kept bool `json:"kept,omitempty"`
}

// PeerStatus is how one node sees another, in the direction from the reporting node to the peer.
type PeerStatus struct {
	// Reachable tells whether the peer answers over the mesh, by whatever path.
	Reachable bool `json:"reachable"`
	// Direct tells whether traffic to the peer takes the direct path; NextHop is the node it goes by otherwise.
	Direct  bool   `json:"direct"`
	NextHop string `json:"next_hop,omitempty"`
	// Since is when Reachable or Direct last changed.
	Since time.Time `json:"since"`
	// RTT is the round-trip time over the mesh in milliseconds, a moving average; 0 before the first answer.
	RTT float64 `json:"rtt_ms"`
	// Loss is the share of probes that went unanswered, a moving average from 0 to 1.
	Loss float64 `json:"loss"`
	// Alive is what gossip says of the peer's agent, and since when.
	Alive      bool      `json:"alive"`
	AliveSince time.Time `json:"alive_since"`
	// Public tells whether the peer's health endpoint answers at a public address, asked for peers of a load balancer with
	// quick removal only; nil where nobody asks, and until it has answered once.
	Public *PublicStatus `json:"public,omitempty"`
}

// PublicStatus is whether a node answers outside of the mesh.
type PublicStatus struct {
	// Answers tells whether the health endpoint answers at a public address, whatever it says.
	Answers bool `json:"answers"`
	// Dead tells that the node has answered neither at a public address nor over the mesh for a moment. It is sooner than
	// Reachable, which leaves the mesh the time to find another way.
	Dead bool `json:"dead,omitempty"`
	// Since is when Answers or Dead last changed.
	Since time.Time `json:"since"`
}

// Condition returns the condition of type t and whether the status has it.
func (s Status) Condition(t ConditionType) (Condition, bool) {
	for _, c := range s.Conditions {
		if c.Type == t {
			return c, true
		}
	}
	return Condition{}, false
}
