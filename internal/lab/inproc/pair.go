package inproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	treedigest "github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// MissingAccount is an account that these machines do not have: pairs that belong to it fail. SlowAccount has so many files that
// their first synchronization does not end.
const (
	MissingAccount = "missing"
	SlowAccount    = "slow"
)

// trees are the pairs of all machines. Of a tree nothing exists but what is said of it.
type trees struct {
	mu        sync.Mutex
	conflicts map[string][]string
	// failing is what commands after changes say that do not succeed, by pair.
	failing map[string]string
	sides   map[*treeDriver]map[string]*treeSide
}

// treeSide is a machine's side of a pair.
type treeSide struct {
	replication.Pair
	started time.Time
	// looked tells that the side's agent has looked at it since. The first synchronization ends after that, as it does with trees
	// that have files.
	looked bool
	// carries tells that it is the turn of a pair that alternates with another one.
	carries bool
}

// treeDriver is the driver of one machine.
type treeDriver struct {
	all *trees
	on  bool // guarded by all
}

func (m *Machine) newReplication(host.System, *slog.Logger) replication.Driver {
	t := &m.all.trees
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.files == nil {
		m.files = &treeDriver{all: t}
	}
	if t.sides == nil {
		t.sides = map[*treeDriver]map[string]*treeSide{}
	}
	if t.sides[m.files] == nil {
		t.sides[m.files] = map[string]*treeSide{}
	}
	m.files.on = true
	for _, side := range t.sides[m.files] {
		side.started, side.looked = time.Now(), false // the machine was off
	}
	return m.files
}

// stopFiles stops the programs of the machine's pairs.
func (m *Machine) stopFiles() {
	t := &m.all.trees
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.files != nil {
		m.files.on = false
	}
}

// PairSide returns what a machine's driver was told of a pair.
func (m *Machine) PairSide(name string) (side replication.Pair, ok bool) {
	t := &m.all.trees
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sides[m.files][name]; s != nil {
		return s.Pair, true
	}
	return replication.Pair{}, false
}

// Conflict makes paths the conflicts of a pair.
func (m *Machines) Conflict(pair string, paths ...string) {
	m.trees.mu.Lock()
	defer m.trees.mu.Unlock()
	if m.trees.conflicts == nil {
		m.trees.conflicts = map[string][]string{}
	}
	m.trees.conflicts[pair] = slices.Sorted(slices.Values(paths))
}

// AfterChangeFails has the command after changes of a pair not succeed, and say a text; "" for one that does.
func (m *Machines) AfterChangeFails(pair, says string) {
	m.trees.mu.Lock()
	defer m.trees.mu.Unlock()
	if m.trees.failing == nil {
		m.trees.failing = map[string]string{}
	}
	m.trees.failing[pair] = says
}

// EmptyDisk are the facts of a directory that is not there yet, on a disk with room.
func EmptyDisk() place.Facts {
	return place.Facts{FileSystem: "ext4", Mount: "/", Attributes: true, ACLs: true, Handles: true, FreeBytes: 10 << 30, FreeInodes: 1 << 20, Watches: 8192, Counted: true}
}

// SetPlace sets the facts of a directory of the machine; without that they are those of EmptyDisk.
func (m *Machine) SetPlace(path string, f place.Facts) {
	m.all.trees.mu.Lock()
	defer m.all.trees.mu.Unlock()
	if m.places == nil {
		m.places = map[string]place.Facts{}
	}
	m.places[path] = f
}

func (m *Machine) look(_ context.Context, path string) (place.Facts, error) {
	m.all.trees.mu.Lock()
	defer m.all.trees.mu.Unlock()
	if f, ok := m.places[path]; ok {
		return f, nil
	}
	return EmptyDisk(), nil
}

// Apply implements replication.Driver.
func (d *treeDriver) Apply(_ context.Context, pairs []replication.Pair) error {
	d.all.mu.Lock()
	defer d.all.mu.Unlock()
	mine := d.all.sides[d]
	maps.DeleteFunc(mine, func(name string, _ *treeSide) bool {
		return !slices.ContainsFunc(pairs, func(p replication.Pair) bool { return p.Name == name })
	})
	for _, p := range pairs {
		had := mine[p.Name]
		if had == nil || had.Leads != p.Leads || had.Path != p.Path || had.Peer != p.Peer || had.PeerPath != p.PeerPath || !slices.Equal(had.Exclude, p.Exclude) || had.Owner != p.Owner {
			mine[p.Name] = &treeSide{Pair: p, started: time.Now()}
			continue
		}
		had.Pair = p
	}
	return nil
}

// Status implements replication.Driver.
func (d *treeDriver) Status(_ context.Context, pair string) (replication.Status, error) {
	d.all.mu.Lock()
	defer d.all.mu.Unlock()
	s := d.all.sides[d][pair]
	if s == nil || !d.on {
		return replication.Status{State: spec.PairStarting}, nil
	}
	s.looked = true
	out := replication.Status{State: spec.PairSyncing, Started: s.started, Watching: "fanotify", Conflicts: d.all.conflicts[pair]}
	if s.Cold != nil {
		out.Cold = &spec.ColdStatus{Directories: 2, Bytes: 1 << 20, Last: s.started.UTC().Truncate(time.Second)}
	}
	if s.After != nil {
		out.After = &spec.AfterStatus{State: spec.AfterDone, Last: s.started.UTC().Truncate(time.Second)}
		if text := d.all.failing[pair]; text != "" {
			out.After.State, out.After.Problem, out.Warning = spec.AfterFailed, text, "the command after changes does not succeed: "+text
		}
	}
	switch {
	case s.Owner == MissingAccount:
		return replication.Status{State: spec.PairFailed, Problem: fmt.Sprintf("there is no account %q: make it", s.Owner)}, nil
	case d.other(s) == nil:
		out.State = spec.PairDisconnected
	case s.Leads && (!d.other(s).looked || s.Owner == SlowAccount):
		out.State = spec.PairStarting
	case s.Alternates && !s.carries && !d.other(s).carries:
		out.State, out.Resting = spec.PairStandingBy, true
	case s.Leads:
		out.State, out.Synced = spec.PairSynced, time.Now()
	}
	return out, nil
}

// other returns the other side if it is there and fits, else nil.
func (d *treeDriver) other(s *treeSide) *treeSide {
	for other, sides := range d.all.sides {
		o := sides[s.Name]
		if other != d && other.on && o != nil && o.Node == s.Peer && o.Peer == s.Node && o.Leads != s.Leads && o.Path == s.PeerPath {
			return o
		}
	}
	return nil
}

// Accept implements replication.Driver: these sides need no stream.
func (*treeDriver) Accept(_ context.Context, _ string, stream io.ReadWriteCloser) error {
	return stream.Close()
}

// AcceptCold implements replication.Driver.
func (*treeDriver) AcceptCold(_ context.Context, _ string, stream io.ReadWriteCloser) error {
	return stream.Close()
}

// PermitAlone implements replication.Driver.
func (*treeDriver) PermitAlone(context.Context, string) error { return nil }

// Turn implements replication.Driver.
func (d *treeDriver) Turn(_ context.Context, pair string, carry bool) error {
	d.all.mu.Lock()
	defer d.all.mu.Unlock()
	if s := d.all.sides[d][pair]; s != nil {
		s.carries = carry
	}
	return nil
}

var errNoTree = errors.New("these machines have no trees")

// Canary implements replication.Driver.
func (*treeDriver) Canary(context.Context, string) (replication.Canary, error) {
	return replication.Canary{}, errNoTree
}

// Canaries implements replication.Driver.
func (*treeDriver) Canaries(context.Context, string, replication.Canary) (replication.Canary, error) {
	return replication.Canary{}, errNoTree
}

// Digest implements replication.Driver: both trees of a pair are empty.
func (d *treeDriver) Digest(_ context.Context, pair string, _ treedigest.Request) (treedigest.Result, error) {
	return treedigest.Result{Snapshot: &treedigest.Snapshot{}}, d.unavailable(pair)
}

// Directory implements replication.Driver.
func (d *treeDriver) Directory(_ context.Context, pair string, _ treedigest.Part, _ string) (treedigest.Directory, error) {
	return treedigest.Directory{}, d.unavailable(pair)
}

func (d *treeDriver) unavailable(pair string) error {
	d.all.mu.Lock()
	defer d.all.mu.Unlock()
	switch s := d.all.sides[d][pair]; {
	case s == nil || !d.on:
		return &replication.UnavailableError{Pair: pair, Reason: "its programs do not run"}
	case s.Owner == MissingAccount:
		return &replication.UnavailableError{Pair: pair, Reason: fmt.Sprintf("there is no account %q: make it", s.Owner)}
	}
	return nil
}
