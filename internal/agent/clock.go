package agent

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

const (
	// clockTolerance is how far a clock may be off before it is reported.
	clockTolerance = time.Minute
	// clockWindow is how long a measurement counts.
	clockWindow = 2 * time.Minute
)

// clock compares this node's clock with those of its peers. A peer's status says when it was signed; how long it took to
// get here is not known but never negative, so of several statuses the one that seems the least old is the closest to the
// truth. It is safe for concurrent use.
type clock struct {
	mu    sync.Mutex
	peers map[string]*peerClock
}

type peerClock struct {
	sequence uint64
	heard    []heard
}

// heard is one measurement: the peer's clock minus ours.
type heard struct {
	at    time.Time
	ahead time.Duration
}

// observe takes the statuses as they are now. A status counts when it is new since the last call; the first one of a peer
// is of unknown age and does not count.
func (c *clock) observe(self string, snapshot *store.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peers == nil {
		c.peers = map[string]*peerClock{}
	}
	for name := range c.peers {
		if _, still := snapshot.Statuses[name]; !still {
			delete(c.peers, name)
		}
	}
	for name, status := range snapshot.Statuses {
		if name == self {
			continue
		}
		p, known := c.peers[name]
		if !known {
			c.peers[name] = &peerClock{sequence: status.Sequence}
			continue
		}
		if p.sequence == status.Sequence {
			continue
		}
		p.sequence = status.Sequence
		at := snapshot.Received[name]
		p.heard = append(p.heard, heard{at: at, ahead: status.Reported.Sub(at)})
		p.heard = slices.DeleteFunc(p.heard, func(h heard) bool { return at.Sub(h.at).Abs() > clockWindow })
	}
}

// judge returns the condition that follows from what was heard, with how far this node's clock is ahead of the others'.
func (c *clock) judge() (status spec.ConditionStatus, reason, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var offsets []time.Duration
	for _, p := range c.peers {
		if len(p.heard) == 0 {
			continue
		}
		best := slices.MaxFunc(p.heard, func(a, b heard) int { return int(a.ahead - b.ahead) })
		offsets = append(offsets, -best.ahead)
	}
	if len(offsets) == 0 {
		return spec.ConditionTrue, "NothingToCompare", "no other node's clock was heard lately"
	}
	slices.Sort(offsets)
	// Of two middle ones the smaller: one wrong clock among three must not make the two right ones look wrong.
	offset := offsets[len(offsets)/2]
	if other := offsets[(len(offsets)-1)/2]; other.Abs() < offset.Abs() {
		offset = other
	}
	if offset.Abs() <= clockTolerance {
		return spec.ConditionTrue, "InStep", ""
	}
	direction := "ahead of"
	if offset < 0 {
		direction = "behind"
	}
	message = fmt.Sprintf("this node's clock is %s %s that of %s; set it right and keep it so (chrony or systemd-timesyncd)",
		offset.Abs().Round(time.Second), direction, peersText(len(offsets)))
	if len(offsets) == 1 {
		message += "; with one node to compare with it may also be that one's clock"
	}
	return spec.ConditionFalse, "OutOfStep", message
}

func peersText(n int) string {
	if n == 1 {
		return "the one other node"
	}
	return fmt.Sprintf("the %d other nodes (median)", n)
}
