package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// Names inside the state directory.
const (
	identityFile = "identity.pem"
	joinFile     = "join.json"
	leftFile     = "left.json"
	leavingFile  = "leaving.json"
	observedFile = "observed.json"
	sequenceFile = "sequence.json"
	servingFile  = "serving.json"
	meshKeysFile = "meshkeys.json"
	storeDir     = "store"
	// keysDir holds the keys that the node serves HTTPS with.
	keysDir = "keys"
	// hardwareFile goes last when a membership is taken back: it keeps a copy's identity from being used.
	hardwareFile = "hardware.json"

	// damagedPrefix begins the names of directories with what was set aside because it could not be used.
	damagedPrefix = "damaged-"
	// maxDamaged is how many of them are kept: enough to see how it began and that it goes on, while a disk that damages
	// the state at each start is not filled as well.
	maxDamaged = 16
)

// state is the agent's directory. Only one process may use it at a time.
type state struct {
	dir string
}

func (s state) path(name string) string { return filepath.Join(s.dir, name) }

// make creates the directory and closes it to everybody but root.
func (s state) make() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return fmt.Errorf("close the state directory to others: %w", err)
	}
	return nil
}

// write puts data into a file that appears whole or not at all and is on the disk when write returns.
func (s state) write(name string, data []byte) error {
	if err := renameio.WriteFile(s.path(name), data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	return s.sync()
}

// sync makes renames and removals in the directory survive a power cut.
func (s state) sync() (err error) {
	d, err := os.Open(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync the state directory: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the state directory: %w", err)
	}
	return nil
}

func (s state) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return s.write(name, append(data, '\n'))
}

// readJSON reads a file into v and says whether there is one.
func (s state) readJSON(name string, v any) (found bool, err error) {
	data, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", s.path(name), err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return true, fmt.Errorf("read %s: %w", s.path(name), err)
	}
	return true, nil
}

// setAside returns the names of what was set aside as damaged, the oldest first.
func (s state) setAside() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for what was set aside: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), damagedPrefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// remove deletes a file or directory; that it is not there is no error.
func (s state) remove(name string) error {
	if err := os.RemoveAll(s.path(name)); err != nil {
		return fmt.Errorf("remove %s: %w", s.path(name), err)
	}
	return s.sync()
}
