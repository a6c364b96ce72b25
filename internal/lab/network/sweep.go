//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep removes every namespace that carries the lab's name, whoever made it, and ends the processes that are still in
// one. Cables and rules go with their namespaces.
func Sweep(ctx context.Context, lab string) error {
	entries, err := os.ReadDir(namespaces)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list network namespaces: %w", err)
	}
	var mine []Namespace
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Prefix(lab)) {
			mine = append(mine, Namespace(e.Name()))
		}
	}
	if err := evict(ctx, mine); err != nil {
		return err
	}
	var errs []error
	for _, n := range mine {
		errs = append(errs, n.remove(ctx))
	}
	return errors.Join(errs...)
}

// identity is what tells namespaces apart; a file without a namespace on it equals none.
type identity struct{ dev, ino uint64 }

// Inside says whether this process runs in the network of a lab, as everything in a shell of the operator's does.
func Inside(lab string) bool {
	mine, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return false
	}
	there, err := filepath.Glob(filepath.Join(namespaces, Prefix(lab)+"*"))
	if err != nil {
		return false
	}
	for _, path := range there {
		if info, err := os.Stat(path); err == nil && os.SameFile(mine, info) {
			return true
		}
	}
	return false
}

// evict ends the processes inside namespaces: politely at first, since an operator's command may be among them.
func evict(ctx context.Context, list []Namespace) error {
	wanted := map[identity]bool{}
	for _, n := range list {
		var s unix.Stat_t
		if err := unix.Stat(n.Path(), &s); err == nil {
			wanted[identity{s.Dev, s.Ino}] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	started := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		inside, err := processes(wanted)
		if err != nil || len(inside) == 0 {
			return err
		}
		signal := unix.SIGTERM
		if time.Since(started) > time.Second {
			signal = unix.SIGKILL
		}
		for _, pid := range inside {
			_ = unix.Kill(pid, signal)
		}
		if time.Since(started) > 10*time.Second {
			return fmt.Errorf("processes %v will not leave the lab's network", inside)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// processes lists whoever is in one of the namespaces, except this process.
func processes(wanted map[identity]bool) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var s unix.Stat_t
		if err := unix.Stat("/proc/"+e.Name()+"/ns/net", &s); err == nil && wanted[identity{s.Dev, s.Ino}] && !zombie(pid) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// zombie says whether a process is dead and only waits for its parent.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}
