package cold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPause is how often a lock that somebody else has is tried.
const lockPause = 50 * time.Millisecond

// lockFile waits for a lock that lasts until the file is closed here and in every program that has inherited it (flock(2)).
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(lockPause):
		}
	}
}

// open returns the side of this node. Programs that it starts inherit the lock.
func open(cfg Config, lock *os.File, log *slog.Logger) (Side, error) {
	m, err := NewMover(cfg, log)
	if err != nil {
		return nil, err
	}
	m.lock = lock
	return m, nil
}
