// Package clustermap draws a cluster as its nodes observe it: sites, nodes with their roles, and links in both directions, as SVG, as
// Mermaid and as JSON.
//
// It is pure: the same status gives the same bytes. What is drawn comes from outside and is escaped for where it goes to. All
// functions are safe for concurrent use.
package clustermap

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Level is how something is, in one word.
type Level string

// The levels.
const (
	// Good is as it should be.
	Good Level = "good"
	// Degraded works, but not as it should.
	Degraded Level = "degraded"
	// Down does not work.
	Down Level = "down"
	// Unknown is something that nobody can tell of.
	Unknown Level = "unknown"
	// Paused is out of service because the operator wants it so.
	Paused Level = "paused"
)

// Levels lists every level.
func Levels() []Level { return []Level{Good, Degraded, Down, Unknown, Paused} }

// Map is a cluster as it is drawn.
type Map struct {
	Cluster string `json:"cluster"`
	// Seen is the node whose view it is, At when that was.
	Seen    string    `json:"seen"`
	At      time.Time `json:"at"`
	Healthy bool      `json:"healthy"`
	// Sites are sorted by provider and site; each node is in one of them.
	Sites []Site `json:"sites"`
	// Nodes are sorted by site and name, Links by their ends.
	Nodes []Node `json:"nodes"`
	Links []Link `json:"links"`
	// Reasons say what is wrong, Warnings what works but should be looked at.
	Reasons  []string `json:"reasons,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// Site is a failure domain.
type Site struct {
	Provider string   `json:"provider"`
	Site     string   `json:"site"`
	Nodes    []string `json:"nodes"`
}

// Node is a node and what it does.
type Node struct {
	Name        string        `json:"name"`
	Provider    string        `json:"provider"`
	Site        string        `json:"site"`
	MeshAddress string        `json:"mesh_address,omitempty"`
	Level       Level         `json:"level"`
	State       api.NodeState `json:"state"`
	// Since is when the state began, zero when that is not known. Message says more about a state other than ready.
	Since       time.Time `json:"since,omitzero"`
	Message     string    `json:"message,omitempty"`
	Maintenance bool      `json:"maintenance,omitempty"`
	Roles       []Role    `json:"roles,omitempty"`
}

// RoleKind is what a role belongs to.
type RoleKind string

// The kinds of roles.
const (
	RoleDatabase     RoleKind = "database"
	RolePair         RoleKind = "pair"
	RoleLoadBalancer RoleKind = "load-balancer"
)

// Role is a node's part in something.
type Role struct {
	Kind RoleKind `json:"kind"`
	// Name is the database's or pair's name, or the load balancer's hostname.
	Name string `json:"name"`
	// Role is primary, secondary, voter or client for a database, leader or follower for a pair, and edge for a load balancer.
	Role string `json:"role"`
	// State is how the part is, in the word of its kind.
	State string `json:"state"`
	Level Level  `json:"level"`
}

// Link is a pair of nodes.
type Link struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Named tells whether the operator described this link; every other pair is in the mesh all the same.
	Named bool      `json:"named"`
	There Direction `json:"there"`
	Back  Direction `json:"back"`
}

// Direction is how traffic goes from one node of a link to the other.
type Direction struct {
	Level Level              `json:"level"`
	State api.DirectionState `json:"state"`
	Via   string             `json:"via,omitempty"`
	Since time.Time          `json:"since,omitzero"`
	// RTT is in milliseconds, 0 when unknown. Loss is from 0 to 1.
	RTT  float64 `json:"rtt_ms"`
	Loss float64 `json:"loss"`
	// Measured is the direct way between the public addresses, nil where it is not measured.
	Measured *api.Measured `json:"measured,omitempty"`
}

// New makes the map of a status.
func New(s api.ClusterStatus) Map {
	m := Map{
		Cluster: s.Cluster, Seen: s.Seen, At: s.At, Healthy: s.Healthy, Reasons: s.Reasons, Warnings: s.Warnings,
		Sites: []Site{}, Nodes: []Node{}, Links: []Link{},
	}
	known := map[string]bool{}
	for name, v := range s.Nodes {
		known[name] = true
		m.Nodes = append(m.Nodes, newNode(name, v, s))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Links)) {
		l := s.Links[key]
		m.Links = append(m.Links, Link{From: l.From, To: l.To, Named: l.Named, There: newDirection(l.There, s.At), Back: newDirection(l.Back, s.At)})
		for _, end := range []string{l.From, l.To} {
			if !known[end] { // a link is drawn even when nothing is known of its end
				known[end] = true
				m.Nodes = append(m.Nodes, newNode(end, api.NodeView{}, s))
			}
		}
	}
	slices.SortFunc(m.Nodes, func(a, b Node) int {
		return cmp.Or(strings.Compare(a.Provider, b.Provider), strings.Compare(a.Site, b.Site), strings.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(m.Links, func(a, b Link) int { return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To)) })
	for _, n := range m.Nodes {
		if last := len(m.Sites) - 1; last >= 0 && m.Sites[last].Provider == n.Provider && m.Sites[last].Site == n.Site {
			m.Sites[last].Nodes = append(m.Sites[last].Nodes, n.Name)
			continue
		}
		m.Sites = append(m.Sites, Site{Provider: n.Provider, Site: n.Site, Nodes: []string{n.Name}})
	}
	return m
}

func newNode(name string, v api.NodeView, s api.ClusterStatus) Node {
	n := Node{
		Name: name, Provider: v.Provider, Site: v.Site, State: cmp.Or(v.State, api.NodeSilent), Since: v.Since, Message: v.Message,
		Maintenance: v.Maintenance != nil, Roles: roles(name, s),
	}
	if v.MeshAddress.IsValid() {
		n.MeshAddress = v.MeshAddress.String()
	}
	switch {
	case n.Maintenance:
		n.Level = Paused
	case v.State == api.NodeReady:
		n.Level = Good
	case v.State == api.NodeNotReady:
		n.Level = Degraded
	case v.State == api.NodeDown || v.State == api.NodeSilent:
		n.Level = Down
	default:
		n.Level = Unknown
	}
	return n
}

// newDirection judges a direction as the cluster's own status does: of the few probes since it last changed, one lost is a large share.
func newDirection(d api.Direction, at time.Time) Direction {
	lossy := d.Loss >= api.LossWorthWarning && at.Sub(d.Since) >= api.LossWorthSince
	out := Direction{State: d.State, Via: d.Via, Since: d.Since, RTT: d.RTT, Loss: d.Loss, Measured: d.Measured}
	lossy = lossy || out.directLossy()
	switch {
	case d.State == api.UpDirect && !lossy:
		out.Level = Good
	case d.State == api.UpDirect || d.State == api.UpIndirect:
		out.Level = Degraded
	case d.State == api.Down:
		out.Level = Down
	default:
		out.Level, out.State = Unknown, api.UnknownLink
	}
	return out
}

// Text says in a few words how traffic goes.
func (d Direction) Text() string {
	var words string
	switch d.State {
	case api.UpDirect:
		words = "direct"
	case api.UpIndirect:
		words = "via " + cmp.Or(d.Via, "another node")
	case api.Down:
		return "DOWN"
	case api.UnknownLink:
		return "unknown"
	}
	if d.RTT > 0 {
		words += fmt.Sprintf(" %.1f ms", d.RTT)
	}
	if d.Loss >= 0.005 {
		words += fmt.Sprintf(", %.0f %% lost", d.Loss*100)
	}
	if d.directLossy() {
		if d.Measured.Silent {
			return words + ", direct way: nothing arrives"
		}
		return words + fmt.Sprintf(", direct way loses %.0f %%", d.Measured.Loss*100)
	}
	return words
}

// directLossy tells whether the direct way, whether it is in use or not, is measured to be bad in this direction.
func (d Direction) directLossy() bool {
	return d.Measured != nil && (d.Measured.Silent || d.Measured.Loss >= api.LossWorthWarning)
}

// Text says in a few words how the node is.
func (n Node) Text() string {
	if n.Maintenance {
		return string(n.State) + ", in maintenance"
	}
	if n.State == api.NodeReady {
		return string(n.State)
	}
	return strings.ToUpper(string(n.State))
}

// Text says in a few words what the part is and how.
func (r Role) Text() string {
	switch r.Kind {
	case RoleDatabase:
		text := "database " + r.Name + ": " + r.Role
		if r.State != string(spec.MemberOnline) && r.State != r.Role {
			text += ", " + r.State
		}
		return text
	case RolePair:
		return "files " + r.Name + ": " + r.Role + ", " + r.State
	case RoleLoadBalancer:
		return r.Name + ": " + r.State
	}
	return r.Name
}
