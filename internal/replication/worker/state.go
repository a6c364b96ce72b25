package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
)

// state is what a worker knows of earlier ones. It is safe for concurrent use.
type state struct {
	file string
	mu   sync.Mutex
	kept kept
}

// kept is the state as it is in its file.
type kept struct {
	// Machine is the machine's id (machine-id(5)): another machine has other trees, whatever its disk was copied from.
	Machine string `json:"machine"`
	// Tree is the root that was marked; "" before the first time.
	Tree string `json:"tree,omitempty"`
	// ID is what the tree's marker holds, Next what it is about to hold: a tree with anything else is not the one that was synchronized last.
	ID   string `json:"id,omitempty"`
	Next string `json:"next,omitempty"`
	// Terms is the digest of what else the engine's knowledge depends on, and Distrusted tells that it is of no use.
	Terms      string `json:"terms,omitempty"`
	Distrusted bool   `json:"distrusted,omitempty"`
	// Boot is the boot (proc_sys_kernel(5), random) in which the engine last ran, and Unsynced that not all of what it had written was on the
	// disk: then a later boot knows that it was a loss of power, or a crash, that has ended the one before.
	Boot     string `json:"boot,omitempty"`
	Unsynced bool   `json:"unsynced,omitempty"`
	// Behind tells that the tree is older, or has less, than when it was last synchronized.
	Behind bool `json:"behind,omitempty"`
	// Filled tells that the tree was not empty when it was last in step.
	Filled bool `json:"filled,omitempty"`
	// Due tells that changes of the other side have arrived after which the command that runs then (Config.After) has not succeeded.
	Due bool `json:"due,omitempty"`
	// Program is the process that was started last.
	Program *process `json:"program,omitempty"`
}

func readState(dir string) (*state, error) {
	s := &state{file: filepath.Join(dir, "state.json")}
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &s.kept); err != nil {
		return nil, fmt.Errorf("read %s: %w; remove it, and both trees are compared as a whole", s.file, err)
	}
	return s, nil
}

// Established tells whether the tree at that path was marked once.
func (s *state) Established(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Tree == path
}

// Filled tells whether the tree at that path had anything when it was last in step.
func (s *state) Filled(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Tree == path && s.kept.Filled
}

// known tells whether the tree at that path, with that id, is the one that was synchronized last.
func (s *state) known(path, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Tree == path && id != "" && (id == s.kept.ID || id == s.kept.Next)
}

// establish begins with a tree: whatever is known is of another one.
func (s *state) establish(path, id string) error {
	return s.change(func(k *kept) bool {
		k.Behind = k.Behind || k.Tree == path
		k.Tree, k.ID, k.Next, k.Filled, k.Distrusted = path, id, "", false, true
		return true
	})
}

// renew notes that the tree's id is about to change, and then that it has.
func (s *state) renew(id string, done bool) error {
	return s.change(func(k *kept) bool {
		k.Next = id
		if done {
			k.ID, k.Next = id, ""
		}
		return true
	})
}

// begin notes the boot in which an engine is about to run, and tells whether the one before has ended with something not on the disk: what was
// received is not what the engine knows of, and nothing of that is to be relied upon.
func (s *state) begin(boot string) (crashed bool, err error) {
	err = s.change(func(k *kept) bool {
		crashed = k.Unsynced && k.Boot != boot
		if !crashed && k.Boot == boot {
			return false
		}
		if crashed {
			k.Distrusted, k.Behind = true, true
		}
		k.Boot, k.Unsynced = boot, k.Unsynced && crashed
		return true
	})
	return crashed, err
}

func (s *state) unsynced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Unsynced
}

func (s *state) setUnsynced(unsynced bool) error {
	return s.change(func(k *kept) bool {
		if k.Unsynced == unsynced {
			return false
		}
		k.Unsynced = unsynced
		return true
	})
}

func (s *state) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Due
}

func (s *state) setDue(due bool) error {
	return s.change(func(k *kept) bool {
		if k.Due == due {
			return false
		}
		k.Due = due
		return true
	})
}

func (s *state) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Behind
}

// caughtUp notes that both sides were found equal.
func (s *state) caughtUp() error {
	return s.change(func(k *kept) bool {
		if !k.Behind {
			return false
		}
		k.Behind = false
		return true
	})
}

// trusts tells whether what an engine knows is of this machine, this tree and these terms.
func (s *state) trusts(machine, terms string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.kept.Distrusted && s.kept.Machine == machine && s.kept.Terms == terms
}

func (s *state) fill(path string, filled bool) error {
	return s.change(func(k *kept) bool {
		if k.Tree != path || k.Filled == filled {
			return false
		}
		k.Filled = filled
		return true
	})
}

func (s *state) setProgram(p *process) error {
	return s.change(func(k *kept) bool { k.Program = p; return true })
}

func (s *state) program() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Program
}

// settle notes what an engine's knowledge is of from now on. A process of another machine means nothing here.
func (s *state) settle(machine, terms string) error {
	return s.change(func(k *kept) bool {
		if k.Machine == machine && k.Terms == terms && !k.Distrusted {
			return false
		}
		if k.Machine != machine {
			k.Program = nil
		}
		k.Machine, k.Terms, k.Distrusted = machine, terms, false
		return true
	})
}

func (s *state) change(fn func(*kept) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.kept
	if !fn(&next) {
		return nil
	}
	data, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(s.file, append(data, '\n'), 0o600, renameio.WithTempDir(filepath.Dir(s.file))); err != nil {
		return err
	}
	s.kept = next
	return nil
}

// machineID returns the id of this machine.
func machineID() (string, error) {
	data, err := os.ReadFile("/etc/machine-id")
	return strings.TrimSpace(string(data)), err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
