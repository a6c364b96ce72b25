package clusterstatus

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/database"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Model is the data source's state.
type Model struct {
	Cluster    reference.Named      `tfsdk:"cluster"`
	Nodes      map[string]Source    `tfsdk:"nodes"`
	Healthy    types.Bool           `tfsdk:"healthy"`
	SeenBy     types.String         `tfsdk:"seen_by"`
	Reasons    []string             `tfsdk:"reasons"`
	Warnings   []string             `tfsdk:"warnings"`
	NodeStates map[string]NodeState `tfsdk:"node_states"`
	Links      map[string]Link      `tfsdk:"links"`
	Databases  map[string]Database  `tfsdk:"databases"`
	Pairs      map[string]Pair      `tfsdk:"pairs"`
}

// Pair is one pair of directory trees.
type Pair struct {
	State         string              `tfsdk:"state"`
	Since         string              `tfsdk:"since"`
	Leader        string              `tfsdk:"leader"`
	Synced        string              `tfsdk:"synced"`
	Propagation   types.Float64       `tfsdk:"propagation_seconds"`
	StandsInFor   types.String        `tfsdk:"stands_in_for"`
	StandsInSince types.String        `tfsdk:"stands_in_since"`
	LeadsNow      types.String        `tfsdk:"leads_now"`
	Conflicts     int64               `tfsdk:"conflicts"`
	ConflictPaths []string            `tfsdk:"conflict_paths"`
	Sides         map[string]PairSide `tfsdk:"sides"`
}

// PairSide is one node's side of a pair.
type PairSide struct {
	Path    string `tfsdk:"path"`
	State   string `tfsdk:"state"`
	Since   string `tfsdk:"since"`
	Pending int64  `tfsdk:"pending"`
	Problem string `tfsdk:"problem"`
	// Lately and Carried are nil where nothing is known of them.
	Lately  *PairPropagation `tfsdk:"propagation_last_hour"`
	Carried *PairCarried     `tfsdk:"carried"`
	// After is nil for a pair without a command after changes.
	After *PairAfter `tfsdk:"after_change"`
}

// PairAfter is how far a side is with its command after changes.
type PairAfter struct {
	State   string `tfsdk:"state"`
	Last    string `tfsdk:"last_run"`
	Problem string `tfsdk:"problem"`
}

// PairPropagation sums up how long changes took from a side to the other.
type PairPropagation struct {
	P50      float64 `tfsdk:"p50_seconds"`
	P99      float64 `tfsdk:"p99_seconds"`
	Max      float64 `tfsdk:"max_seconds"`
	Canaries int64   `tfsdk:"canaries"`
	Since    string  `tfsdk:"since"`
}

// PairCarried is what a side has exchanged with the other.
type PairCarried struct {
	Files    int64  `tfsdk:"received_files"`
	Received int64  `tfsdk:"received_bytes"`
	Sent     int64  `tfsdk:"sent_bytes"`
	Since    string `tfsdk:"since"`
}

// Database is one database.
type Database struct {
	State       string                    `tfsdk:"state"`
	Primary     types.String              `tfsdk:"primary"`
	Since       string                    `tfsdk:"since"`
	Votes       int64                     `tfsdk:"votes"`
	Online      int64                     `tfsdk:"online"`
	Incarnation int64                     `tfsdk:"incarnation"`
	Members     map[string]DatabaseMember `tfsdk:"members"`
	Rollout     types.String              `tfsdk:"rollout"`
}

// DatabaseMember is one node's part in a database.
type DatabaseMember struct {
	Role     string        `tfsdk:"role"`
	State    string        `tfsdk:"state"`
	Since    string        `tfsdk:"since"`
	Lag      types.Float64 `tfsdk:"lag"`
	Version  string        `tfsdk:"version"`
	Problem  string        `tfsdk:"problem"`
	Router   string        `tfsdk:"router"`
	Writable bool          `tfsdk:"writable"`
}

// Source is a node to ask.
type Source struct {
	Cluster   types.Object `tfsdk:"cluster"`
	Name      types.String `tfsdk:"name"`
	Endpoints types.List   `tfsdk:"endpoints"`
	Identity  types.String `tfsdk:"identity"`
}

// NodeState is one node.
type NodeState struct {
	State      string      `tfsdk:"state"`
	Message    string      `tfsdk:"message"`
	Since      string      `tfsdk:"since"`
	Version    string      `tfsdk:"version"`
	Conditions []Condition `tfsdk:"conditions"`
}

// Condition is one observed fact.
type Condition struct {
	Type    string `tfsdk:"type"`
	Status  string `tfsdk:"status"`
	Reason  string `tfsdk:"reason"`
	Message string `tfsdk:"message"`
	Since   string `tfsdk:"since"`
}

// Link is one pair of nodes.
type Link struct {
	From  string    `tfsdk:"from"`
	To    string    `tfsdk:"to"`
	There Direction `tfsdk:"there"`
	Back  Direction `tfsdk:"back"`
	// Reports are what the ends say of the direct way between them, by node.
	Reports map[string]LinkReport `tfsdk:"reports"`
}

// LinkReport is what one end of a link says of the direct way.
type LinkReport struct {
	Condition string       `tfsdk:"condition"`
	Cause     types.String `tfsdk:"cause"`
	Since     string       `tfsdk:"since"`
	Message   string       `tfsdk:"message"`
	Left      bool         `tfsdk:"left"`
	Via       types.String `tfsdk:"via"`
}

// Measured is how packets fare in one direction between the public addresses.
type Measured struct {
	Silent bool          `tfsdk:"silent"`
	Loss   float64       `tfsdk:"loss"`
	RTT    types.Float64 `tfsdk:"rtt_ms"`
	MTU    types.Int64   `tfsdk:"mtu"`
}

// Direction is how traffic in one direction fares.
type Direction struct {
	State string  `tfsdk:"state"`
	Via   string  `tfsdk:"via"`
	Since string  `tfsdk:"since"`
	RTT   float64 `tfsdk:"rtt_ms"`
	Loss  float64 `tfsdk:"loss"`
	// Measured is nil where it is not.
	Measured *Measured `tfsdk:"measured"`
}

// FromStatus sets everything observed. A nil status means that no node answered.
func (m *Model) FromStatus(s *api.ClusterStatus) {
	m.Healthy, m.SeenBy = types.BoolValue(false), types.StringNull()
	m.Reasons, m.Warnings = []string{}, []string{}
	m.NodeStates, m.Links, m.Databases = map[string]NodeState{}, map[string]Link{}, map[string]Database{}
	m.Pairs = map[string]Pair{}
	if s == nil {
		m.Reasons = []string{"no node answers"}
		return
	}
	m.Healthy, m.SeenBy = types.BoolValue(s.Healthy), types.StringValue(s.Seen)
	m.Reasons, m.Warnings = append(m.Reasons, s.Reasons...), append(m.Warnings, s.Warnings...)
	// Halves that never met are each content with themselves.
	for _, name := range slices.Sorted(maps.Keys(m.Nodes)) {
		asked := m.Nodes[name].Name.ValueString()
		if _, known := s.Nodes[asked]; !known {
			m.Healthy = types.BoolValue(false)
			m.Reasons = append(m.Reasons, fmt.Sprintf("%s does not know node %s: introduce it with an atoll_mesh_link or a seed of the cluster", s.Seen, asked))
		}
	}
	for name, n := range s.Nodes {
		m.NodeStates[name] = NodeState{
			State: string(n.State), Message: n.Message, Since: stamp(n.Since), Version: n.Version, Conditions: Conditions(n.Conditions),
		}
	}
	for name, l := range s.Links {
		m.Links[name] = Link{From: l.From, To: l.To, There: direction(l.There), Back: direction(l.Back), Reports: reports(l.Reports)}
	}
	for name, d := range s.Databases {
		m.Databases[name] = databaseOf(d)
	}
	for name, p := range s.Pairs {
		m.Pairs[name] = pairOf(p)
	}
}

func pairOf(v api.PairView) Pair {
	p := Pair{
		State: string(v.State), Since: stamp(v.Since), Leader: v.Leader, Synced: stamp(v.Synced), Propagation: types.Float64Null(),
		Conflicts: int64(v.Conflicts), ConflictPaths: append([]string{}, v.ConflictPaths...), Sides: map[string]PairSide{},
	}
	if v.Propagation > 0 {
		p.Propagation = types.Float64Value(v.Propagation)
	}
	p.StandsInFor, p.StandsInSince, p.LeadsNow = types.StringNull(), types.StringNull(), types.StringNull()
	if v.StandsInFor != "" {
		p.StandsInFor = types.StringValue(v.StandsInFor)
	}
	if !v.StandsIn.IsZero() {
		p.StandsInSince = types.StringValue(stamp(v.StandsIn))
	}
	if now := v.LeadsNow(); now != "" {
		p.LeadsNow = types.StringValue(now)
	}
	for node, side := range v.Sides {
		p.Sides[node] = pairSideOf(side)
	}
	return p
}

func pairSideOf(v api.PairSideView) PairSide {
	side := PairSide{Path: v.Path, State: string(v.State), Since: stamp(v.Since), Pending: int64(v.Pending), Problem: v.Problem}
	if v.Stale {
		return side
	}
	if a := v.After; a != nil {
		side.After = &PairAfter{State: string(a.State), Last: stamp(a.Last), Problem: a.Problem}
	}
	if l := v.Lately; l != nil {
		side.Lately = &PairPropagation{P50: l.P50, P99: l.P99, Max: l.Max, Canaries: int64(l.Canaries), Since: stamp(l.From)}
	}
	if c := v.Carried; c != nil {
		side.Carried = &PairCarried{Files: c.Files, Received: c.ReceivedBytes, Sent: c.SentBytes, Since: stamp(c.From)}
	}
	return side
}

func databaseOf(v api.DatabaseView) Database {
	d := Database{
		State: string(database.StateOf(v)), Primary: types.StringNull(), Since: stamp(v.Since), Votes: int64(v.Votes), Online: int64(v.Online),
		Incarnation: int64(min(v.Incarnation, 1<<62)), Members: map[string]DatabaseMember{}, Rollout: types.StringNull(),
	}
	if v.Primary != "" {
		d.Primary = types.StringValue(v.Primary)
	}
	if r := v.Rollout; r != nil {
		text := fmt.Sprintf("%d of %d members have the new settings", len(r.Done), len(r.Done)+len(r.Waiting))
		if r.Stopped != "" {
			text = "stopped: " + r.Stopped
		}
		d.Rollout = types.StringValue(text)
	}
	for node, one := range v.Members {
		d.Members[node] = DatabaseMember{
			Role: database.RoleOf(one), State: string(database.StateOfMember(one)), Since: stamp(one.Since), Lag: database.LagOf(one),
			Version: one.Version, Problem: one.Problem, Router: one.Router.Writer, Writable: one.Router.Writable && !one.Stale,
		}
	}
	return d
}

// Conditions returns the conditions as the data sources show them.
func Conditions(in []spec.Condition) []Condition {
	out := []Condition{}
	for _, c := range in {
		out = append(out, Condition{
			Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: stamp(c.Since),
		})
	}
	return out
}

func direction(d api.Direction) Direction {
	out := Direction{State: string(d.State), Via: d.Via, Since: stamp(d.Since), RTT: d.RTT, Loss: d.Loss}
	if m := d.Measured; m != nil {
		out.Measured = &Measured{Silent: m.Silent, Loss: m.Loss, RTT: types.Float64Null(), MTU: types.Int64Null()}
		if m.RTT > 0 {
			out.Measured.RTT = types.Float64Value(m.RTT)
		}
		if m.MTU > 0 {
			out.Measured.MTU = types.Int64Value(int64(m.MTU))
		}
	}
	return out
}

func reports(in []api.LinkReport) map[string]LinkReport {
	out := map[string]LinkReport{}
	for _, r := range in {
		one := LinkReport{Condition: string(r.Condition), Cause: types.StringNull(), Since: stamp(r.Since), Message: r.Message, Via: types.StringNull()}
		if r.Cause != "" {
			one.Cause = types.StringValue(string(r.Cause))
		}
		if s := r.Steering; s != nil && s.Away {
			one.Left = true
			if s.Via != "" {
				one.Via = types.StringValue(s.Via)
			}
		}
		out[r.Node] = one
	}
	return out
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
