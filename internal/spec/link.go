package spec

// Link is what differs from the default for one pair of nodes in the mesh. From and To are in the order in which the
// operator wrote them; the pair is the same in both orders.
type Link struct {
	From     string       `json:"from"`
	To       string       `json:"to"`
	Settings LinkSettings `json:"settings"`
}

// LinkSettings are one pair's settings; the zero value is the default.
type LinkSettings struct {
	// TCPOnly sends the pair's traffic over TCP, for a path that loses UDP.
	TCPOnly bool `json:"tcp_only,omitempty"`
	// MTU is the largest packet of the path in bytes, 0 to find it out.
	MTU int `json:"mtu,omitempty"`
}

// LinkName returns the name of the link between two nodes, the same for both orders.
func LinkName(a, b string) string {
	if b < a {
		a, b = b, a
	}
	return a + "." + b
}

// Name returns the link's name.
func (l Link) Name() string { return LinkName(l.From, l.To) }

// Kind returns KindLink.
func (Link) Kind() Kind { return KindLink }

// Validate implements Body.
func (l Link) Validate() Problems {
	var ps Problems
	ps = append(ps, ValidateName("from", l.From)...)
	ps = append(ps, ValidateName("to", l.To)...)
	if l.From == l.To {
		ps.add("to", "name two different nodes", "is the same node as from (%q)", l.From)
	}
	if l.Settings.MTU != 0 && (l.Settings.MTU < 576 || l.Settings.MTU > 9000) {
		ps.add("settings.mtu", "leave it out to have it measured", "%d is not between 576 and 9000", l.Settings.MTU)
	}
	return ps
}

// Suit returns what a cluster's mesh driver cannot do of the settings.
func (s LinkSettings) Suit(d MeshDriver) Problems {
	var ps Problems
	if s.TCPOnly && !d.TCP() {
		ps.add("tcp_only", "leave it out: where UDP does not pass, traffic goes by other nodes", "the mesh of driver %q has no TCP", d)
	}
	return ps
}
