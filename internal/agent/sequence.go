package agent

import (
	"fmt"
	"sync"
)

// sequenceBatch is how many sequence numbers are reserved on the disk at once. A crash skips the rest of a batch.
const sequenceBatch = 1000

// sequence gives out numbers that only grow, across restarts as well. It is safe for concurrent use.
type sequence struct {
	mu       sync.Mutex
	state    state
	next     uint64
	reserved uint64
}

type sequenceRecord struct {
	// Reserved is the number up to which numbers may have been given out.
	Reserved uint64 `json:"reserved"`
}

// openSequence continues after the last number that may have been given out, and after atLeast. A damaged file counts as
// none: atLeast comes from the node's last status.
func openSequence(s state, atLeast uint64) *sequence {
	var r sequenceRecord
	if _, err := s.readJSON(sequenceFile, &r); err != nil {
		r = sequenceRecord{}
	}
	last := max(r.Reserved, atLeast)
	return &sequence{state: s, next: last + 1, reserved: last}
}

// take returns the next number.
func (q *sequence) take() (uint64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.next > q.reserved {
		reserve := q.next + sequenceBatch
		if err := q.state.writeJSON(sequenceFile, sequenceRecord{Reserved: reserve}); err != nil {
			return 0, fmt.Errorf("reserve sequence numbers: %w", err)
		}
		q.reserved = reserve
	}
	n := q.next
	q.next++
	return n, nil
}

// atLeast makes the next number greater than n.
func (q *sequence) atLeast(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next = max(q.next, n+1)
}
