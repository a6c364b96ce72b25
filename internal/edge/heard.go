package edge

import (
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// FreshFor is how long a report counts. Agents report at least every 30 s, and at once what changes.
const FreshFor = 45 * time.Second

// Heard knows which reports are fresh. A node's word for when it reported is not asked: its clock may be wrong. What counts is when
// a report came in, by a clock of this process that no one sets. Its zero value has heard nothing. Not safe for concurrent use.
type Heard struct {
	last map[string]hearing
}

type hearing struct {
	boot     string
	sequence uint64
	// at is when it came in; zero for the first one of a node, which may be of any age.
	at time.Time
}

// Fresh takes the statuses as they are now and returns those that came in lately.
func (h *Heard) Fresh(statuses map[string]spec.Status, now time.Time) map[string]spec.Status {
	if h.last == nil {
		h.last = map[string]hearing{}
	}
	for name := range h.last {
		if _, still := statuses[name]; !still {
			delete(h.last, name)
		}
	}
	out := map[string]spec.Status{}
	for name, s := range statuses {
		last, known := h.last[name]
		switch {
		case !known:
			last = hearing{boot: s.BootID, sequence: s.Sequence}
		case last.boot != s.BootID || last.sequence != s.Sequence:
			last = hearing{boot: s.BootID, sequence: s.Sequence, at: now}
		}
		h.last[name] = last
		if !last.at.IsZero() && now.Sub(last.at) <= FreshFor {
			out[name] = s
		}
	}
	return out
}
