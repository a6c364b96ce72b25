package mesh

import (
	"context"
	"time"
)

// Steerer is a driver that can do without single links. Its method may be called from several goroutines.
type Steerer interface {
	// Steer makes the mesh do without the direct links to these peers of the last view, and use all others again. Traffic to such a
	// peer goes by others then, from the moment on at which this node drops the link, and nothing of what other links carry
	// is lost. It must be called again at least once in SteerAgain: what is not said again is forgotten, so that an agent that does not come back leaves
	// no peer cut off. It may be called with the same peers any number of times. Without a view it does nothing.
	Steer(ctx context.Context, away []string) error
}

// SteerAgain is how often a Steerer must be told at least.
const SteerAgain = 20 * time.Second
