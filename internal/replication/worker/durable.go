package worker

import (
	"context"
	"time"
)

// syncInterval is how often what a program has written gets to the disk: no more often, and no less often while it goes on writing. The program does
// not see to it: after a loss of power, files that it had received would be empty, and if what it knows of them were on the disk, it would take that for
// a change and give it to the other side. So the state says, from before anything is written until all of it is on the disk, that it is not.
//
// What comes alone, such as a canary, gets there as soon as its round has ended: that a machine loses its power just then, and has to compare its tree as
// a whole, is the less likely the shorter that is. A canary is no exception to the mark: what the program knows is written down anew in its round, too, and
// may be damaged.
const syncInterval = time.Second

// writes notes that the program is about to write into the tree, and to change what it knows.
func (h *Host) writes() error {
	h.syncing.Lock()
	defer h.syncing.Unlock()
	if h.ended == h.rounds {
		h.begun = time.Now()
	}
	h.rounds++
	h.after.writes()
	if h.unsynced {
		return nil
	}
	if err := h.state.setUnsynced(true); err != nil {
		return err
	}
	h.unsynced, h.marked = true, time.Now()
	poke(h.wrote)
	return nil
}

// Rests tells that the program waits on this side until Gate has been asked: it has ended what it was told to do before, and written down what
// it knows of it.
func (h *Host) Rests() {
	h.syncing.Lock()
	defer h.syncing.Unlock()
	if h.ended != h.rounds && !h.fresh {
		h.carried.ends(time.Since(h.begun))
	}
	h.fresh = false
	h.ended = h.rounds
	h.after.rests()
	poke(h.wrote)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// starts notes that the program is started.
func (h *Host) starts() {
	h.syncing.Lock()
	defer h.syncing.Unlock()
	h.fresh = true
}

// sync brings the tree to the disk, and after it what is known of it, and notes that it is there unless the program goes on writing. Over tells
// that it has ended.
func (h *Host) sync(over bool) error {
	h.syncing.Lock()
	unsynced, rounds := h.unsynced, h.rounds
	h.syncing.Unlock()
	if !unsynced {
		return nil
	}
	for _, directory := range []string{h.Config.Path, h.Config.StateDir} {
		if err := syncFileSystem(directory); err != nil {
			return err
		}
	}
	h.syncing.Lock()
	defer h.syncing.Unlock()
	if rounds != h.rounds || !over && (rounds != h.ended || !h.after.settled()) {
		return nil
	}
	if err := h.state.setUnsynced(false); err != nil {
		return err
	}
	h.unsynced = false
	return nil
}

// keepSynced syncs when a round has ended, and now and then while one goes on, until ctx ends. While nothing is written it does nothing.
func (h *Host) keepSynced(ctx context.Context) {
	again := time.NewTimer(0) // for what an earlier worker has left
	defer again.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wrote:
		case <-again.C:
		}
		if wait := h.syncDue(last, time.Now()); wait > 0 {
			again.Reset(wait)
			continue
		}
		if err := h.sync(false); err != nil {
			h.Log.Warn("what was received may be lost if the machine loses its power now", "error", err)
		}
		last = time.Now()
		poke(h.wrote) // more may have been written
	}
}

// syncDue returns after what time to sync, or to ask again; the last time was at a moment.
func (h *Host) syncDue(last, now time.Time) time.Duration {
	h.syncing.Lock()
	defer h.syncing.Unlock()
	if !h.unsynced {
		return time.Hour // or when that has changed
	}
	if h.ended != h.rounds && h.marked.After(last) {
		last = h.marked
	}
	return syncInterval - now.Sub(last)
}
