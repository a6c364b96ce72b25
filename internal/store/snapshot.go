package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Snapshot is what a store held at one moment. It is shared: read it, never change it.
type Snapshot struct {
	ClusterName string
	// Cluster is nil until the cluster object has arrived.
	Cluster *spec.Cluster
	Nodes   map[string]spec.Node
	Links   map[string]spec.Link
	// LoadBalancers are by hostname, Maintenance by the name of the node that is out of service: of the one that is in the
	// cluster now, not of one that was removed since.
	LoadBalancers map[string]spec.LoadBalancer
	Maintenance   map[string]spec.Maintenance
	// Databases and Recoveries are by the database's name, DatabaseMembers by the member's.
	Databases       map[string]spec.Database
	DatabaseMembers map[string]spec.Member
	Recoveries      map[string]spec.Recovery
	// Pairs are by name.
	Pairs map[string]spec.Pair
	// Generations holds the newest generation of every object, tombstones included.
	Generations map[spec.Ref]uint64
	// Tombstones holds what is removed now. A node that was made again is not among them.
	Tombstones map[spec.Ref]Tombstone
	// Members are the admitted nodes, by name.
	Members map[string]trust.Member
	// Statuses are the members' newest reports.
	Statuses map[string]spec.Status
	// Received is when each status arrived, by this machine's clock.
	Received map[string]time.Time
	// Conflicts are what the operator must decide, sorted by reference.
	Conflicts []ConflictInfo
	// Damaged names the files that could not be used when the store was opened, with the reason; they are in quarantine, or
	// wait for the newer Atoll that wrote them.
	Damaged []string
}

// Tombstone tells of something that was removed.
type Tombstone struct {
	Generation uint64
	Signed     time.Time
}

// ConflictInfo is two signed truths that contradict each other.
type ConflictInfo struct {
	Ref     spec.Ref     `json:"ref"`
	Reason  trust.Reason `json:"reason"`
	Message string       `json:"message"`
	Since   time.Time    `json:"since"`
}

func (s *state) snapshot(cluster string, damaged []string) *Snapshot {
	out := &Snapshot{
		ClusterName: cluster,
		Nodes:       map[string]spec.Node{}, Links: map[string]spec.Link{},
		LoadBalancers: map[string]spec.LoadBalancer{}, Maintenance: map[string]spec.Maintenance{},
		Databases: map[string]spec.Database{}, DatabaseMembers: map[string]spec.Member{}, Recoveries: map[string]spec.Recovery{},
		Pairs:       map[string]spec.Pair{},
		Generations: map[spec.Ref]uint64{}, Tombstones: map[spec.Ref]Tombstone{},
		Members: map[string]trust.Member{}, Statuses: map[string]spec.Status{},
		Received: map[string]time.Time{},
		Damaged:  damaged,
	}
	for _, e := range s.entries {
		switch {
		case e.member != nil:
			out.Members[e.member.Node] = *e.member
		case e.status != nil:
			out.Statuses[e.status.Node] = *e.status
			out.Received[e.status.Node] = e.received
		default:
			out.addObject(s, e)
		}
	}
	for node := range s.candidates {
		for _, c := range s.rivals(node) {
			out.Conflicts = append(out.Conflicts, s.identityConflict(c))
		}
	}
	slices.SortFunc(out.Conflicts, func(a, b ConflictInfo) int {
		if c := strings.Compare(a.Ref.String(), b.Ref.String()); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	return out
}

func (out *Snapshot) addObject(s *state, e *entry) {
	ref := e.object.Ref()
	if !e.conflict.IsZero() {
		out.Conflicts = append(out.Conflicts, ConflictInfo{
			Ref: ref, Reason: ReasonTwoContents, Since: e.conflict,
			Message: fmt.Sprintf("%s was changed by two runs at once (generation %d); apply again to sign a higher generation", ref, e.version.Generation),
		})
	}
	if e.object.Deleted {
		if ref.Kind == spec.KindNode && s.entries[ObjectKey(ref)] != nil {
			return
		}
		out.Generations[ref] = e.version.Generation
		out.Tombstones[ref] = Tombstone{Generation: e.version.Generation, Signed: time.UnixMilli(int64(min(e.object.Signed, 1<<62))).UTC()}
		return
	}
	out.Generations[ref] = e.version.Generation
	switch body := e.body.(type) {
	case spec.Cluster:
		out.Cluster = &body
	case spec.Node:
		out.Nodes[ref.Name] = body
	case spec.Link:
		out.Links[ref.Name] = body
	case spec.LoadBalancer:
		out.LoadBalancers[ref.Name] = body
	case spec.Maintenance:
		if tomb := s.entries[TombstoneKey(ref.Name)]; tomb == nil || tomb.version.Generation < e.version.Generation {
			out.Maintenance[ref.Name] = body
		}
	case spec.Database:
		out.Databases[ref.Name] = body
	case spec.Member:
		out.DatabaseMembers[ref.Name] = body
	case spec.Recovery:
		out.Recoveries[ref.Name] = body
	case spec.Pair:
		out.Pairs[ref.Name] = body
	}
}

// ReasonTwoContents is the reason of a conflict between two objects of one generation.
const ReasonTwoContents trust.Reason = "TwoContents"

func (s *state) identityConflict(c candidate) ConflictInfo {
	node := c.member.Node
	holder := s.pin(node)
	if m := s.member(node); m != nil {
		holder = m.Identity.String()
	}
	return ConflictInfo{
		Ref: spec.Ref{Kind: spec.KindNode, Name: node}, Reason: trust.ReasonSecondIdentity, Since: c.arrived,
		Message: fmt.Sprintf("identity %s wants to join as node %q, which is %s; pin the right one in the node's object, or find out who has its ticket",
			c.member.Identity, node, holder),
	}
}
