package gossip

import (
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// liveness remembers who is alive and since when. It implements memberlist.EventDelegate.
type liveness struct {
	self string
	log  *slog.Logger
	// changed is called after another node's state has changed.
	changed func()

	mu    sync.Mutex
	nodes map[string]Liveness
	where map[string]string
	// over is true once nobody wants to hear any more: memberlist does not wait for all that it does when it is shut down.
	over bool
}

func newLiveness(self string, log *slog.Logger, changed func()) *liveness {
	if changed == nil {
		changed = func() {}
	}
	return &liveness{self: self, log: log, changed: changed, nodes: map[string]Liveness{}, where: map[string]string{}}
}

// NotifyJoin implements memberlist.EventDelegate.
func (l *liveness) NotifyJoin(n *memberlist.Node) { l.set(n.Name, n.Address(), true) }

// NotifyLeave implements memberlist.EventDelegate.
func (l *liveness) NotifyLeave(n *memberlist.Node) { l.set(n.Name, n.Address(), false) }

// NotifyUpdate implements memberlist.EventDelegate.
func (l *liveness) NotifyUpdate(n *memberlist.Node) { l.set(n.Name, n.Address(), true) }

func (l *liveness) set(node, address string, alive bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.where[node] = address
	if now, known := l.nodes[node]; known && now.Alive == alive {
		return
	}
	l.nodes[node] = Liveness{Alive: alive, Since: time.Now().UTC()}
	if node != l.self {
		l.log.Info("gossip peer changed", "peer", node, "alive", alive)
		l.changed()
	}
}

// end makes every later event go unheard.
func (l *liveness) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

func (l *liveness) all() map[string]Liveness {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.nodes)
}

// addresses returns where the living are. memberlist's own list cannot be read without a race.
func (l *liveness) addresses() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]bool{}
	for node, state := range l.nodes {
		if state.Alive {
			out[l.where[node]] = true
		}
	}
	return out
}

// logWriter turns memberlist's log into debug messages: what matters of it shows in Alive.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Debug("memberlist", "message", strings.TrimSpace(string(p)))
	return len(p), nil
}
