package worker

import (
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	// wholeInterval is how often a side looks at its whole tree though nothing was missed that it knows of: what was written by mmap(2) has no
	// event of its own, and a mistake of a watcher would last until the next start. Unison takes 0.6 s for 47,000 files.
	wholeInterval = 6 * time.Hour
	// doubtAfter is Pauses.Doubt on nodes.
	doubtAfter = 5 * time.Second
	// doubtGap is what may be between two comparisons of one kind, doubtPause between two times that contents are read for it.
	doubtGap   = time.Minute
	doubtPause = 10 * time.Minute
)

// doubt finds out that the trees differ although the program says that they do not: it goes by dates, and there are ways to change a file
// behind their back. Whoever waits until both are equal would wait for ever. It is safe for concurrent use.
type doubt struct {
	mu sync.Mutex
	// first and last are when somebody compared directories, which is done where the trees differ; read is when contents were last read.
	first, last, read time.Time
}

// compared takes in that somebody compares a directory while the program says that all is equal, and tells whether it is time to read
// contents, which is after a time.
func (d *doubt) compared(now time.Time, after time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first.IsZero() || now.Sub(d.last) > doubtGap {
		d.first = now
	}
	d.last = now
	if now.Sub(d.first) < after || !d.read.IsZero() && now.Sub(d.read) < doubtPause {
		return false
	}
	d.first, d.read = time.Time{}, now
	return true
}

// quiet tells whether a side's program says that both sides are equal, and nothing fails.
func (w *worker) quiet() bool {
	engine, _ := w.shown.get()
	if engine == nil {
		return false
	}
	state, _, problem := w.board.status(w.cfg.Leads, engine.Pending())
	return problem == "" && state == spec.PairSynced
}

// doubted has contents compared where dates do not tell.
func (w *worker) doubted() {
	if !w.quiet() || !w.doubt.compared(time.Now(), w.cfg.Pauses.Doubt) {
		return
	}
	if engine, _ := w.shown.get(); engine != nil {
		w.log.Info("the trees differ though no file's date says so: all contents are compared")
		engine.Thorough()
	}
}
