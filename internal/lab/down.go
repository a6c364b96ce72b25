//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// How long the process of a lab gets to remove it in order, and to obey a signal.
const (
	downPatience = 2*closeTimeout + 5*time.Second
	termPatience = 20 * time.Second
)

// Down removes a lab with everything it made, also when its process hangs or is gone. found says whether there was
// anything that could be called a lab. Calling it again does nothing.
func Down(ctx context.Context, name string) (found bool, err error) {
	if !names.MatchString(name) {
		return false, fmt.Errorf("%q is no name for a lab", name)
	}
	if network.Inside(name) {
		return true, fmt.Errorf("this command runs in the network of lab %q and would end with it: leave that shell first", name)
	}
	f := files{name: name}
	_, err = os.Stat(f.record()) // the folder alone may be another Down at work
	found = err == nil
	lock, err := evict(ctx, f)
	if err != nil {
		return found, fmt.Errorf("remove lab %q: %w", name, err)
	}
	r := &record{files: f, lock: lock, data: recordData{Name: name, DataDir: filepath.Join(DefaultDataDir(), "lab-"+name)}}
	if old, err := readRecord(f); err == nil {
		r.old = old.all()
	}
	if err := r.sweep(ctx); err != nil {
		return found, errors.Join(fmt.Errorf("remove lab %q: %w", name, err), r.keep())
	}
	return found, r.release()
}

// evict ends the process that runs a lab and returns the lab's lock.
func evict(ctx context.Context, f files) (*os.File, error) {
	lock, err := lockFolder(f)
	var inUse *InUseError
	if !errors.As(err, &inUse) {
		return lock, err
	}
	ask, cancel := context.WithTimeout(ctx, 5*time.Second)
	asked := Connect(f.name).down(ask)
	cancel()
	if asked == nil {
		if lock, err := waitLock(ctx, f, downPatience); err == nil || !errors.As(err, &inUse) {
			return lock, err
		}
	}
	// It does not listen: it is starting, hangs, or is stopped.
	for _, s := range []struct {
		signal   unix.Signal
		patience time.Duration
	}{{unix.SIGTERM, termPatience}, {unix.SIGKILL, 5 * time.Second}} {
		data, err := readRecord(f)
		if err == nil && data.alive() {
			if err := unix.Kill(data.PID, s.signal); err != nil && !errors.Is(err, unix.ESRCH) {
				return nil, fmt.Errorf("end process %d: %w", data.PID, err)
			}
		}
		if lock, err := waitLock(ctx, f, s.patience); err == nil || !errors.As(err, &inUse) {
			return lock, err
		}
	}
	return nil, inUse
}

// waitLock tries to lock the lab's folder for a while.
func waitLock(ctx context.Context, f files, patience time.Duration) (*os.File, error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		lock, err := lockFolder(f)
		var inUse *InUseError
		if !errors.As(err, &inUse) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline.C:
			return nil, err
		case <-tick.C:
		}
	}
}

// Summary is one lab of this machine.
type Summary struct {
	Name      string    `json:"name"`
	PID       int       `json:"pid"`
	Started   time.Time `json:"started"`
	Running   bool      `json:"running"`
	Temporary bool      `json:"temporary"`
}

// List returns every lab of this machine, also those whose process is gone.
func List() ([]Summary, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var list []Summary
	for _, e := range entries {
		data, err := readRecord(files{name: e.Name()})
		if err != nil {
			data = recordData{Name: e.Name()} // a lab that was killed before it wrote anything
		}
		list = append(list, Summary{
			Name: data.Name, PID: data.PID, Started: data.Started, Running: data.alive(), Temporary: data.Temporary,
		})
	}
	return list, nil
}

// SweepDead removes the temporary labs whose process is gone, such as those of tests that were killed.
func SweepDead(ctx context.Context) error {
	list, err := List()
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range list {
		if s.Temporary && !s.Running {
			_, err := Down(ctx, s.Name)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
