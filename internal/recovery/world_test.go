package recovery_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// world is a database whose members lose power, hear of each other late or not at all, and act by Decide. Its engine is a
// model of a group that goes on with a majority.
type world struct {
	t        *rapid.T
	nodes    []string
	members  map[string]*member
	lives    []*life
	acked    []int
	writes   int
	recovery *spec.Recovery
	epoch    int
	// begun holds who began each incarnation.
	begun map[uint64]string
	// thinned tells that a member was replaced while another one had not the data yet.
	thinned bool
}

type member struct {
	name string
	// On the disk.
	journal  recovery.Journal
	data     []int
	fresh    bool
	sequence uint64
	// In memory.
	up       bool
	ids      int
	id       string
	proposal *spec.RecoveryProposal
	life     *life
	// copying tells that the member is in its life without having the data yet. It counts, and queue is what it has been told of since.
	copying bool
	queue   []int
	// told are the reports, the newest last; sees is the number of the newest that this member has of each other one, and
	// heard whether it came lately.
	told  []recovery.Report
	sees  map[string]int
	heard map[string]bool
}

// life is a group: the members that it counts, and those of them that run.
type life struct {
	incarnation uint64
	leader      string
	view        []string
}

func newWorld(t *rapid.T, n int) *world {
	w := &world{t: t, members: map[string]*member{}, begun: map[uint64]string{}, epoch: 1}
	for i := range n {
		name := string(rune('a' + i))
		w.nodes = append(w.nodes, name)
		w.members[name] = &member{name: name, fresh: true, journal: recovery.Journal{Group: "g"}, sees: map[string]int{}, heard: map[string]bool{}}
	}
	return w
}

func (w *world) running(l *life) []string {
	return slices.DeleteFunc(slices.Clone(l.view), func(n string) bool { return w.members[n].life != l })
}

// online returns the members of a life that run and have the data.
func (w *world) online(l *life) []string {
	return slices.DeleteFunc(w.running(l), func(n string) bool { return w.members[n].copying })
}

// quorate tells whether a life has a majority.
func (w *world) quorate(l *life) bool { return 2*len(w.running(l)) > len(l.view) }

// alive returns the lives that take writes.
func (w *world) alive() []*life {
	return slices.DeleteFunc(slices.Clone(w.lives), func(l *life) bool { return !w.quorate(l) || len(w.online(l)) == 0 })
}

// settle lets every life with a majority drop its dead, and agree on what it has.
func (w *world) settle() {
	for _, l := range w.lives {
		if !w.quorate(l) {
			continue
		}
		l.view = w.running(l)
		all := w.union(l.view)
		for _, n := range w.online(l) {
			w.members[n].data = all
		}
	}
	if n := len(w.alive()); n > 1 {
		w.t.Fatalf("%d groups take writes", n)
	}
}

func (w *world) union(nodes []string) []int {
	var all []int
	for _, n := range nodes {
		all = append(append(all, w.members[n].data...), w.members[n].queue...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (w *world) start(m *member) {
	if m.up {
		return
	}
	m.up, m.life, m.proposal = true, nil, nil
	m.heard = map[string]bool{}
	w.renew(m)
	for _, n := range w.nodes {
		// What was on the disk may be older than what was seen.
		m.sees[n] = rapid.IntRange(0, m.sees[n]).Draw(w.t, "kept")
	}
}

func (w *world) kill(m *member) {
	m.up, m.proposal, m.id = false, nil, ""
	m.out()
	w.settle()
}

// out takes a member out of its life. What it was told of there is forgotten if it has not the data that came before.
func (m *member) out() { m.life, m.copying, m.queue = nil, false, nil }

// copied ends a member's copy, if there is somebody to copy from; else the member drops out.
func (w *world) copied(m *member) {
	switch {
	case !m.copying || !w.quorate(m.life):
	case len(w.online(m.life)) == 0:
		m.out()
		w.renew(m)
		w.settle()
	default:
		m.data, m.fresh, m.copying, m.queue = w.union(w.running(m.life)), false, false, nil
		w.settle()
	}
}

func (*world) renew(m *member) {
	m.ids++
	m.id, m.proposal = m.name+strconv.Itoa(m.ids), nil
}

// wipe takes the data from a member, and leaves it its journal.
func (w *world) wipe(m *member) {
	w.kill(m)
	m.data, m.fresh = nil, true
}

// remake puts an empty machine in the place of a member, while all others are in the group.
func (w *world) remake(m *member) {
	alive := w.alive()
	if len(alive) != 1 || m.life != nil || len(w.running(alive[0])) != len(w.nodes)-1 {
		return
	}
	w.thinned = w.thinned || len(w.online(alive[0])) != len(w.nodes)-1
	w.settle()
	sequence := m.sequence
	*m = member{
		name: m.name, fresh: true, journal: recovery.Journal{Group: "g"}, sequence: sequence, ids: m.ids, told: m.told,
		sees: map[string]int{}, heard: map[string]bool{},
	}
	w.start(m)
}

// write acknowledges a write that a majority of a life has.
func (w *world) write() {
	for _, l := range w.alive() {
		w.settle()
		// Whoever takes the write has it on its disk, and so a majority has it.
		primary := w.online(l)[0]
		others := slices.DeleteFunc(w.running(l), func(n string) bool { return n == primary })
		others = rapid.Permutation(others).Draw(w.t, "who gets it")
		one := w.next(w.union(l.view))
		for _, n := range append([]string{primary}, others[:len(l.view)/2]...) {
			m := w.members[n]
			if m.copying {
				m.queue = append(slices.Clone(m.queue), one)
				continue
			}
			m.data, m.fresh = append(slices.Clone(m.data), one), false
		}
		w.acked = append(w.acked, one)
	}
}

// next returns another write, whose number follows those that are there, as engines have it: in a life that began with less than
// there was, others have had that number before.
func (w *world) next(have []int) int {
	w.writes++
	last := 0
	for _, n := range have {
		last = max(last, n%most)
	}
	return w.writes*most + last + 1
}

// most is above the number of any write. A write is its number, which engines compare, and what is in it, which they do not see.
const most = 100_000

// seen returns what an engine sees of writes.
func seen(data []int) []int {
	out := make([]int, len(data))
	for i, n := range data {
		out[i] = n % most
	}
	return out
}

func (w *world) own(m *member) recovery.Own {
	o := recovery.Own{State: spec.MemberStranded, Fresh: m.fresh, ID: m.id, Proposal: m.proposal}
	if m.life == nil {
		o.Position = position(m.data)
		return o
	}
	o.ID, o.Proposal, o.Fresh = "", nil, m.copying
	o.State, o.View = spec.MemberBlocked, map[string]spec.MemberState{}
	for _, n := range m.life.view {
		switch other := w.members[n]; {
		case other.life != m.life:
			o.View[n] = spec.MemberDown
		case other.copying:
			o.View[n] = spec.MemberRecovering
		default:
			o.View[n] = spec.MemberOnline
		}
	}
	if w.quorate(m.life) {
		o.State = o.View[m.name]
	}
	return o
}

// tell makes a report of a member.
func (w *world) tell(m *member) {
	own := w.own(m)
	m.sequence++
	r := recovery.Report{Sequence: m.sequence}
	r.State, r.View, r.Incarnation = own.State, own.View, m.journal.Incarnation
	if own.State == spec.MemberOnline {
		r.Primary = w.online(m.life)[0]
	}
	if m.life == nil {
		if m.fresh {
			r.State = spec.MemberPreparing
		}
		r.Position = own.Position
		r.Outage = &spec.OutageStatus{ID: m.id, Base: m.journal.Base, Proposal: m.proposal, Promise: m.journal.Promise}
	}
	m.told = append(m.told, r)
}

// deliver lets a member hear another one: its newest report, or one that is late.
func (w *world) deliver(to, from *member, newest bool) {
	if !to.up || to == from || len(from.told) == 0 {
		return
	}
	last := len(from.told)
	n := last
	if !newest {
		n = rapid.IntRange(min(to.sees[from.name]+1, last), last).Draw(w.t, "report")
	}
	// A report counts as heard when it is news.
	if n > to.sees[from.name] {
		to.sees[from.name], to.heard[from.name] = n, true
	}
}

func (w *world) evidence(m *member) recovery.Evidence {
	e := recovery.Evidence{
		Database: "app", Self: m.name, Votes: len(w.nodes), Bootstrap: spec.Bootstrap{Node: "a", Epoch: w.epoch}, Recovery: w.recovery,
		Journal: m.journal, Own: w.own(m), Heard: map[string]recovery.Report{}, Known: map[string]recovery.Report{}, Compare: compare,
	}
	for _, n := range w.nodes {
		e.Members = append(e.Members, recovery.Voter{Node: n})
		if seen := m.sees[n]; seen > 0 {
			r := w.members[n].told[seen-1]
			if m.heard[n] {
				e.Heard[n] = r
			} else {
				e.Known[n] = r
			}
		}
	}
	return e
}

// step lets a member decide and act; it loses power after so many of the steps of that, if cut is not 0.
func (w *world) step(m *member, cut int) {
	if !m.up {
		return
	}
	d := recovery.Decide(w.evidence(m))
	m.journal = d.Journal
	if cut == 1 {
		w.kill(m)
		return
	}
	switch d.Action {
	case recovery.Wait, recovery.Promise:
	case recovery.Propose:
		m.proposal = d.Proposal
	case recovery.Withdraw:
		w.renew(m)
	case recovery.Bootstrap, recovery.Begin:
		w.begin(m, d)
	case recovery.Join:
		w.join(m)
	case recovery.Leave:
		w.leave(m)
	}
	if cut == 2 {
		w.kill(m)
		return
	}
	w.tell(m)
}

func (w *world) leave(m *member) {
	if l := m.life; l != nil && w.quorate(l) {
		w.settle()
		l.view = slices.DeleteFunc(slices.Clone(l.view), func(n string) bool { return n == m.name })
	}
	m.out()
	w.renew(m)
	w.settle()
}

func (w *world) join(m *member) {
	w.renew(m)
	w.settle()
	alive := w.alive()
	if len(alive) == 0 {
		return
	}
	l := alive[0]
	have := w.union(l.view)
	if !contains(seen(have), seen(m.data)) {
		return
	}
	if own := missing(have, m.data); len(own) > 0 {
		w.t.Fatalf("%s joins life %d with %v, which are other writes there", m.name, l.incarnation, own)
	}
	m.life, m.id = l, ""
	l.view = append(slices.Clone(l.view), m.name)
	if m.copying = m.fresh; !m.fresh {
		m.data = have
	}
}

func (w *world) begin(m *member, d recovery.Decision) {
	n := d.Journal.Incarnation
	if who, twice := w.begun[n]; twice && (who != m.name || d.Action == recovery.Begin) {
		w.t.Fatalf("%s begins life %d, which %s has begun", m.name, n, who)
	}
	w.begun[n] = m.name
	if lost := missing(m.data, w.acked); len(lost) > 0 {
		w.t.Fatalf("%s begins life %d without the acknowledged writes %v", m.name, n, lost)
	}
	if d.Action == recovery.Begin {
		heard := slices.Sorted(maps.Keys(m.proposal.Heard))
		needed := w.nodes
		if w.recovery != nil && w.recovery.Incarnation == n {
			needed = slices.DeleteFunc(slices.Clone(w.nodes), func(n string) bool { return slices.Contains(w.recovery.AcceptLossFrom, n) })
		}
		if !slices.Equal(heard, needed) {
			w.t.Fatalf("%s begins life %d having heard %v, and %v are needed", m.name, n, heard, needed)
		}
		for _, other := range w.nodes {
			j := w.members[other].journal
			if slices.Contains(needed, other) && w.recovery == nil && !contains(seen(m.data), numbers(j.Base)) {
				w.t.Fatalf("%s begins life %d with less than %s knows of life %d", m.name, n, other, j.Incarnation)
			}
		}
	}
	l := &life{incarnation: n, leader: m.name, view: []string{m.name}}
	w.lives = append(w.lives, l)
	m.life, m.id, m.proposal, m.fresh = l, "", nil, false
	if len(m.data) == 0 {
		m.data = []int{w.next(nil)}
	}
	w.settle()
}

// recover is the operator's decision, made while nothing takes writes: what only the members have that are given up is lost.
func (w *world) recover(given []string) {
	if len(w.alive()) > 0 || len(given) == 0 || len(given) == len(w.nodes) {
		return
	}
	n := uint64(1)
	if w.recovery != nil {
		n = w.recovery.Incarnation
	}
	for _, m := range w.members {
		n = max(n, m.journal.Incarnation)
		for _, p := range []*spec.RecoveryProposal{m.proposal, m.journal.Promise} {
			if p != nil {
				n = max(n, p.Incarnation)
			}
		}
	}
	w.recovery = &spec.Recovery{Incarnation: n + 1, AcceptLossFrom: given}
	kept := slices.DeleteFunc(slices.Clone(w.nodes), func(n string) bool { return slices.Contains(given, n) })
	have := w.union(kept)
	w.acked = slices.DeleteFunc(w.acked, func(write int) bool { return !slices.Contains(have, write) })
}

// hangsOnFew tells that no majority has the data any more, of what somebody has, because members were replaced one right after the other: whether those that
// have it have every write is the operator's to say.
func (w *world) hangsOnFew() bool {
	with := 0
	for _, m := range w.members {
		if !m.fresh {
			with++
		}
	}
	return w.thinned && len(w.alive()) == 0 && with > 0 && 2*with <= len(w.nodes)
}

// whole tells why the group does not have all of its members, nil when it does.
func (w *world) whole() error {
	alive := w.alive()
	if len(alive) != 1 {
		var texts []string
		for _, n := range w.nodes {
			m := w.members[n]
			texts = append(texts, fmt.Sprintf("%s: %+v of %+v", n, recovery.Decide(w.evidence(m)), m.journal))
		}
		return fmt.Errorf("%d groups take writes:\n%s", len(alive), strings.Join(texts, "\n"))
	}
	for _, n := range w.nodes {
		if m := w.members[n]; m.life != alive[0] || m.copying {
			return fmt.Errorf("%s is not in it: %+v", n, recovery.Decide(w.evidence(m)))
		}
	}
	if lost := missing(w.union(w.nodes), w.acked); len(lost) > 0 {
		return fmt.Errorf("the acknowledged writes %v are lost", lost)
	}
	return nil
}

func position(data []int) string {
	texts := make([]string, len(data))
	for i, n := range slices.Sorted(slices.Values(seen(data))) {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ",")
}

func numbers(position string) []int {
	var out []int
	for text := range strings.SplitSeq(position, ",") {
		if n, err := strconv.Atoi(text); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func missing(have, want []int) []int {
	return slices.DeleteFunc(slices.Clone(want), func(n int) bool { return slices.Contains(have, n) })
}

func contains(have, want []int) bool { return len(missing(have, want)) == 0 }

var errIncomparable = errors.New("no position")

// compare orders positions that are lists of numbers.
func compare(a, b string) (database.Order, error) {
	if a == "?" || b == "?" {
		return database.Equal, errIncomparable
	}
	x, y := numbers(a), numbers(b)
	switch more, less := contains(x, y), contains(y, x); {
	case more && less:
		return database.Equal, nil
	case more:
		return database.Greater, nil
	case less:
		return database.Less, nil
	}
	return database.Diverged, nil
}
