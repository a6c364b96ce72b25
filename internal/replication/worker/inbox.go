package worker

import (
	"io"
	"sync"
)

const (
	// inboxMost is how much may wait in an inbox, in bytes: whoever takes it and whoever brings it may wait for a CPU one after the other.
	inboxMost = 1 << 20
	// inboxPart is how much is read and written at a time, as far as it is there.
	inboxPart = 128 << 10
)

// inbox holds what has come for a program until that takes it. Room and put are for one goroutine, Read and WriteTo for another one.
type inbox struct {
	mu      sync.Mutex
	changed sync.Cond
	// full has what waits, begun how much of that was taken; spare is another such buffer.
	full, spare []byte
	begun       int
	// fresh is where the next part is read into.
	fresh []byte
	// over is how it has ended, closed that nobody takes anything any more.
	over   error
	closed bool
}

func newInbox() *inbox {
	i := &inbox{}
	i.changed.L = &i.mu
	return i
}

// room returns where a part can be read into, for put.
func (i *inbox) room(size int) []byte {
	if cap(i.fresh) < size {
		i.fresh = make([]byte, max(size, maxFrame))
	}
	return i.fresh[:size]
}

// put adds a part when there is room for it, and fails when nobody takes it.
func (i *inbox) put(part []byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for !i.closed && len(i.full) > 0 && len(i.full)+len(part) > inboxMost {
		i.changed.Wait()
	}
	if i.closed {
		return io.ErrClosedPipe
	}
	i.full = append(i.full, part...)
	i.changed.Broadcast()
	return nil
}

// end tells how it has ended. What has come before is there still.
func (i *inbox) end(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = err
	i.changed.Broadcast()
}

// close ends taking and bringing.
func (i *inbox) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	i.changed.Broadcast()
}

// wait waits until something is there, or never will be; mu is held.
func (i *inbox) wait() error {
	for len(i.full) == 0 && !i.closed && i.over == nil {
		i.changed.Wait()
	}
	switch {
	case i.closed:
		return io.ErrClosedPipe
	case len(i.full) > 0:
		return nil
	default:
		return i.over
	}
}

// Read implements io.Reader.
func (i *inbox) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.wait(); err != nil {
		return 0, err
	}
	n := copy(p, i.full[i.begun:])
	if i.begun += n; i.begun == len(i.full) {
		i.full, i.begun = i.full[:0], 0
		i.changed.Broadcast()
	}
	return n, nil
}

// WriteTo implements io.WriterTo. It ends without an error when what came has ended with io.EOF.
func (i *inbox) WriteTo(w io.Writer) (int64, error) {
	var sum int64
	for {
		i.mu.Lock()
		if err := i.wait(); err != nil {
			i.mu.Unlock()
			if err == io.EOF { //nolint:errorlint // it is what io.Copy compares with
				err = nil
			}
			return sum, err
		}
		// All that waits is written without anybody's having to wait for it.
		taken, begun := i.full, i.begun
		i.full, i.begun, i.spare = i.spare[:0], 0, nil
		i.changed.Broadcast()
		i.mu.Unlock()
		n, err := w.Write(taken[begun:])
		sum += int64(n)
		if err != nil {
			return sum, err
		}
		i.mu.Lock()
		i.spare = taken[:0]
		i.mu.Unlock()
	}
}
