package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// state is everything that a store knows. A merge works on a copy, which nobody sees before it is on disk.
type state struct {
	entries map[Key]*entry
	// candidates are valid proofs that are not admitted, by node. They are remembered because the operator may pin one of
	// them, and because a second identity is a fact to report. They are on disk as notes: a rival that has knocked and gone
	// silent must not be forgotten because this agent was updated.
	candidates map[string][]candidate
	// noted is set when something besides entries changed that a snapshot shows.
	noted bool
}

func newState() *state {
	return &state{entries: map[Key]*entry{}, candidates: map[string][]candidate{}}
}

func (s *state) clone() *state {
	return &state{entries: maps.Clone(s.entries), candidates: maps.Clone(s.candidates)}
}

// applyObject puts an object into its register.
func (s *state) applyObject(e *entry, now time.Time) Outcome {
	o, isNode := e.object, e.object.Kind == spec.KindNode
	result := s.register(e, now)
	if !isNode {
		return result
	}
	live, tomb := s.entries[ObjectKey(o.Ref())], s.entries[TombstoneKey(o.Name)]
	if live != nil && tomb != nil {
		result = s.faceTombstone(live, tomb, e, result, now)
	}
	if result.Result == Accepted || result.Result == Conflict || e == tomb {
		s.admit(o.Name, now)
	}
	return result
}

// register lets e win or lose against what its key holds.
func (s *state) register(e *entry, now time.Time) Outcome {
	old := s.entries[e.key]
	switch {
	case old == nil || e.version.Generation > old.version.Generation:
		s.entries[e.key] = e
		return outcome(e.key, Accepted, "generation %d", e.version.Generation)
	case e.version == old.version:
		return outcome(e.key, Unchanged, "generation %d", e.version.Generation)
	case e.version.Generation < old.version.Generation:
		return outcome(e.key, Older, "generation %d is superseded by generation %d, signed %s: another run changed it; refresh and apply again",
			e.version.Generation, old.version.Generation, when(old.object.Signed))
	}
	winner := old
	if e.version.Newer(old.version) {
		winner = e
	}
	s.entries[e.key] = marked(winner, old, now)
	return conflict(e.key, e.version.Generation)
}

// faceTombstone decides between a node and its tombstone, of which e is the one that came last. The tombstone is kept
// either way.
func (s *state) faceTombstone(live, tomb, e *entry, result Outcome, now time.Time) Outcome {
	ref := e.object.Ref()
	tie := live.version.Generation == tomb.version.Generation
	if tie && result.Result == Accepted {
		result = conflict(e.key, e.version.Generation)
	}
	if live.version.Newer(tomb.version) {
		if tie {
			s.entries[live.key] = marked(live, live, now)
		}
		if e == tomb && !tie {
			return outcome(e.key, Older, "%s was made again as generation %d", ref, live.version.Generation)
		}
		return result
	}
	delete(s.entries, live.key)
	if tie {
		s.entries[tomb.key] = marked(tomb, tomb, now)
	}
	if e == live && !tie {
		return outcome(e.key, Older, "%s was removed by the operator at %s (generation %d); to make it again, sign a higher generation",
			ref, when(tomb.object.Signed), tomb.version.Generation)
	}
	return result
}

// applyStatus takes a member's status when it is the newest.
func (s *state) applyStatus(root trust.Root, e *entry, now time.Time) Outcome {
	member := s.member(e.status.Node)
	if member == nil {
		return refused(e.key, &trust.Refusal{
			Reason: trust.ReasonUnknownMember, Subject: fmt.Sprintf("status of node %q", e.status.Node),
			Message: "the node is not admitted here; it counts once its proof is",
		})
	}
	full, err := readStatus(root, e, member.Identity)
	if err != nil {
		return refused(e.key, err)
	}
	full.received, full.local = e.received, e.local
	if full.received.IsZero() {
		full.received = now
	}
	old := s.entries[e.key]
	switch {
	case old == nil || full.version.Newer(old.version):
		s.entries[e.key] = full
		return outcome(e.key, Accepted, "report %d", full.version.Generation)
	case full.version == old.version:
		return outcome(e.key, Unchanged, "report %d", full.version.Generation)
	default:
		return outcome(e.key, Older, "report %d is superseded by report %d", full.version.Generation, old.version.Generation)
	}
}

// member returns who is admitted under the name, nil when nobody is.
func (s *state) member(node string) *trust.Member {
	if e := s.entries[ProofKey(node)]; e != nil {
		return e.member
	}
	return nil
}

// held returns the entries by what is signed in them.
func (s *state) held() map[string]*entry {
	out := make(map[string]*entry, len(s.entries))
	for _, e := range s.entries {
		out[e.record.payload()] = e
	}
	return out
}

// digest returns the version of every entry.
func (s *state) digest() Digest {
	d := make(Digest, len(s.entries))
	for k, e := range s.entries {
		d[k] = e.version
	}
	return d
}

// ordered returns the entries so that each comes after what it depends on.
func ordered(entries []*entry) []*entry {
	slices.SortFunc(entries, func(a, b *entry) int {
		if c := a.class() - b.class(); c != 0 {
			return c
		}
		if a.key < b.key {
			return -1
		}
		return 1
	})
	return entries
}

// contradicts tells whether e is an object whose generation is here already, as the newest, and says something else.
func (s *state) contradicts(e *entry) bool {
	if e.class() != 0 {
		return false
	}
	keys := []Key{e.key}
	if e.object.Kind == spec.KindNode {
		keys = []Key{ObjectKey(e.object.Ref()), TombstoneKey(e.object.Name)}
	}
	other := false
	for _, k := range keys {
		held := s.entries[k]
		switch {
		case held == nil:
		case held.version.Generation > e.version.Generation:
			return false
		case held.version.Generation == e.version.Generation:
			other = other || held.version != e.version
		}
	}
	return other
}

// tooLate is the outcome of an offered object that contradicts what is here.
func tooLate(e *entry) Outcome {
	return outcome(e.key, Conflict, "generation %d is here with other content, which stays: another run was faster; apply again, which signs a higher generation", e.version.Generation)
}

func conflict(k Key, generation uint64) Outcome {
	return outcome(k, Conflict, "generation %d exists with other content: two runs changed it at once; apply again, which signs a higher generation", generation)
}

// marked returns winner as one that has seen a conflict, since when loser did if it had already.
func marked(winner, loser *entry, now time.Time) *entry {
	if !winner.conflict.IsZero() {
		return winner
	}
	m := *winner
	m.conflict = loser.conflict
	if m.conflict.IsZero() {
		m.conflict = now.UTC()
	}
	return &m
}

func when(ms uint64) string {
	const lastMillisecond = 253402300799999 // the end of the year 9999
	return time.UnixMilli(int64(min(ms, lastMillisecond))).UTC().Format(time.RFC3339)
}
