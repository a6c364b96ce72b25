package host

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
)

// Plan is a machine that is only looked at: it records every change instead of making it, and answers reads as if the
// change had been made. What follows from a change by itself (a started service's interface) does not happen; code that
// waits for such a thing asks Recording first.
type Plan struct {
	sys System

	mu      sync.Mutex
	changes []string
	files   map[string]plannedFile
	units   map[string]UnitStatus
}

type plannedFile struct {
	data    []byte
	mode    fs.FileMode
	removed bool
}

// NewPlan returns a plan over sys.
func NewPlan(sys System) *Plan {
	return &Plan{sys: sys, files: map[string]plannedFile{}, units: map[string]UnitStatus{}}
}

// Recording tells whether sys only records changes.
func Recording(sys System) bool {
	_, ok := sys.(*Plan)
	return ok
}

// Changes returns what would be done, in order, one line each.
func (p *Plan) Changes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.changes)
}

func (p *Plan) record(change string) { p.changes = append(p.changes, change) }

// Run runs c when it is read-only and records it otherwise.
func (p *Plan) Run(ctx context.Context, c Command) (Output, error) {
	if c.ReadOnly {
		return p.sys.Run(ctx, c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record("run " + c.String())
	return Output{}, nil
}

// ReadFile returns the file as it would be.
func (p *Plan) ReadFile(name string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.planned(name); ok {
		if f.removed {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return slices.Clone(f.data), nil
	}
	return p.sys.ReadFile(name)
}

// planned returns what the plan has made of a path, a removed parent included.
func (p *Plan) planned(name string) (plannedFile, bool) {
	for at := path.Clean(name); ; at = path.Dir(at) {
		if f, ok := p.files[at]; ok && (at == path.Clean(name) || f.removed) {
			return f, true
		}
		if at == "/" || at == "." {
			return plannedFile{}, false
		}
	}
}

// WriteFile records the file when its content would change. A change of mode alone is not seen.
func (p *Plan) WriteFile(name string, data []byte, mode fs.FileMode) (bool, error) {
	old, err := p.ReadFile(name)
	if err == nil && string(old) == string(data) {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	verb := "change "
	if err != nil {
		verb = "create "
	}
	p.files[path.Clean(name)] = plannedFile{data: slices.Clone(data), mode: mode}
	p.record(verb + name)
	return true, nil
}

// Remove records the removal of a path that exists.
func (p *Plan) Remove(name string) (bool, error) {
	_, fileErr := p.ReadFile(name)
	_, dirErr := p.ReadDir(name)
	if fileErr != nil && dirErr != nil {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	name = path.Clean(name)
	for at := range p.files {
		if strings.HasPrefix(at, name+"/") {
			delete(p.files, at)
		}
	}
	p.files[name] = plannedFile{removed: true}
	p.record("remove " + name)
	return true, nil
}

// ReadDir returns the directory as it would be.
func (p *Plan) ReadDir(name string) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name = path.Clean(name)
	var names []string
	err := error(&fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist})
	if f, ok := p.planned(name); !ok || !f.removed {
		names, err = p.sys.ReadDir(name)
	}
	for at, f := range p.files {
		rest, below := strings.CutPrefix(at, name+"/")
		if !below {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		switch {
		case f.removed && !deeper:
			names = slices.DeleteFunc(names, func(n string) bool { return n == first })
		case !f.removed && !slices.Contains(names, first):
			names, err = append(names, first), nil
		}
	}
	slices.Sort(names)
	return names, err
}

// Units returns the services as they would be.
func (p *Plan) Units() Units { return planUnits{p} }

type planUnits struct{ p *Plan }

func (u planUnits) change(ctx context.Context, name, what string, edit func(*UnitStatus)) error {
	st, err := u.Status(ctx, name)
	if err != nil {
		return err
	}
	u.p.mu.Lock()
	defer u.p.mu.Unlock()
	edit(&st)
	u.p.units[name] = st
	u.p.record(what + " " + name)
	return nil
}

func (u planUnits) Ensure(ctx context.Context, unit Unit) (bool, error) {
	now, err := u.Status(ctx, unit.Name)
	if err != nil {
		return false, err
	}
	written, err := u.p.WriteFile(path.Join(UnitDirectory, unit.Name), unit.Content, 0o644)
	if err != nil {
		return false, err
	}
	var verbs []string
	if now.Enabled != unit.Enabled {
		verbs = append(verbs, map[bool]string{true: "enable", false: "disable"}[unit.Enabled])
	}
	switch {
	case unit.Running && !now.Active:
		verbs = append(verbs, "start")
	case unit.Running && written:
		verbs = append(verbs, "restart")
	case !unit.Running && now.Active:
		verbs = append(verbs, "stop")
	}
	for _, verb := range verbs {
		err := u.change(ctx, unit.Name, verb, func(st *UnitStatus) {
			st.Exists, st.Enabled, st.Active = true, unit.Enabled, unit.Running
		})
		if err != nil {
			return true, err
		}
	}
	return written || len(verbs) > 0, nil
}

func (u planUnits) Reload(ctx context.Context, name string) error {
	return u.change(ctx, name, "reload", func(*UnitStatus) {})
}

func (u planUnits) Restart(ctx context.Context, name string) error {
	return u.change(ctx, name, "restart", func(st *UnitStatus) { st.Active = true })
}

func (u planUnits) Stop(ctx context.Context, name string) error {
	st, err := u.Status(ctx, name)
	if err != nil || !st.Active {
		return err
	}
	return u.change(ctx, name, "stop", func(st *UnitStatus) { st.Active, st.MainPID = false, 0 })
}

func (u planUnits) Signal(ctx context.Context, name, signal string) error {
	return u.change(ctx, name, "signal "+signal, func(*UnitStatus) {})
}

func (u planUnits) Remove(ctx context.Context, name string) (bool, error) {
	st, err := u.Status(ctx, name)
	if err != nil {
		return false, err
	}
	if st.Exists {
		if err := u.change(ctx, name, "stop and disable", func(st *UnitStatus) { *st = UnitStatus{} }); err != nil {
			return false, err
		}
	}
	removed, err := u.p.Remove(path.Join(UnitDirectory, name))
	return st.Exists || removed, err
}

func (u planUnits) Status(ctx context.Context, name string) (UnitStatus, error) {
	u.p.mu.Lock()
	st, ok := u.p.units[name]
	u.p.mu.Unlock()
	if ok {
		return st, nil
	}
	return u.p.sys.Units().Status(ctx, name)
}
