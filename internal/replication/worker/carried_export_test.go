package worker

import (
	"io"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Carried is what counts what a side exchanges with the other.
type Carried struct{ c *carried }

// NewCarried returns one that has counted nothing.
func NewCarried() Carried { return Carried{&carried{}} }

// Over returns a stream whose bytes are counted.
func (c Carried) Over(stream io.ReadWriteCloser) io.ReadWriteCloser { return c.c.over(stream) }

// Placed counts a file, or those of a directory.
func (c Carried) Placed(tree, path string, directory bool) { c.c.placed(tree, path, directory) }

// Said is what was counted.
func (c Carried) Said() spec.PairCarried { return c.c.said() }

// Sees takes in what has changed, LastChange is when something had last.
func (c Carried) Sees(batch watch.Batch) { c.c.sees(batch) }

// LastChange is when anything but a canary has changed.
func (c Carried) LastChange() time.Time { return c.c.lastChange() }

// Ends takes in how long a round took, and returns how long one takes.
func (c Carried) Ends(took time.Duration) time.Duration {
	c.c.ends(took)
	return time.Duration(c.c.round.Load())
}
