// Package hosttest is a machine in memory, whose state prints as text for tests to compare.
package hosttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// Host is a host.System in memory. Commands do nothing and succeed unless Handle says otherwise. It is safe for concurrent
// use.
type Host struct {
	mu       sync.Mutex
	files    map[string]file
	units    map[string]*unit
	commands []string
	handlers map[string]func(host.Command) (host.Output, error)
	signals  map[string]func(signal string)
	started  map[string]func()
	lastPID  int
}

type file struct {
	data []byte
	mode fs.FileMode
}

type unit struct {
	host.UnitStatus
	starts  int
	signals []string
}

// New returns an empty machine.
func New() *Host {
	return &Host{
		files: map[string]file{}, units: map[string]*unit{},
		handlers: map[string]func(host.Command) (host.Output, error){},
		signals:  map[string]func(string){},
		started:  map[string]func(){},
		lastPID:  1000,
	}
}

// Handle makes fn answer every command of that name. Fn may use the host.
func (h *Host) Handle(name string, fn func(host.Command) (host.Output, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[name] = fn
}

// HandleSignal makes fn answer every signal that is sent to a unit. Fn may use the host.
func (h *Host) HandleSignal(unit string, fn func(signal string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signals[unit] = fn
}

// HandleStart makes fn run whenever a unit starts, as its process would. Fn may use the host.
func (h *Host) HandleStart(unit string, fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started[unit] = fn
}

// Kill ends a unit's process as if it had crashed.
func (h *Host) Kill(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u := h.units[name]; u != nil {
		u.Active, u.State, u.MainPID = false, "failed", 0
	}
}

// Text returns the machine's state: every file with its mode and content, every unit, and the changing commands since the
// last call, in order. The content of files that only root may read is not printed.
func (h *Host) Text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h.files)) {
		f := h.files[name]
		fmt.Fprintf(&b, "file %s %04o\n", name, f.mode)
		if f.mode&0o077 == 0 {
			b.WriteString("\t(secret)\n")
			continue
		}
		for line := range strings.Lines(string(f.data)) {
			b.WriteString("\t" + strings.TrimRight(line, "\n") + "\n")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.units)) {
		u := h.units[name]
		fmt.Fprintf(&b, "unit %s enabled=%t running=%t starts=%d signals=%v\n", name, u.Enabled, u.Active, u.starts, u.signals)
	}
	for _, c := range h.commands {
		b.WriteString("run " + c + "\n")
	}
	h.commands = nil
	return b.String()
}

// Run answers by the command's handler, or with nothing.
func (h *Host) Run(ctx context.Context, c host.Command) (host.Output, error) {
	if err := ctx.Err(); err != nil {
		return host.Output{}, err
	}
	h.mu.Lock()
	fn := h.handlers[c.Name]
	if !c.ReadOnly {
		h.commands = append(h.commands, c.String())
	}
	h.mu.Unlock()
	if fn == nil {
		return host.Output{}, nil
	}
	return fn(c)
}

// Fail returns the error that a command has that exits with code after writing stderr.
func Fail(c host.Command, code int, stderr string) error {
	return &host.CommandError{Command: c.String(), ExitCode: code, Output: stderr, Err: fmt.Errorf("exit status %d", code)}
}

// ReadFile returns a file's content.
func (h *Host) ReadFile(name string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, ok := h.files[path.Clean(name)]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(f.data), nil
}

// Append adds text to a file, as a daemon does to its log.
func (h *Host) Append(name, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, ok := h.files[name]
	if !ok {
		f.mode = 0o644
	}
	f.data = append(slices.Clone(f.data), text...)
	h.files[name] = f
}

// WriteFile stores a file.
func (h *Host) WriteFile(name string, data []byte, mode fs.FileMode) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name = path.Clean(name)
	if old, ok := h.files[name]; ok && old.mode == mode && string(old.data) == string(data) {
		return false, nil
	}
	h.files[name] = file{data: slices.Clone(data), mode: mode}
	return true, nil
}

// Remove removes a file or everything below a directory.
func (h *Host) Remove(name string) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name = path.Clean(name)
	before := len(h.files)
	maps.DeleteFunc(h.files, func(at string, _ file) bool { return at == name || strings.HasPrefix(at, name+"/") })
	return len(h.files) != before, nil
}

// ReadDir returns the names in a directory.
func (h *Host) ReadDir(name string) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[string]bool{}
	for at := range h.files {
		if rest, below := strings.CutPrefix(at, path.Clean(name)+"/"); below {
			first, _, _ := strings.Cut(rest, "/")
			seen[first] = true
		}
	}
	if len(seen) == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// Units returns the machine's services.
func (h *Host) Units() host.Units { return units{h} }

type units struct{ h *Host }

// errNoUnit is what systemd says of a unit that is not there.
var errNoUnit = errors.New("unit not loaded")

func (s units) with(name string, edit func(*unit)) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	u := s.h.units[name]
	if u == nil {
		return fmt.Errorf("unit %s: %w", name, errNoUnit)
	}
	edit(u)
	return nil
}

// start is called with the host locked; what it returns is to be called without.
func (s units) start(name string, u *unit) func() {
	s.h.lastPID++
	u.Active, u.State, u.MainPID = true, "active", s.h.lastPID
	u.starts++
	if fn := s.h.started[name]; fn != nil {
		return fn
	}
	return func() {}
}

func (s units) Ensure(_ context.Context, want host.Unit) (bool, error) {
	written, err := s.h.WriteFile(path.Join(host.UnitDirectory, want.Name), want.Content, 0o644)
	if err != nil {
		return false, err
	}
	then := func() {}
	defer func() { then() }()
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	u := s.h.units[want.Name]
	if u == nil {
		u = &unit{UnitStatus: host.UnitStatus{Exists: true, State: "inactive"}}
		s.h.units[want.Name] = u
	}
	changed := written || u.Enabled != want.Enabled
	u.Enabled = want.Enabled
	switch {
	case want.Running && (written || !u.Active):
		then = s.start(want.Name, u)
		changed = true
	case !want.Running && u.Active:
		u.Active, u.State, u.MainPID = false, "inactive", 0
		changed = true
	}
	return changed, nil
}

func (s units) Reload(ctx context.Context, name string) error { return s.Signal(ctx, name, "HUP") }

func (s units) Restart(_ context.Context, name string) error {
	then := func() {}
	err := s.with(name, func(u *unit) { then = s.start(name, u) })
	then()
	return err
}

func (s units) Stop(_ context.Context, name string) error {
	err := s.with(name, func(u *unit) { u.Active, u.State, u.MainPID = false, "inactive", 0 })
	if errors.Is(err, errNoUnit) {
		return nil
	}
	return err
}

func (s units) Signal(_ context.Context, name, signal string) error {
	running := false
	err := s.with(name, func(u *unit) {
		running = u.Active
		u.signals = append(u.signals, signal)
	})
	if err != nil {
		return err
	}
	if !running {
		return fmt.Errorf("signal %s to unit %s: it does not run", signal, name)
	}
	s.h.mu.Lock()
	fn := s.h.signals[name]
	s.h.mu.Unlock()
	if fn != nil {
		fn(signal)
	}
	return nil
}

func (s units) Remove(_ context.Context, name string) (bool, error) {
	removed, err := s.h.Remove(path.Join(host.UnitDirectory, name))
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	_, had := s.h.units[name]
	delete(s.h.units, name)
	return had || removed, err
}

func (s units) Status(_ context.Context, name string) (host.UnitStatus, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if u := s.h.units[name]; u != nil {
		return u.UnitStatus, nil
	}
	return host.UnitStatus{State: "inactive"}, nil
}
