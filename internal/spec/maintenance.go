package spec

import (
	"strings"
	"time"
	"unicode"
)

// Maintenance takes a node, whose name is the object's name, out of service until the object is deleted: its health endpoint
// says so, and edges and proxies send it nothing.
type Maintenance struct {
	// Reason is for operators: one line. Strangers who ask for the node's health do not read it.
	Reason string `json:"reason,omitempty"`
	// Since is when the operator said so.
	Since time.Time `json:"since"`
	// Upgrade is the change for which the node is in maintenance, nil for none.
	Upgrade *Upgrade `json:"upgrade,omitempty"`
}

// maxReason is how long a reason may be, in bytes: every node keeps it.
const maxReason = 200

// Kind returns KindMaintenance.
func (Maintenance) Kind() Kind { return KindMaintenance }

// Validate implements Body.
func (m Maintenance) Validate() Problems {
	var ps Problems
	ps = append(ps, validateReason(m.Reason)...)
	if m.Since.IsZero() {
		ps.add("since", "", "is missing")
	}
	return append(ps, m.Upgrade.validate()...)
}

func validateReason(reason string) Problems {
	var ps Problems
	if len(reason) > maxReason {
		ps.add("reason", "shorten it", "has %d bytes, more than %d", len(reason), maxReason)
	}
	if strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		ps.add("reason", "write one line of plain text", "%q holds characters that cannot be shown", reason)
	}
	return ps
}
