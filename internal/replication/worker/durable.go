package worker

import (
	"context"
	"time"
)

// syncInterval is how often what a program has written gets to the disk, at least. The program does not see to it: after a loss of power, files
// that it had received would be empty, and if what it knows of them were on the disk, it would take that for a change and give it to the other
// side. So the state says, from before anything is written until all of it is on the disk, that it is not.
const syncInterval = time.Second

// writes notes that the program is about to write into the tree, and to change what it knows.
func (h *Host) writes() error {
	h.syncing.Lock()
	defer h.syncing.Unlock()
	h.rounds++
	h.after.writes()
	if h.unsynced {
		return nil
	}
	if err := h.state.setUnsynced(true); err != nil {
		return err
	}
	h.unsynced = true
	return nil
}

// Rests tells that the program waits on this side until Gate has been asked: it has ended what it was told to do before, and written down what
// it knows of it.
func (h *Host) Rests() {
	h.syncing.Lock()
	defer h.syncing.Unlock()
	h.ended = h.rounds
	h.after.rests()
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

// keepSynced syncs now and then until ctx ends.
func (h *Host) keepSynced(ctx context.Context) {
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := h.sync(false); err != nil {
			h.Log.Warn("what was received may be lost if the machine loses its power now", "error", err)
		}
	}
}
