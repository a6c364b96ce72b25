package spec

import "time"

// Maintenance takes a node, whose name is the object's name, out of service until the object is deleted: its health endpoint
// says so, and edges and proxies send it nothing.
type Maintenance struct {
	// Reason is for people.
	Reason string `json:"reason,omitempty"`
	// Since is when the operator said so.
	Since time.Time `json:"since"`
}

// maxReason bounds what is told to everybody who asks for a node's health, in bytes.
const maxReason = 200

// Kind returns KindMaintenance.
func (Maintenance) Kind() Kind { return KindMaintenance }

// Validate implements Body.
func (m Maintenance) Validate() Problems {
	var ps Problems
	if len(m.Reason) > maxReason {
		ps.add("reason", "shorten it", "has %d bytes, more than %d", len(m.Reason), maxReason)
	}
	if m.Since.IsZero() {
		ps.add("since", "", "is missing")
	}
	return ps
}
