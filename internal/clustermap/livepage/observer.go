package livepage

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
)

// lookPatience bounds one look at the cluster.
const lookPatience = 10 * time.Second

// sight is what a look at the cluster has shown.
type sight struct {
	// Title is how the cluster is, in a few words.
	Title string `json:"title"`
	// Healthy tells whether it is as it should be.
	Healthy bool `json:"healthy"`
	// Picture is the map as SVG, without an XML declaration; empty when there is trouble.
	Picture string `json:"picture,omitempty"`
	// Trouble says why the cluster cannot be seen, "" when it can.
	Trouble string `json:"trouble,omitempty"`

	seen clustermap.Map
}

// observer looks at the cluster for everybody who asks, once an interval and only when somebody does.
type observer struct {
	source   Source
	interval time.Duration
	log      *slog.Logger

	mu   sync.Mutex
	last sight
	at   time.Time
}

// look returns the newest sight, which is no older than an interval. Looks are made one at a time; who comes meanwhile waits for the one that
// is made. A look goes on when the one who asked for it has gone, since others may wait for it.
func (o *observer) look(ctx context.Context) sight {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.at.IsZero() && time.Since(o.at) < o.interval {
		return o.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookPatience)
	defer cancel()
	o.last = o.observe(ctx)
	o.at = time.Now()
	return o.last
}

func (o *observer) observe(ctx context.Context) sight {
	m, err := o.source(ctx)
	if err != nil {
		o.log.Debug("the cluster cannot be seen", "error", err)
		return sight{Title: "The cluster cannot be seen", Trouble: err.Error()}
	}
	picture, err := m.SVG()
	if err != nil {
		return sight{Title: "The map cannot be drawn", Trouble: err.Error()}
	}
	return sight{Title: m.Title(), Healthy: m.Healthy, Picture: string(withoutDeclaration(picture)), seen: m}
}
