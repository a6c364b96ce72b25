package store

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Options are a store's surroundings; the zero value is ready for use.
type Options struct {
	// Now is the clock that tickets are judged by; nil is the machine's.
	Now func() time.Time
	// Log hears of refusals and conflicts; nil is silent.
	Log *slog.Logger
	// ReadOnly opens a store that a running agent uses, to look at it. Nothing on disk is changed, damaged files are only
	// reported, and Merge refuses everything.
	ReadOnly bool
}

// Store is the replicated state on one node. Safe for concurrent use.
type Store struct {
	root     trust.Root
	now      func() time.Time
	log      *slog.Logger
	readOnly bool
	disk     disk
	damaged  []string

	merging sync.Mutex
	view    atomic.Pointer[view]

	waiting sync.Mutex
	changed chan struct{}
}

// disk keeps entries. Save makes the change durable before it returns; what it saved before an error may stay.
type disk interface {
	save(changed []*entry, removed []Key) error
	// note keeps the candidates, in place of those that it kept before.
	note(candidates map[string][]candidate) error
	close() error
}

// view is a state with what is made of it when first asked for: the snapshot, and its entries by what is signed, which
// saves the verification of records that come again.
type view struct {
	state    *state
	snapshot func() *Snapshot
	held     func() map[string]*entry
}

// New returns an empty store in memory, which keeps nothing.
func New(root trust.Root, o Options) *Store {
	s := &Store{
		root: root, now: o.Now, log: o.Log, readOnly: o.ReadOnly, disk: noDisk{}, changed: make(chan struct{}),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.show(newState())
	return s
}

// Close lets another process open the store. The store must not be used any more.
func (s *Store) Close() error { return s.disk.close() }

// Root returns what the store judges records by.
func (s *Store) Root() trust.Root { return s.root }

// Snapshot returns what the store holds now.
func (s *Store) Snapshot() *Snapshot { return s.view.Load().snapshot() }

// Changed returns a channel that is closed at the next change. Take it before the Snapshot that is acted on, and no change
// is missed.
func (s *Store) Changed() <-chan struct{} {
	s.waiting.Lock()
	defer s.waiting.Unlock()
	return s.changed
}

// Records returns every record, each after those that it depends on.
func (s *Store) Records() []Record {
	entries := s.view.Load().state.entries
	all := make([]*entry, 0, len(entries))
	for _, e := range entries {
		all = append(all, e)
	}
	return records(all)
}

// Digest returns the version of every record.
func (s *Store) Digest() Digest { return s.view.Load().state.digest() }

// Newer compares this store with another's digest: the records that the other lacks or has older, and the keys of those
// that this store lacks or has older. Proofs that differ go both ways, since neither is newer where two identities want
// one name.
func (s *Store) Newer(d Digest) (newer []Record, wanted []Key) {
	entries := s.view.Load().state.entries
	var send []*entry
	for k, e := range entries {
		other, has := d[k]
		if !has || e.version.Newer(other) || (e.member != nil && e.version != other) {
			send = append(send, e)
		}
	}
	for k, other := range d {
		mine := entries[k]
		if mine == nil {
			if k.known() && !superseded(entries, k, other) {
				wanted = append(wanted, k)
			}
			continue
		}
		if other.Newer(mine.version) || (mine.member != nil && mine.version != other) {
			wanted = append(wanted, k)
		}
	}
	slices.Sort(wanted)
	return records(send), wanted
}

// Get returns the records of the given keys as far as the store has them.
func (s *Store) Get(keys []Key) []Record {
	entries := s.view.Load().state.entries
	var found []*entry
	for _, k := range keys {
		if e := entries[k]; e != nil {
			found = append(found, e)
		}
	}
	return records(found)
}

// Admit offers the proof of a caller whose certificate carried it, and returns nil when its identity is admitted, else a
// trust.Refusal that says why not.
func (s *Store) Admit(m trust.Member) error {
	admitted := func() bool {
		now := s.view.Load().state.member(m.Node)
		return now != nil && now.Identity == m.Identity
	}
	if admitted() {
		return nil
	}
	out := s.Merge([]Record{ProofRecord(m.Proof)})[0]
	if out.Result == Refused {
		return &trust.Refusal{Reason: out.Reason, Subject: fmt.Sprintf("admission of node %q", m.Node), Message: out.Message}
	}
	return nil
}

// Local returns the versions of the records that came by Merge and not from another agent: those that it is on this node
// to spread.
func (s *Store) Local() Digest {
	d := Digest{}
	for k, e := range s.view.Load().state.entries {
		if e.local {
			d[k] = e.version
		}
	}
	return d
}

// Merge takes the records that are valid and newer than what the store has, and tells what became of each, in the order
// given. Whatever is reported as Accepted is on disk.
func (s *Store) Merge(recs []Record) []Outcome { return s.merge(recs, own) }

// Offer is Merge for records that somebody brings who can be told that they came too late: an object whose generation is
// here with other content is not taken, and its outcome is Conflict. Of two runs that sign in the same millisecond the one
// that comes second has changed nothing then. What two runs have brought to two nodes meets in a Merge, which has to
// decide.
func (s *Store) Offer(recs []Record) []Outcome { return s.merge(recs, offered) }

// MergeRemote is Merge for records that another agent sent, which spreads them itself.
func (s *Store) MergeRemote(recs []Record) []Outcome { return s.merge(recs, remote) }

// origin is where records of a merge come from.
type origin int

const (
	own origin = iota
	offered
	remote
)

func (s *Store) merge(recs []Record, from origin) []Outcome {
	out := make([]Outcome, len(recs))
	if s.readOnly {
		for i := range out {
			out[i] = Outcome{Result: Refused, Reason: trust.ReasonStorage, Message: "the store is open for reading only"}
		}
		return out
	}
	var items []*entry
	index := make(map[*entry]int, len(recs))
	held := s.view.Load().held()
	for i, r := range recs {
		if e := held[r.payload()]; e != nil && e.record.equal(r) {
			out[i] = outcome(e.key, Unchanged, "held already")
			continue
		}
		e, err := read(s.root, r)
		if err != nil {
			out[i] = refused("", err)
			s.log.Debug("record refused", "reason", out[i].Reason, "message", out[i].Message)
			continue
		}
		e.local = from != remote
		items = append(items, e)
		index[e] = i
	}
	s.merging.Lock()
	defer s.merging.Unlock()
	before := s.view.Load().state
	next, now := before.clone(), s.now()
	for _, e := range ordered(items) {
		if from == offered && next.contradicts(e) {
			out[index[e]] = tooLate(e)
			continue
		}
		out[index[e]] = next.apply(s.root, e, now, false)
	}
	if err := s.commit(before, next); err != nil {
		s.log.Error("the store cannot be written", "error", err)
		for _, e := range items {
			if from != offered || !before.contradicts(e) {
				out[index[e]] = s.unsaved(before, e, now, err)
			}
		}
		return out
	}
	s.report(out)
	return out
}

// unsaved returns what became of e after the merge that it was part of could not be written. What was judged beside the
// other records of the merge does not hold without them: e may be older than one that is not there now. So it is judged
// anew against what there was before.
func (s *Store) unsaved(before *state, e *entry, now time.Time, cause error) Outcome {
	o := before.clone().apply(s.root, e, now, false)
	if o.Result == Accepted || o.Result == Conflict {
		return Outcome{Key: e.key, Result: Refused, Reason: trust.ReasonStorage, Message: cause.Error()}
	}
	return o
}

// apply gives e to the register that it belongs to.
func (s *state) apply(root trust.Root, e *entry, now time.Time, trusted bool) Outcome {
	switch e.class() {
	case 0:
		return s.applyObject(e, now)
	case 1:
		return s.applyProof(e, now, trusted)
	default:
		return s.applyStatus(root, e, now)
	}
}

// commit makes next durable, then visible.
//
// When it fails, a part of the change may be on disk, and memory stays behind it. That is harmless. Every file holds a
// signed record that is valid by itself, so a restart merges whatever is there by the same rules as ever: what was answered
// as refused may turn out to be taken, as if it had been sent again. What was acknowledged before is not lost, because a file
// is only replaced by one that wins over it, and only removed once what supersedes it is on disk. What is acknowledged
// later either replaces the file of the failed change or loses to it after the restart, as it would have lost had the failed
// change come from another node.
func (s *Store) commit(before, next *state) error {
	var changed []*entry
	var removed []Key
	for k, e := range next.entries {
		if before.entries[k] != e {
			changed = append(changed, e)
		}
	}
	for k := range before.entries {
		if next.entries[k] == nil {
			removed = append(removed, k)
		}
	}
	if len(changed) == 0 && len(removed) == 0 && !next.noted {
		return nil
	}
	if len(changed) > 0 || len(removed) > 0 {
		if err := s.disk.save(ordered(changed), removed); err != nil {
			return err
		}
	}
	if next.noted {
		// Nothing that was acknowledged hangs on it.
		if err := s.disk.note(next.candidates); err != nil {
			s.log.Warn("second identities are not remembered across a restart", "error", err)
		}
	}
	next.noted = false
	s.show(next)
	s.waiting.Lock()
	defer s.waiting.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

func (s *Store) show(next *state) {
	s.view.Store(&view{
		state:    next,
		snapshot: sync.OnceValue(func() *Snapshot { return next.snapshot(s.root.Cluster, s.damaged) }),
		held:     sync.OnceValue(next.held),
	})
}

func (s *Store) report(out []Outcome) {
	for _, o := range out {
		switch o.Result {
		case Conflict:
			s.log.Warn("conflict", "key", o.Key, "message", o.Message)
		case Refused:
			s.log.Debug("record refused", "key", o.Key, "reason", o.Reason, "message", o.Message)
		case Accepted, Unchanged, Older:
		}
	}
}

// superseded tells whether a key that the other store has is one that this store has given up for good: a node object
// below its tombstone.
func superseded(entries map[Key]*entry, k Key, other Version) bool {
	name, ok := cutNode(k)
	if !ok {
		return false
	}
	tomb := entries[TombstoneKey(name)]
	return tomb != nil && !other.Newer(tomb.version)
}

func records(entries []*entry) []Record {
	out := make([]Record, len(entries))
	for i, e := range ordered(entries) {
		out[i] = e.record
	}
	return out
}

type noDisk struct{}

func (noDisk) save([]*entry, []Key) error        { return nil }
func (noDisk) note(map[string][]candidate) error { return nil }
func (noDisk) close() error                      { return nil }
