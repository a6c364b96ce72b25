package spec

import "time"

// LinkCondition is how the direct way between two nodes is, measured between their public addresses.
type LinkCondition string

// The conditions of a link, the better ones first.
const (
	// LinkDirect is a link over which packets arrive in both directions.
	LinkDirect LinkCondition = "direct"
	// LinkMTU is one that does not carry packets as large as the mesh sends.
	LinkMTU LinkCondition = "mtu"
	// LinkLossy is one that loses packets.
	LinkLossy LinkCondition = "lossy"
	// LinkOneWay is one over which packets arrive in one direction only.
	LinkOneWay LinkCondition = "one-way"
	// LinkCut is one over which nothing arrives; the mesh reaches the node by another way.
	LinkCut LinkCondition = "cut"
	// LinkUnreachable is one to a node that is not reached over the mesh either.
	LinkUnreachable LinkCondition = "unreachable"
)

// LinkConditions lists every condition.
func LinkConditions() []LinkCondition {
	return []LinkCondition{LinkDirect, LinkMTU, LinkLossy, LinkOneWay, LinkCut, LinkUnreachable}
}

// LinkCause is why a link is as it is, as far as the node can tell.
type LinkCause string

// The causes.
const (
	// CauseFilteredPort is a firewall that does not let the mesh's port through.
	CauseFilteredPort LinkCause = "filtered-port"
	// CauseOwnFirewall is the reporting node's own firewall, which does not let it send.
	CauseOwnFirewall LinkCause = "own-firewall"
	// CauseWrongKey is a path that is well, and a mesh that does not use it: one end does not accept the other's key.
	CauseWrongKey LinkCause = "wrong-key"
	// CauseNameResolution is a host name that has no address.
	CauseNameResolution LinkCause = "name-resolution"
	// CauseClock is a clock that is wrong: certificates and reports are not believed then.
	CauseClock LinkCause = "clock"
	// CausePath is none of these: the network between the nodes, or a machine that is off.
	CausePath LinkCause = "path"
)

// LinkStatus is what a node measures of the direct way between itself and one other node.
type LinkStatus struct {
	Condition LinkCondition `json:"condition"`
	// Since is when Condition or Cause last changed.
	Since time.Time `json:"since"`
	Cause LinkCause `json:"cause,omitempty"`
	// Message says for people what does not arrive, where, and what to do; "" for a link that is as it should be.
	Message string `json:"message,omitempty"`
	// In is the direction from the other node to this one, Out the other; nil while nothing is known of it.
	In  *LinkDirection `json:"in,omitempty"`
	Out *LinkDirection `json:"out,omitempty"`
	// RTT is a round trip between the public addresses in milliseconds, 0 while it is not known.
	RTT float64 `json:"rtt_ms,omitempty"`
	// Steering is what the node has decided of the link; nil for one that it never left, or long ago.
	Steering *LinkSteering `json:"steering,omitempty"`
}

// LinkDirection is how packets fare in one direction of a link.
type LinkDirection struct {
	// Silent tells that nothing arrives. Loss is the share of packets that are lost, from 0 to 1: of the last 100 packets or so, and Now of
	// the last ten.
	Silent bool    `json:"silent,omitempty"`
	Loss   float64 `json:"loss,omitempty"`
	Now    float64 `json:"now,omitempty"`
	// MTU is the size of the largest packet that arrived lately, in bytes with its IP header.
	MTU int `json:"mtu,omitempty"`
}

// LinkSteering is what a node has decided of a link.
type LinkSteering struct {
	// Away tells that the mesh does without the link from this node's side, and Via which node's links were found better.
	Away bool   `json:"away,omitempty"`
	Via  string `json:"via,omitempty"`
	// Why is the reason in a word or two, Since when that was decided, Hold how many seconds it holds at least.
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
	Hold  int       `json:"hold_s"`
}
