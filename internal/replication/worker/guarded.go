package worker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/guard"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// refusedPause is after how long what the program was kept from replacing is looked at again, in case that nothing else tells of it.
const refusedPause = time.Second

// shim is the name of this program by which it starts the pair's.
func (c Config) shim() string { return filepath.Join(c.RunDir, guard.Name) }

// makeShim makes this program known by that name.
func (c Config) makeShim() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Remove(c.shim()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(self, c.shim())
}

// serve guards a program that was started, so that it replaces nothing that it has not looked at. The channel is closed when that is over, before
// which failed is called when it could not go on: the program cannot replace anything any more.
func (h *Host) serve(g *guard.Guard, failed func()) <-chan struct{} {
	served := make(chan struct{})
	roots := []string{h.Config.Path}
	if canonical, err := filepath.EvalSymlinks(h.Config.Path); err == nil && canonical != h.Config.Path {
		roots = append(roots, canonical)
	}
	thread := 0
	go func() {
		defer close(served)
		err := g.Serve(guard.Tree{
			Roots: roots, UID: h.Account.UID, GID: h.Account.GID, Groups: h.Account.Groups,
			Temporary: h.engine.Temporary, Becomes: h.engine.Becomes, Beside: h.engine.Beside, Aside: h.engine.Aside,
			Looked: func() time.Time {
				h.mu.Lock()
				defer h.mu.Unlock()
				return h.looked
			},
			Refused: h.refused, Placed: func(p string, directory bool) { h.carried.placed(h.Config.Path, p, directory) },
			Serving: func(id int) {
				thread = id
				h.board.set(func() { h.board.guard = id })
			},
			Log: h.Log,
		})
		h.after.drain()
		h.board.set(func() {
			if h.board.guard == thread {
				h.board.guard = 0 // another one may get its id
			}
		})
		switch {
		case errors.Is(err, guard.ErrUnguarded):
			h.Log.Warn("what an application puts into the place of a file in the moment in which that is replaced from the other side is lost", "error", err)
		case err != nil:
			h.Log.Error("the program is not guarded any more, and is started again", "error", err)
			failed()
		}
	}()
	return served
}

// refused has a path looked at again, soon.
func (h *Host) refused(path string) {
	time.AfterFunc(refusedPause, func() { h.engine.Changed(watch.Batch{Changes: []watch.Change{{Path: path}}}) })
}
