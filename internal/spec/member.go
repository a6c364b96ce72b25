package spec

import "slices"

// MemberRole is what a node does for a database.
type MemberRole string

// The roles of members.
const (
	// MemberVoter holds the data and votes. It runs the router as well.
	MemberVoter MemberRole = "voter"
	// MemberClient runs the router only, for applications on a node without data.
	MemberClient MemberRole = "client"
)

// MemberRoles lists every role.
func MemberRoles() []MemberRole { return []MemberRole{MemberVoter, MemberClient} }

// Member is a node's part in a database.
type Member struct {
	Database string     `json:"database"`
	Node     string     `json:"node"`
	Role     MemberRole `json:"role"`
	// Weight is how much the member is preferred as the next primary, from 0 to 100.
	Weight int `json:"weight"`
	// Key is the database's key, sealed to the node's identity.
	Key string `json:"key"`
}

// MemberName returns the name of a node's part in a database.
func MemberName(database, node string) string { return database + "." + node }

// Name returns the member's name.
func (m Member) Name() string { return MemberName(m.Database, m.Node) }

// Kind returns KindMember.
func (Member) Kind() Kind { return KindMember }

// Validate implements Body.
func (m Member) Validate() Problems {
	var ps Problems
	ps = append(ps, ValidateName("database", m.Database)...)
	ps = append(ps, ValidateName("node", m.Node)...)
	if !slices.Contains(MemberRoles(), m.Role) {
		ps.add("role", "update the agent", "%q is unknown", m.Role)
	}
	if m.Weight < 0 || m.Weight > 100 {
		ps.add("weight", "choose one from 0 to 100", "is %d", m.Weight)
	}
	if m.Key == "" {
		ps.add("key", "", "is missing")
	}
	return ps
}
