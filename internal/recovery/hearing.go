package recovery

import (
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// freshFor is how long a report counts. Agents report at least every 30 s, and at once what changes.
const freshFor = 45 * time.Second

// Hearing knows which reports are fresh, by a clock of this process: what lay on the disk when it was made is of any age. Not
// safe for concurrent use.
type Hearing struct {
	last map[string]hearing
}

type hearing struct {
	boot     string
	sequence uint64
	// at is when the report came in, zero for what was there from the beginning.
	at time.Time
}

// NewHearing begins to listen, with what is known already.
func NewHearing(statuses map[string]spec.Status) *Hearing {
	h := &Hearing{last: map[string]hearing{}}
	for node, s := range statuses {
		h.last[node] = hearing{boot: s.BootID, sequence: s.Sequence}
	}
	return h
}

// Listen takes the reports as they are now.
func (h *Hearing) Listen(statuses map[string]spec.Status, now time.Time) {
	for node, s := range statuses {
		if last, known := h.last[node]; !known || last.boot != s.BootID || last.sequence != s.Sequence {
			h.last[node] = hearing{boot: s.BootID, sequence: s.Sequence, at: now}
		}
	}
}

// Fresh tells whether a node's report came in lately.
func (h *Hearing) Fresh(node string, now time.Time) bool {
	last, known := h.last[node]
	return known && !last.at.IsZero() && now.Sub(last.at) <= freshFor
}
