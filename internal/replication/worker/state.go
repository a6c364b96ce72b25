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
	// Filled tells that the tree was not empty when it was last in step.
	Filled bool `json:"filled,omitempty"`
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

func (s *state) establish(path string) error {
	return s.change(func(k *kept) bool {
		if k.Tree == path {
			return false
		}
		k.Tree, k.Filled = path, false
		return true
	})
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

func (s *state) machine() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Machine
}

// settle notes the machine. A process of another one means nothing here.
func (s *state) settle(machine string) error {
	return s.change(func(k *kept) bool {
		if k.Machine == machine {
			return false
		}
		k.Machine, k.Program = machine, nil
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
