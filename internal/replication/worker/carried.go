package worker

import (
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// carried counts what a side exchanges with the other. It is safe for concurrent use.
type carried struct {
	from                  time.Time
	sent, received, files atomic.Int64
	// changed is when anything but a canary was last seen to change, in nanoseconds since 1970; 0 for never.
	changed atomic.Int64
	// directories have arrived, and their files are not counted; counting tells that somebody does that.
	mu          sync.Mutex
	directories []string
	counting    bool
	// round is how long the program is busy with one change, in nanoseconds.
	round atomic.Int64
}

// over returns a stream to the other side whose bytes are counted.
func (c *carried) over(stream conn) conn { return &counted{conn: stream, carried: c} }

type counted struct {
	conn
	carried *carried
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	c.carried.received.Add(int64(n))
	return n, err
}

// Write implements io.Writer.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.conn.Write(p)
	c.carried.sent.Add(int64(n))
	return n, err
}

// sees takes in what has changed.
func (c *carried) sees(batch watch.Batch) {
	seen := batch.All
	for _, change := range batch.Changes {
		seen = seen || !isCanary(change.Path)
	}
	if seen {
		c.changed.Store(time.Now().UnixNano())
	}
}

// ends takes in how long a round took. One that had much to do says little of the others.
func (c *carried) ends(took time.Duration) {
	if before := time.Duration(c.round.Load()); before != 0 {
		took = min(took, before+before/4)
	}
	c.round.Store(int64(took))
}

// lastChange is when sees had something last.
func (c *carried) lastChange() time.Time {
	if at := c.changed.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

func (c *carried) said() spec.PairCarried {
	return spec.PairCarried{From: c.from, SentBytes: c.sent.Load(), ReceivedBytes: c.received.Load(), Files: c.files.Load()}
}

// placed counts a file of a tree that has arrived from the other side. The files of a directory, of which there may be many, are counted a moment later.
func (c *carried) placed(tree, path string, directory bool) {
	switch {
	case isCanary(path):
	case !directory:
		c.files.Add(1)
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.directories = append(c.directories, path); !c.counting {
			c.counting = true
			go c.count(tree)
		}
	}
}

// count counts the files of directories that have arrived.
func (c *carried) count(tree string) {
	for {
		c.mu.Lock()
		directories := c.directories
		c.directories, c.counting = nil, len(directories) > 0
		c.mu.Unlock()
		if len(directories) == 0 {
			return
		}
		for _, directory := range directories {
			// What cannot be read any more is not there.
			_ = filepath.WalkDir(filepath.Join(tree, directory), func(_ string, entry fs.DirEntry, _ error) error {
				if entry != nil && entry.Type().IsRegular() {
					c.files.Add(1)
				}
				return nil
			})
		}
	}
}

func isCanary(path string) bool { return path == CanaryDir || strings.HasPrefix(path, CanaryDir+"/") }
