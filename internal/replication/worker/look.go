package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// look ends with a reason when the tree, or the program, is not the one any more that was begun with.
func (w *worker) look(ctx context.Context, begun os.FileInfo) error {
	program, programErr := os.Executable()
	mine, mineErr := os.Stat("/proc/self/exe")
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	renewed, whole := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if since := time.Since(renewed); since > renewInterval || since > renewSynced && w.syncedSince(renewed) {
			renewed = time.Now()
			if err := w.tree.renew(); err != nil {
				w.log.Warn("the tree's id is not made anew", "error", err)
			}
		}
		if engine, _ := w.shown.get(); time.Since(whole) > wholeInterval && engine.Pending() == 0 {
			whole = time.Now()
			engine.Changed(watch.Batch{All: true, Reason: "nobody has for hours"})
		}
		if now, err := os.Stat(program); err == nil && errors.Join(programErr, mineErr) == nil && !os.SameFile(mine, now) {
			return errUpdated
		}
		if err := w.tree.check(); err != nil {
			return fmt.Errorf("%w: %w", ErrReplaced, err)
		}
		if now, err := identity(w.cfg.Path); err != nil || !os.SameFile(begun, now) {
			return ErrReplaced
		}
	}
}

// syncedSince tells whether both sides were found equal after a moment.
func (w *worker) syncedSince(moment time.Time) (since bool) {
	w.board.set(func() { since = w.board.synced.After(moment) })
	return since
}

func identity(tree string) (os.FileInfo, error) { return os.Lstat(tree) }
