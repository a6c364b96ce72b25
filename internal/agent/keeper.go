package agent

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// keeper holds what the agent has observed: its conditions and how it sees its peers. "Since" changes only together with
// what it dates, and survives restarts of the agent. It is safe for concurrent use.
type keeper struct {
	mu    sync.Mutex
	state state
	now   func() time.Time
	log   *slog.Logger

	conditions map[spec.ConditionType]spec.Condition
	peers      map[string]spec.PeerStatus
	// urgent is closed when a condition changes its status, and replaced.
	urgent chan struct{}
	// version grows with everything that changes, so that a report knows whether it says anything new.
	version uint64
}

type observedRecord struct {
	Conditions []spec.Condition           `json:"conditions"`
	Peers      map[string]spec.PeerStatus `json:"peers,omitempty"`
}

// openKeeper continues with what was observed before the restart. A damaged file only loses the dates.
func openKeeper(s state, now func() time.Time, log *slog.Logger) *keeper {
	k := &keeper{
		state: s, now: now, log: log, urgent: make(chan struct{}),
		conditions: map[spec.ConditionType]spec.Condition{}, peers: map[string]spec.PeerStatus{},
	}
	var r observedRecord
	if _, err := s.readJSON(observedFile, &r); err != nil {
		log.Warn("earlier observations are lost, conditions begin anew", "error", err)
		return k
	}
	for _, c := range r.Conditions {
		k.conditions[c.Type] = c
	}
	maps.Copy(k.peers, r.Peers)
	return k
}

// set records a condition.
func (k *keeper) set(t spec.ConditionType, status spec.ConditionStatus, reason, format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := spec.Condition{Type: t, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...), Since: k.now().UTC()}
	old, known := k.conditions[t]
	if known && old.Status == status {
		c.Since = old.Since
	}
	if known && c == old {
		return
	}
	k.conditions[t] = c
	k.version++
	if known && old.Status == status {
		return
	}
	k.log.Info("condition changed", "condition", string(t), "status", string(status), "reason", reason, "message", c.Message)
	close(k.urgent)
	k.urgent = make(chan struct{})
	k.saveLocked()
}

// setPeers records how the node sees its peers; those that are not in peers are forgotten. The dates in peers are ignored.
func (k *keeper) setPeers(peers map[string]spec.PeerStatus) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now().UTC()
	save := len(peers) != len(k.peers)
	next := make(map[string]spec.PeerStatus, len(peers))
	for name, p := range peers {
		old, known := k.peers[name]
		p.Since, p.AliveSince = now, now
		if known && old.Reachable == p.Reachable && old.Direct == p.Direct {
			p.Since = old.Since
		}
		if known && old.Alive == p.Alive {
			p.AliveSince = old.AliveSince
		}
		if known && alike(old.RTT, p.RTT, 0.1, 0.05) && alike(old.Loss, p.Loss, 0.01, 0) {
			p.RTT, p.Loss = old.RTT, old.Loss
		}
		p.Public = k.datedPublic(p.Public, old.Public)
		save = save || p.Since != old.Since || p.AliveSince != old.AliveSince || p.Public != old.Public
		next[name] = p
	}
	if !maps.Equal(next, k.peers) {
		k.version++
	}
	k.peers = next
	if save {
		close(k.urgent)
		k.urgent = make(chan struct{})
		k.saveLocked()
	}
}

// datedPublic returns how a peer answers in public with its date: what was known before while it is still so.
func (k *keeper) datedPublic(public, old *spec.PublicStatus) *spec.PublicStatus {
	if public == nil {
		return nil
	}
	if old != nil && old.Answers == public.Answers && old.Dead == public.Dead {
		return old
	}
	return &spec.PublicStatus{Answers: public.Answers, Dead: public.Dead, Since: k.now().UTC()}
}

// unset forgets a condition that this node has no more.
func (k *keeper) unset(t spec.ConditionType) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.conditions[t]; !known {
		return
	}
	delete(k.conditions, t)
	k.version++
	close(k.urgent)
	k.urgent = make(chan struct{})
	k.saveLocked()
}

func (k *keeper) saveLocked() {
	if err := k.state.writeJSON(observedFile, observedRecord{Conditions: k.listLocked(), Peers: k.peers}); err != nil {
		k.log.Error("cannot keep observations across a restart", "error", err)
	}
}

func (k *keeper) listLocked() []spec.Condition {
	list := slices.Collect(maps.Values(k.conditions))
	slices.SortFunc(list, func(a, b spec.Condition) int { return strings.Compare(string(a.Type), string(b.Type)) })
	return list
}

// list returns the conditions, sorted by type.
func (k *keeper) list() []spec.Condition {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.listLocked()
}

// get returns one condition, its zero value when it was never set.
func (k *keeper) get(t spec.ConditionType) spec.Condition {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.conditions[t]
}

// snapshot returns everything observed and its version.
func (k *keeper) snapshot() ([]spec.Condition, map[string]spec.PeerStatus, uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.listLocked(), maps.Clone(k.peers), k.version
}

// changed returns a channel that is closed at the next change of a status.
func (k *keeper) changed() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.urgent
}

// alike tells whether two measurements differ by no more than noise, which is not worth a report to every node.
func alike(a, b, absolute, relative float64) bool {
	if (a == 0) != (b == 0) {
		return false
	}
	return math.Abs(a-b) <= absolute+relative*math.Abs(a)
}
