package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// How the keys of a mesh are replaced. The operator raises the cluster's key generation. Node by node, in the order of their names, each
// makes its next key, says so in its reports, changes to it when every other node that is there has taken it over, and says then that the
// old one is over. Everything is in the drivers' files, in the keyring and in the reports, so whoever dies goes on where it was.
//
// A node that is away is not waited for. It comes back under its own key, which nobody has given up; what the others' keys are it
// learns from those that it still reaches over the mesh, and where it reaches none by the agents' public API.

const (
	// awayAfter is how long a peer must not have been heard before a rotation goes on without it.
	awayAfter = 30 * time.Second
	// oldKeyLasts is how long the old key is believed after the change, when everybody is there again, and oldKeyMost when not.
	oldKeyLasts = 5 * time.Second
	oldKeyMost  = 2 * time.Minute
)

// ownView returns the node's view with its own keys as they are, which reports tell later than the driver, and takes the next step of
// a rotation, if one is due.
func (s *session) ownView(ctx context.Context, driver mesh.Driver, in input) (*topology.View, error) {
	r, able := driver.(mesh.Rotator)
	if !able {
		return in.view, nil
	}
	ring := s.keyring
	if ring == nil {
		ring = openKeyring(s.a.state, s.log) // a plan looks only
	}
	current, prepared, err := r.Keys(ctx)
	if err != nil {
		return in.view, nil //nolint:nilerr // Apply says it
	}
	entry, known := ring.entry(current)
	if !known {
		if entry, known = s.recallKey(in, current); !known {
			return in.view, nil
		}
	}
	view := *in.view
	if host.Recording(s.a.cfg.System) {
		view.Self.MeshKey, view.Self.KeyNumber, view.Self.OtherKey = current, entry.Number, nil
		return &view, nil
	}
	ro := rotation{s: s, r: r, in: in, key: current, entry: entry, prepared: prepared}
	err = ro.advance(ctx)
	view.Self.MeshKey, view.Self.KeyNumber, view.Self.OtherKey = ro.key, ro.entry.Number, nil
	if told := s.tellKeys(ro.status()); err == nil {
		err = told
	}
	if err != nil {
		err = fmt.Errorf("replace the mesh key: %w", err)
	}
	return &view, err
}

// recallKey finds out what key this is that the keyring does not know: the one that the node joined with, or one that it has told of.
func (s *session) recallKey(in input, public string) (keyEntry, bool) {
	member := in.snapshot.Members[s.m.record.Node]
	last := s.keyring.told()
	if last == nil || last.Driver != in.view.Mesh.Driver {
		last = saidKeys(in.snapshot, s.m.record.Node)
	}
	switch {
	case last != nil && last.Public == public:
		return keyEntry{Number: last.Number, Made: last.Made, Generation: last.Generation}, true
	case last != nil && last.Other != nil && last.Other.Public == public:
		return keyEntry{Number: last.Other.Number, Made: s.a.cfg.Now().UTC().Truncate(time.Millisecond), Generation: last.Generation}, true
	case public == member.MeshKeys[in.view.Mesh.Driver]:
		e := keyEntry{Made: member.Claim.Made}
		// A key that is younger than the operator's last word is as new as that asks for.
		signed := in.snapshot.Generations[spec.Ref{Kind: spec.KindCluster, Name: in.snapshot.ClusterName}]
		if generation := in.view.Mesh.Generation(); generation == 1 || uint64(max(0, e.Made.UnixMilli())) > signed {
			e.Generation = generation
		}
		return e, true
	default:
		return keyEntry{}, false
	}
}

// tellKeys makes reports say what the node's keys are, at once when it is news.
func (s *session) tellKeys(st *spec.MeshKeyStatus) error {
	news, err := s.keyring.tell(st)
	if news {
		s.urgent.Store(true)
		poke(s.poked)
	}
	return err
}

// rotation is one look at this node's keys.
type rotation struct {
	s  *session
	r  mesh.Rotator
	in input
	// key is in use, entry is what is known of it. Prepared is to follow, "" for none.
	key      string
	entry    keyEntry
	prepared string
	next     keyEntry
	waits    string
}

// status returns what the node says of its keys.
func (r *rotation) status() *spec.MeshKeyStatus {
	st := &spec.MeshKeyStatus{
		Driver: r.in.view.Mesh.Driver, Number: r.entry.Number, Made: r.entry.Made, Generation: r.entry.Generation,
		Waits: r.waits, Takes: r.s.keyring.taken(),
	}
	if r.entry.Number > 0 {
		st.Public = r.key
	}
	switch {
	case r.prepared != "" && r.next.Number > 0:
		st.Other = &spec.MeshKey{Number: r.next.Number, Public: r.prepared}
	case r.entry.Previous != nil:
		st.Other = r.entry.Previous
	}
	return st
}

// advance takes the next step. It never waits: what it waits for makes the steps run again.
func (r *rotation) advance(ctx context.Context) error {
	ring := r.s.keyring
	if err := r.forget(); err != nil {
		return err
	}
	if err := ring.note(r.key, r.entry, r.prepared); err != nil {
		return err
	}
	if r.prepared == "" && r.entry.Generation >= r.in.view.Mesh.Generation() {
		return nil
	}
	if r.prepared == "" {
		if r.waits = r.turn(); r.waits != "" {
			return nil
		}
		var err error
		if r.prepared, err = r.r.PrepareKey(ctx); err != nil {
			return err
		}
	}
	var known bool
	if r.next, known = ring.entry(r.prepared); !known || r.next.Number <= r.entry.Number {
		now := r.s.a.cfg.Now().UTC().Truncate(time.Millisecond)
		r.next = keyEntry{Number: max(r.entry.Number, r.announced()) + 1, Made: now, Generation: r.in.view.Mesh.Generation()}
		if err := ring.note(r.prepared, r.next, r.key); err != nil {
			return err
		}
		r.s.log.Info("a new mesh key is made; the node changes to it when the others know it", "key", r.next.Number)
	}
	if r.waits = r.missing(); r.waits != "" {
		return nil
	}
	return r.change(ctx)
}

// announced returns the number of the newest key that the node has told of.
func (r *rotation) announced() int {
	return max(saidKeys(r.in.snapshot, r.s.m.record.Node).Newest(), r.s.keyring.told().Newest())
}

// change makes the prepared key the node's. What it was before is written down first: only then may it be lost.
func (r *rotation) change(ctx context.Context) error {
	next := r.next
	next.Previous, next.Switched = &spec.MeshKey{Number: r.entry.Number, Public: r.key}, r.s.a.cfg.Now().UTC().Truncate(time.Millisecond)
	if err := r.s.keyring.note(r.prepared, next, r.key); err != nil {
		return err
	}
	if err := r.s.a.checkpoint(stepKeyChange); err != nil {
		return err
	}
	if err := r.r.SwitchKey(ctx, r.prepared); err != nil {
		return err
	}
	r.s.log.Info("the node changes to its new mesh key", "key", next.Number, "before", r.entry.Number)
	r.key, r.entry, r.prepared = r.prepared, next, ""
	r.lookAgain(oldKeyLasts)
	return r.s.a.checkpoint(stepKeyChanged)
}

// lookAgain has the steps run in a while, though nothing else may have happened by then.
func (r *rotation) lookAgain(in time.Duration) {
	time.AfterFunc(in, func() { poke(r.s.reorder) })
}

// forget ends the time in which the key before is believed.
func (r *rotation) forget() error {
	if r.entry.Previous == nil {
		return nil
	}
	age := r.s.a.cfg.Now().Sub(r.entry.Switched)
	_, peers, _ := r.s.keeper.snapshot()
	back := true
	for _, p := range r.in.view.Peers {
		back = back && (peers[p.Name].Reachable || r.away(p.Name))
	}
	if alone := len(r.in.view.Peers) == 0; !alone && age >= 0 && (age < oldKeyLasts || !back && age < oldKeyMost) {
		r.waits = "the other nodes to be back under the new key"
		r.lookAgain(oldKeyLasts - min(age, oldKeyLasts-time.Second))
		return nil
	}
	r.s.log.Info("the mesh key before is over", "key", r.entry.Previous.Number)
	r.entry.Previous = nil
	return nil
}

// away tells whether a peer has been silent for so long that nothing waits for it.
func (r *rotation) away(name string) bool {
	_, peers, _ := r.s.keeper.snapshot()
	p, known := peers[name]
	if !known || p.Reachable || p.Alive {
		return false
	}
	now := r.s.a.cfg.Now()
	return now.Sub(p.Since) >= awayAfter && now.Sub(p.AliveSince) >= awayAfter
}

// turn returns whom this node lets go first, "" for nobody. Two at once would do no harm, since every key is believed beside its
// successor; but what a change interrupts for a moment is interrupted at one node at a time.
func (r *rotation) turn() string {
	var first []string
	for _, p := range r.in.view.Peers {
		st := saidKeys(r.in.snapshot, p.Name)
		if r.away(p.Name) || st == nil {
			continue
		}
		if st.Rotating() || p.Name < r.s.m.record.Node && st.Generation < r.in.view.Mesh.Generation() {
			first = append(first, p.Name)
		}
	}
	if len(first) == 0 {
		return ""
	}
	return "its turn, after " + strings.Join(first, ", ")
}

// missing returns who has not taken the prepared key over yet, "" for nobody.
func (r *rotation) missing() string {
	var missing []string
	there := 0
	for _, p := range r.in.view.Peers {
		if r.away(p.Name) {
			continue
		}
		there++
		if st := saidKeys(r.in.snapshot, p.Name); st == nil || st.Takes[r.s.m.record.Node] < r.next.Number {
			missing = append(missing, p.Name)
		}
	}
	switch {
	case len(missing) > 0:
		return "node " + strings.Join(missing, ", ") + " to take the new key over"
	case there == 0 && len(r.in.view.Peers) > 0:
		return "some other node to be reached"
	default:
		return ""
	}
}
