package spec

// CloudFirewall is the vendor's firewall before a machine that Atoll makes and keeps: it lets in what the cluster needs at the node's
// public addresses, from whom it needs it, and drops everything else. No agent touches it: the operator's side keeps it, by what this
// says and the other objects.
type CloudFirewall struct {
	// Operators are addresses and networks from which the machine is administered: SSH and the agent's API are open to them. Nil is
	// everybody.
	Operators []string `json:"operators,omitempty"`
	// Open is what is let in beside what the cluster needs.
	Open []FirewallRule `json:"open,omitempty"`
}

func (f CloudFirewall) validate() Problems {
	// What both have in common has the same rules.
	return HostFirewall{Operators: f.Operators, Open: f.Open, ConfirmSeconds: DefaultConfirmSeconds}.validate()
}
