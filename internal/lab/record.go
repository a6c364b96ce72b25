//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// stateDir holds a folder for every lab of this machine, living or not.
const stateDir = "/run/atoll-lab"

// DataVariable names the folder for disks when it is not to be the default.
const DataVariable = "ATOLL_LAB_DATA"

// DefaultDataDir is where nodes' disks are unless DataVariable says otherwise. It is not below stateDir, which is in
// memory on most machines.
func DefaultDataDir() string {
	if dir := os.Getenv(DataVariable); dir != "" {
		return dir
	}
	return "/var/lib/atoll-lab"
}

// files are the places of one lab.
type files struct{ name string }

func (f files) dir() string      { return filepath.Join(stateDir, f.name) }
func (f files) record() string   { return filepath.Join(f.dir(), "lab.json") }
func (f files) socket() string   { return filepath.Join(f.dir(), "control.sock") }
func (f files) log() string      { return filepath.Join(f.dir(), "daemon.log") }
func (f files) operator() string { return filepath.Join(f.dir(), "operator") }

// InUseError means that a living process runs the lab.
type InUseError struct {
	Name string
	PID  int // 0 when it has not said so yet
}

// Error names the lab and its process.
func (e *InUseError) Error() string {
	return fmt.Sprintf("lab %q is running already (process %d)", e.Name, e.PID)
}

// recordData is what must be known to remove a lab whose process is gone.
type recordData struct {
	Name      string    `json:"name"`
	PID       int       `json:"pid"`
	PIDStart  uint64    `json:"pid_start"` // tells the process from a later one with the same number
	DataDir   string    `json:"data_dir"`
	Temporary bool      `json:"temporary"`
	Started   time.Time `json:"started"`
	// Before are earlier labs of the name of which something may be left.
	Before []recordData `json:"before,omitempty"`
}

// all returns it and what was before it.
func (d recordData) all() []recordData {
	before := d.Before
	d.Before = nil
	return append(slices.Clone(before), d)
}

// record is a lab's claim to its name: a lock on its folder, which the kernel drops when the process dies.
type record struct {
	files files
	data  recordData
	lock  *os.File
	found bool         // an earlier lab left its record
	old   []recordData // what to sweep besides data
}

// claim takes the lab's name. It fails with *InUseError when a living process has it.
func claim(f files, data recordData) (*record, error) {
	lock, err := lockFolder(f)
	if err != nil {
		return nil, err
	}
	r := &record{files: f, data: data, lock: lock}
	if old, err := readRecord(f); err == nil {
		r.found, r.old = true, old.all()
		r.data.Before = r.old
	}
	r.data.PID = os.Getpid()
	give := r.release
	if r.found {
		give = r.keep
	}
	if r.data.PIDStart, err = startOf(r.data.PID); err != nil {
		return nil, errors.Join(err, give())
	}
	if err := writeJSON(f.record(), r.data); err != nil {
		return nil, errors.Join(err, give())
	}
	return r, nil
}

// forgetBefore drops what was before from the record, when nothing of it is left.
func (r *record) forgetBefore() error {
	if len(r.data.Before) == 0 {
		return nil
	}
	r.old, r.data.Before = nil, nil
	return writeJSON(r.files.record(), r.data)
}

// lockFolder makes the lab's folder and locks it, without waiting.
func lockFolder(f files) (*os.File, error) {
	for {
		if err := nodes.MakeShared(f.dir(), 0o700); err != nil {
			return nil, fmt.Errorf("make the lab's folder: %w", err)
		}
		dir, err := os.Open(f.dir())
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open the lab's folder: %w", err)
		}
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return nil, errors.Join(fmt.Errorf("lock the lab's folder: %w", err), dir.Close())
			}
			old, _ := readRecord(f)
			return nil, errors.Join(&InUseError{Name: f.name, PID: old.PID}, dir.Close())
		}
		// Whoever held the lock before may have removed the folder at the end.
		mine, errMine := dir.Stat()
		there, errThere := os.Stat(f.dir())
		if errMine == nil && errThere == nil && os.SameFile(mine, there) {
			return dir, nil
		}
		if err := dir.Close(); err != nil {
			return nil, fmt.Errorf("close the lab's folder: %w", err)
		}
	}
}

// sweep removes everything that carries the lab's name except its record.
func (r *record) sweep(ctx context.Context) error {
	for _, data := range append(r.old, r.data) {
		if !strings.HasPrefix(filepath.Base(data.DataDir), "lab-") {
			return fmt.Errorf("the record of lab %q names the data folder %q, which no lab has: remove it by hand", data.Name, data.DataDir)
		}
		// Nodes go first: their processes are in the network, too, and die better with their control group.
		if err := within(ctx, func(ctx context.Context) error { return nodes.Sweep(ctx, r.files.name, data.DataDir) }); err != nil {
			return err
		}
		removeIfEmpty(filepath.Dir(data.DataDir))
	}
	return within(ctx, func(ctx context.Context) error { return network.Sweep(ctx, r.files.name) })
}

// within gives each part of a removal its time: what large disks take is not taken from the network.
func within(ctx context.Context, remove func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	return remove(ctx)
}

// keep gives the name up, and leaves the record to whoever removes what is left.
func (r *record) keep() error { return r.lock.Close() }

// release removes the record and gives the name up.
func (r *record) release() error {
	err := os.RemoveAll(r.files.dir())
	err = errors.Join(err, r.lock.Close())
	removeIfEmpty(stateDir)
	return err
}

// removeIfEmpty removes a folder that labs share once the last of them is gone.
func removeIfEmpty(dir string) {
	// Any other lab's folder keeps it, and that is fine.
	_ = unix.Rmdir(dir)
}

func readRecord(f files) (recordData, error) {
	var data recordData
	text, err := os.ReadFile(f.record())
	if err != nil {
		return data, fmt.Errorf("read the lab's record: %w", err)
	}
	if err := json.Unmarshal(text, &data); err != nil {
		return data, fmt.Errorf("read the lab's record %s: %w", f.record(), err)
	}
	return data, nil
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return writeFile(path, append(text, '\n'))
}

// writeFile replaces a private file as a whole.
func writeFile(path string, data []byte) error {
	if err := renameio.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// startOf returns when a process started, in ticks since boot.
func startOf(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("look at process %d: %w", pid, err)
	}
	// The name in parentheses may contain anything; the start is the 20th field after it.
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(f) < 20 {
		return 0, fmt.Errorf("look at process %d: its state is cut short", pid)
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// alive says whether the process of a record still runs.
func (d recordData) alive() bool {
	start, err := startOf(d.PID)
	return err == nil && start == d.PIDStart
}

// LogFile is where the background process of a lab writes its log.
func LogFile(name string) string { return files{name: name}.log() }
