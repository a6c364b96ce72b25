package unison

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/ahead"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// The first synchronization with a tree that has nothing. The side that has something sends it ahead while its unison looks at it for the first time, and what
// unisons say to each other from the beginning of that look waits behind it. So all of it is there, under the names of interrupted transfers, before the
// first transfer is begun.

// longestName is how long a name may be for unison to make no other one of it for what it has not completed (genTempPath in its os.ml), in bytes.
const longestName = 143 - len(".unison.") - 1 - 32 - len(".unison.tmp")

// heads are what one run of the engine does ahead of its unison. It is safe for concurrent use.
type heads struct {
	mu sync.Mutex
	// blank tells that this side's unison knows nothing.
	blank bool
	// sent is closed when everything was sent ahead, nil when nothing is.
	sent <-chan struct{}
	// came tells that something has come ahead.
	came bool
}

// begin notes whether the unison that is about to run knows nothing, and something is carried over.
func (h *heads) begin(blank bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.blank = blank
}

// took notes that something has come ahead.
func (h *heads) took() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.came = true
}

// sends tells whether something is being sent ahead.
func (h *heads) sends() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.sent:
		return false
	default:
		return h.sent != nil
	}
}

// over waits for the end of what is sent ahead and comes ahead, over a link that is closed, and forgets everything. It tells whether something has come.
func (h *heads) over(link *worker.Link) (came bool) {
	<-link.Ended()
	h.mu.Lock()
	sent := h.sent
	h.blank = false // nothing is begun any more
	h.mu.Unlock()
	if sent != nil {
		<-sent
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	came = h.came
	h.sent, h.came = nil, false
	return came
}

// sendAhead sends what is in the tree, once, if the other side has nothing. Unison is about to look at all of it, and waits for the answer.
func (e *engine) sendAhead() {
	link := e.current()
	e.heads.mu.Lock()
	defer e.heads.mu.Unlock()
	if !e.heads.blank || e.heads.sent != nil || link == nil || !link.AheadWanted() {
		return
	}
	e.heads.sent = link.Ahead(func(to io.Writer) error {
		began := time.Now()
		count, err := e.writeAhead(to)
		e.host.Log.Info("files were sent ahead of the first synchronization", "files", count.Files, "bytes", count.Bytes, "took", time.Since(began), "error", err)
		return err
	})
}

func (e *engine) writeAhead(to io.Writer) (count ahead.Count, err error) {
	root, err := worker.OpenTree(e.host.Config.Path)
	if err != nil {
		return count, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	excluded, err := exclude.Parse(e.host.Config.Exclude)
	if err != nil {
		return count, err
	}
	apart := e.host.Apart()
	return ahead.Send(root, e.account(), func(p string) bool {
		return ofAtoll(p) || e.Temporary(p) || excluded.Match(p) || slices.Contains(apart, p)
	}, to)
}

// account is as whom unison runs.
func (e *engine) account() ahead.Account {
	return ahead.Account{UID: e.host.Account.UID, GID: e.host.Account.GID, Groups: e.host.Account.Groups}
}

// ofAtoll tells whether a path in a tree is Atoll's own.
func ofAtoll(p string) bool {
	top, _, _ := strings.Cut(p, "/")
	return top == worker.Marker || top == worker.CanaryDir || top == cold.Dir
}

// offerRoom tells the other side that this one has nothing, and takes what comes ahead. No unison runs here yet.
func (e *engine) offerRoom(link *worker.Link) error {
	if !e.bare() {
		return nil
	}
	var taker *ahead.Receiver
	link.TakeAhead(func() io.WriteCloser {
		known := e.awaitHashes()
		enough := func() {
			go func() { _ = link.Say(worker.Word{Enough: true}) }() // the link may be gone
		}
		if len(known) != 1 {
			enough()
		}
		taker = ahead.Receive(ahead.Tree{
			Root: e.host.Config.Path, Account: e.account(), Serving: e.host.Helps,
			Name:   func(name string) string { return e.unfinishedName(name, known) },
			Enough: enough, Log: e.host.Log,
		})
		return taker
	}, func(ended bool) {
		count := taker.Came()
		e.host.Log.Info("files have come ahead of the first synchronization", "files", count.Files, "bytes", count.Bytes, "to the end", ended)
		e.heads.took()
	})
	return link.Say(worker.Word{Bare: true})
}

const (
	// hashWithin is how long what comes ahead waits for unison to have named its roots, looked for every hashEvery. The other side's has asked it for that before
	// anything came, and this one may be about to do it.
	hashWithin = 2 * time.Second
	hashEvery  = 5 * time.Millisecond
)

// awaitHashes returns what unison calls its roots, none where it does not say so.
func (e *engine) awaitHashes() []string {
	for began := time.Now(); ; time.Sleep(hashEvery) {
		known := hashes(e.host.Config)
		if len(known) > 0 || time.Since(began) > hashWithin {
			return known
		}
	}
}

// bare tells whether there is nothing in the tree to be synchronized, and nothing known of earlier synchronizations. Of what cannot be looked at others tell.
func (e *engine) bare() bool {
	has, err := hasArchive(e.host.Config.Home())
	if err != nil || has && !e.distrusts() {
		return false
	}
	excluded, err := exclude.Parse(e.host.Config.Exclude)
	if err != nil {
		return false
	}
	entries, err := os.ReadDir(e.host.Config.Path)
	return err == nil && !slices.ContainsFunc(entries, func(entry fs.DirEntry) bool {
		return !ofAtoll(entry.Name()) && !e.Temporary(entry.Name()) && !excluded.Match(entry.Name())
	})
}

// unfinishedName is how unison calls what is to get a name in the root, by what it calls its roots; "" where that cannot be told.
func (e *engine) unfinishedName(name string, known []string) string {
	if len(known) != 1 || len(name) > longestName || path.Base(name) != name || ofAtoll(name) || e.Temporary(name) {
		return ""
	}
	return ".unison." + name + "." + known[0] + ".unison.tmp"
}
