package tunnel

import (
	"math/rand/v2"
	"time"
)

// inStep is how long a neighbour may be silent before hellos to it come at random moments, about one a second. A packet for a peer
// without a session begins a handshake, five seconds after the last one at the earliest. Two nodes that began in the same moment would go
// on to do so in step, and over a long distance their handshakes would cross each time: each answers the other's and forgets its
// own, so neither is ever finished.
const inStep = 4 * time.Second

// firstWord is how long the node with the greater address leaves the first word to the other, for the same reason: longer than a packet
// takes anywhere.
const firstWord = 400 * time.Millisecond

// speakTo tells whether to say hello now. After says that the neighbour's address is the smaller one.
func (n *neighbor) speakTo(now time.Time, after bool) bool {
	if after && n.heard.IsZero() && now.Sub(n.known) < firstWord {
		return false
	}
	if now.Sub(n.heard) < inStep || now.Sub(n.known) < inStep {
		return true
	}
	return rand.IntN(10) == 0 //nolint:gosec // only has to differ from the other end's
}
