package probes

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
)

const (
	// fitAgain is how long it takes until a driver that has failed is told again.
	fitAgain = 10 * time.Second
	// fitWithin is how long a driver may take.
	fitWithin = time.Minute
	// fitRepeat is how often a driver is told the same: it may have had no view.
	fitRepeat = time.Minute
)

// fits are what the mesh's driver was told of the sizes of packets that paths take.
type fits struct {
	// driver is who was told what, and when; it belongs to Run alone.
	driver mesh.Fitter
	told   map[string]int
	at     time.Time
	// busy is held while the driver is told, failed says that it has not taken it.
	busy   sync.Mutex
	failed bool
	done   sync.WaitGroup
}

// fit has the mesh send packets that the paths to other nodes take. It does not wait for the mesh.
func (m *Manager) fit(ctx context.Context, paths map[string]int, now time.Time) {
	driver, able := m.sight.Driver.(mesh.Fitter)
	f := &m.fits
	if !able || len(paths) == 0 || !f.busy.TryLock() {
		return
	}
	again := fitRepeat
	if f.failed {
		again = fitAgain
	}
	if driver == f.driver && maps.Equal(f.told, paths) && now.Sub(f.at) < again {
		f.busy.Unlock()
		return
	}
	f.driver, f.told, f.at = driver, paths, now
	f.done.Go(func() {
		defer f.busy.Unlock()
		ctx, cancel := context.WithTimeout(ctx, fitWithin)
		defer cancel()
		err := driver.Fit(ctx, paths)
		if f.failed = err != nil && !errors.Is(err, context.Canceled); f.failed {
			m.cfg.Log.Error("packets of the mesh may be larger than its paths take", "error", err)
		}
	})
}
