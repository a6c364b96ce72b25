package watch

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// loop reads the source until Close.
func (w *Watcher) loop() {
	defer close(w.done)
	defer func() {
		if w.source != nil {
			w.source.close()
		}
		_ = w.mounts.close()
		_ = w.stopped.Close()
		w.fail(ErrClosed)
	}()
	looked := time.Now()
	for {
		select {
		case stall := <-w.stalls:
			stall()
		default:
		}
		ready, err := w.poll(looked)
		if err != nil {
			w.fail(err)
			return
		}
		if ready.stop {
			return
		}
		var flushes []chan struct{}
		if ready.flush {
			flushes = w.takeFlushes()
		}
		if ready.source || len(flushes) > 0 && w.source != nil {
			if !w.read() {
				return
			}
		}
		for _, flushed := range flushes {
			close(flushed)
		}
		now := time.Now()
		w.settling.expire(now, w.report)
		if !w.linked.IsZero() && !now.Before(w.linked) {
			w.linked, w.linkedLast = time.Time{}, now
			w.rescan(SeveralNames)
		}
		reason := ""
		if ready.mounts && w.source != nil && (!w.source.intact() || w.mounts.changed()) {
			reason = "a file system was mounted or unmounted at " + w.root + ", above or below"
		}
		if now.Sub(looked) >= rootEvery {
			looked = now
			if w.source == nil {
				reason = w.root + " is there again"
			} else if !w.inPlace() {
				reason = w.root + " was replaced or is gone"
			}
		}
		if reason != "" && !w.reopen(reason) {
			return
		}
	}
}

// ready is what poll has found.
type ready struct {
	stop, flush, source, mounts bool
}

// poll waits until there is something to do.
func (w *Watcher) poll(looked time.Time) (ready, error) {
	if w.strangers {
		// Most of what happens on a file system may be no business of this tree, a database's writes say. Whatever comes
		// meanwhile waits in the kernel, where events of one file become one.
		fds := []unix.PollFd{{Fd: int32(w.stopped.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, strangersPause); err != nil && !errors.Is(err, unix.EINTR) {
			return ready{}, err
		}
	}
	fds := []unix.PollFd{
		{Fd: int32(w.stopped.Fd()), Events: unix.POLLIN},
		{Fd: int32(w.mounts.descriptor()), Events: unix.POLLPRI},
		{Fd: -1, Events: unix.POLLIN}, // ignored while it is -1
	}
	if w.source != nil {
		fds[2].Fd = int32(w.source.descriptor())
	}
	until := looked.Add(rootEvery)
	if due, ok := w.settling.pending(); ok && due.Before(until) {
		until = due
	}
	if !w.linked.IsZero() && w.linked.Before(until) {
		until = w.linked
	}
	timeout := max(time.Until(until).Milliseconds()+1, 0)
	if _, err := unix.Poll(fds, int(timeout)); err != nil && !errors.Is(err, unix.EINTR) {
		return ready{}, err
	}
	// What was written to the pipe before it was closed is of no interest any more.
	closed := fds[0].Revents&^unix.POLLIN != 0
	return ready{stop: closed, flush: !closed && fds[0].Revents != 0, mounts: fds[1].Revents != 0, source: fds[2].Revents != 0}, nil
}

// read takes everything from the source, and says whether the watcher can go on.
func (w *Watcher) read() bool {
	w.strangers = true
	lost, err := w.source.read(w.event)
	w.mu.Lock()
	w.status.Watches = w.source.watches()
	w.mu.Unlock()
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		// What happens in a directory without a watch is not told by anybody.
		w.fail(limit)
		return false
	case err != nil:
		return w.reopen("the kernel's events could not be read: " + err.Error())
	case lost != "":
		w.rescan(lost)
	}
	return true
}

// event takes one event.
func (w *Watcher) event(e event) {
	w.strangers = false
	switch e.what {
	case created, written:
		w.settling.touch(e.path, e.what == created, e.own, time.Now())
	case closed, changed:
		w.report(Change{Path: e.path, Own: w.settling.done(e.path, e.own)})
	case tree:
		w.add(Change{Path: e.path, Recursive: true, Own: e.own})
	}
}

// report adds a change of what may be a file. The kernel names the one name by which a file was changed: when it has
// others, these may be in the tree, too, and nobody but a scan can find them.
func (w *Watcher) report(c Change) {
	var stat unix.Stat_t
	if err := unix.Lstat(Join(w.root, c.Path), &stat); err == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG && stat.Nlink > 1 && w.linked.IsZero() {
		w.linked = time.Now().Add(w.options.Settle)
		if next := w.linkedLast.Add(linkedEvery); w.linked.Before(next) {
			w.linked = next
		}
	}
	w.add(c)
}

// inPlace reports whether the root is still the directory that is watched.
func (w *Watcher) inPlace() bool {
	var stat unix.Stat_t
	err := unix.Stat(w.root, &stat)
	return err == nil && w.identity == identity{stat.Dev, stat.Ino}
}

// reopen begins anew, demands that everything be looked at, and says whether the watcher can go on. A tree that is not
// there, or cannot be watched, is tried again until it can.
func (w *Watcher) reopen(reason string) bool {
	again := w.source == nil
	if !again {
		w.source.close()
		w.source = nil
	}
	err := w.begin(context.Background())
	var limit *LimitError
	if errors.As(err, &limit) {
		w.fail(err)
		return false
	}
	if err != nil {
		w.mu.Lock()
		w.status.Missing, w.status.Watches = err.Error(), 0
		w.mu.Unlock()
		if again {
			return true // as before
		}
	}
	w.rescan(reason)
	return true
}
