// Package unison is the replication driver over unison, from version 2.52 on: changes on both sides count the same, each is brought over
// at once, and of two versions that conflict both are kept.
//
// A unit for each pair runs package worker with this package's engine.
package unison

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Driver implements replication.Driver. Close it to end the streams that it has offered; the sides go on, without each other.
type Driver struct {
	sys     host.System
	log     *slog.Logger
	program string
	dial    func(ctx context.Context, network, address string) (net.Conn, error)

	// applying has one Apply at a time.
	applying sync.Mutex

	mu    sync.Mutex
	leads map[string]*offering
	// problems are what workers said last, to be told while they start again.
	problems map[string]string
}

var (
	_ replication.Driver = (*Driver)(nil)
	_ host.Packager      = (*Driver)(nil)
)

// Options are the parts of a driver that a test replaces; the zero value is production.
type Options struct {
	// Program is the command of the worker, up to its arguments "pair --config FILE"; this program if "".
	Program string
	// Dial connects to one of the node's Unix sockets; nil means this machine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a driver for sys.
func New(sys host.System, log *slog.Logger) replication.Driver { return NewWith(sys, log, Options{}) }

// NewWith returns a driver for sys with options.
func NewWith(sys host.System, log *slog.Logger, o Options) *Driver {
	return &Driver{sys: sys, log: log, program: o.Program, dial: o.Dial, leads: map[string]*offering{}, problems: map[string]string{}}
}

// Packages implements host.Packager.
func (*Driver) Packages() []host.Package {
	return []host.Package{{Name: "unison", Binary: "unison"}, {Name: "rsync", Binary: "rsync"}}
}

// Apply implements replication.Driver.
func (d *Driver) Apply(ctx context.Context, pairs []replication.Pair) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	problems := []error{d.removeOthers(ctx, pairs)}
	for _, p := range pairs {
		if err := d.apply(ctx, p); err != nil {
			problems = append(problems, fmt.Errorf("apply pair %q: %w", p.Name, err))
		}
	}
	return errors.Join(problems...)
}

// removeOthers takes away everything that belongs to other pairs, but no tree.
func (d *Driver) removeOthers(ctx context.Context, pairs []replication.Pair) error {
	kept := func(name string) bool {
		return slices.ContainsFunc(pairs, func(p replication.Pair) bool { return p.Name == name })
	}
	names, err := d.sys.ReadDir(configDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var problems []error
	left := false
	for _, name := range names {
		if kept(name) {
			left = true
			continue
		}
		d.offer(name, nil)     //nolint:contextcheck // what it starts outlives this call
		d.offerCold(name, nil) //nolint:contextcheck // what it starts outlives this call
		if err := d.remove(ctx, name); err != nil {
			problems = append(problems, fmt.Errorf("remove pair %q: %w", name, err))
		}
	}
	if !left && len(pairs) == 0 && len(problems) == 0 {
		if _, err := d.sys.Remove(configDir); err != nil {
			return fmt.Errorf("remove the pairs: %w", err)
		}
	}
	return errors.Join(problems...)
}

// remove takes a pair away. The agent itself may not write where the pair's tree and state are: a unit does that.
func (d *Driver) remove(ctx context.Context, name string) error {
	for _, unit := range []string{worker.AfterUnit(name), unitName(name)} {
		if _, err := d.sys.Units().Remove(ctx, unit); err != nil {
			return err
		}
	}
	if _, err := d.sys.ReadFile(configPath(name)); err == nil {
		program, err := d.ownProgram()
		if err != nil {
			return err
		}
		if _, err := d.sys.Units().Ensure(ctx, forgetUnit(name, program)); err != nil {
			return fmt.Errorf("take back what it has left: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := d.sys.Units().Remove(ctx, forgetUnitName(name)); err != nil {
		return err
	}
	// The configuration is what says that there is something: it goes last.
	for _, path := range []string{runDir(name), pairDir(name)} {
		if _, err := d.sys.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// ownProgram returns the command of the worker.
func (d *Driver) ownProgram() (string, error) {
	if d.program != "" {
		return d.program, nil
	}
	return os.Executable()
}

// apply makes this node's side of one pair.
func (d *Driver) apply(ctx context.Context, p replication.Pair) error {
	if ps := slices.Concat(spec.ValidateName("name", p.Name), spec.ValidateName("node", p.Node), spec.ValidateName("peer", p.Peer),
		spec.ValidateTree("path", p.Path), spec.ValidateTree("peer_path", p.PeerPath), spec.ValidateAccount("owner", p.Owner), spec.ValidateAccount("group", p.Group)); len(ps) > 0 {
		return ps
	}
	if p.Cold != nil {
		if ps := slices.Concat(spec.ValidateCold("cold_path", p.Cold.Path, p.Path), spec.ValidateDatePattern("pattern", p.Cold.Pattern)); len(ps) > 0 {
			return ps
		}
	}
	if p.After != nil {
		if ps := spec.ValidateAfterCommand("after_change.command", p.After.Command); len(ps) > 0 {
			return ps
		}
	}
	c := workerConfig(p)
	if _, err := Profile(c, "", true, nil); err != nil {
		return err
	}
	text, err := c.Marshal()
	if err != nil {
		return err
	}
	if _, err := d.sys.WriteFile(configPath(p.Name), text, 0o644); err != nil {
		return err
	}
	program, err := d.ownProgram()
	if err != nil {
		return err
	}
	if _, err := d.sys.Units().Ensure(ctx, serviceUnit(p, program, text)); err != nil {
		return err
	}
	if err := d.applyAfter(ctx, p, program); err != nil {
		return err
	}
	if host.Recording(d.sys) {
		return nil
	}
	dial := p.Dial
	var dialCold func(context.Context) (io.ReadWriteCloser, error)
	if p.Cold != nil {
		dialCold = p.Cold.Dial
	}
	if !p.Leads {
		dial, dialCold = nil, nil
	}
	d.offer(p.Name, dial)         //nolint:contextcheck // what it starts outlives this call
	d.offerCold(p.Name, dialCold) //nolint:contextcheck // what it starts outlives this call
	return nil
}

// applyAfter has the unit that runs the command after changes, where there is one.
func (d *Driver) applyAfter(ctx context.Context, p replication.Pair, program string) error {
	if p.After == nil {
		_, err := d.sys.Units().Remove(ctx, worker.AfterUnit(p.Name))
		return err
	}
	_, err := d.sys.Units().Ensure(ctx, afterUnit(p, program))
	return err
}

func workerConfig(p replication.Pair) worker.Config {
	c := worker.Config{
		Driver: spec.ReplicationUnison, Pair: p.Name, Node: p.Node, Peer: p.Peer, Leads: p.Leads, Path: p.Path, PeerPath: p.PeerPath, Owner: p.Owner, Group: p.Group,
		Exclude: p.Exclude, Alternates: p.Alternates, After: p.After, RunDir: runDir(p.Name), StateDir: stateDir(p.Name),
	}
	c.SnapshotDirs = snapshotDirs(p)
	if p.Cold != nil {
		c.Cold = &worker.Cold{
			Root: p.Cold.Path, Pattern: p.Cold.Pattern, OlderThan: p.Cold.OlderThan, Settled: p.Cold.Settled,
			Interval: cmp.Or(p.Cold.Interval, time.Duration(p.Cold.PairCold.Interval)*time.Minute),
		}
	}
	return c
}

func (d *Driver) worker(pair string) *worker.Client {
	return worker.NewClient(worker.Config{RunDir: runDir(pair)}.ControlSocket(), d.dial)
}

// statusWithin is how long a worker may take to tell its status.
const statusWithin = 900 * time.Millisecond

// Status implements replication.Driver.
func (d *Driver) Status(ctx context.Context, pair string) (replication.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	status, err := d.worker(pair).Status(ctx)
	if err == nil {
		d.remember(pair, status)
		return status, nil
	}
	// A worker whose tree is gone starts again now and then; it will say the same.
	if problem := d.remembered(pair); problem != "" {
		return replication.Status{State: spec.PairFailed, Problem: problem}, nil
	}
	unit, unitErr := d.sys.Units().Status(context.WithoutCancel(ctx), unitName(pair))
	if unitErr != nil {
		return replication.Status{}, unitErr
	}
	if unit.Exists && !unit.Active {
		return replication.Status{State: spec.PairFailed, Problem: fmt.Sprintf("%s does not run (%s): look into its journal with journalctl -u %s", unitName(pair), unit.State, unitName(pair))}, nil
	}
	return replication.Status{State: spec.PairStarting}, nil
}

// remember keeps what keeps a side from working.
func (d *Driver) remember(pair string, s replication.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.problems, pair)
	if s.State == spec.PairFailed {
		d.problems[pair] = s.Problem
	}
}

func (d *Driver) remembered(pair string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.problems[pair]
}

// Accept implements replication.Driver.
func (d *Driver) Accept(ctx context.Context, pair string, stream io.ReadWriteCloser) error {
	return d.worker(pair).Stream(ctx, stream)
}

// AcceptCold implements replication.Driver.
func (d *Driver) AcceptCold(ctx context.Context, pair string, stream io.ReadWriteCloser) error {
	return d.worker(pair).StreamCold(ctx, stream)
}

// PermitAlone implements replication.Driver.
func (d *Driver) PermitAlone(ctx context.Context, pair string) error {
	return d.worker(pair).Permit(ctx)
}

// Turn implements replication.Driver.
func (d *Driver) Turn(ctx context.Context, pair string, carry bool) error {
	return d.worker(pair).Turn(ctx, carry)
}

// Canary implements replication.Driver.
func (d *Driver) Canary(ctx context.Context, pair string) (replication.Canary, error) {
	now := time.Now() // with this process's monotonic clock
	canary, err := d.worker(pair).Canary(ctx)
	canary.Written = now
	return canary, err
}

// Canaries implements replication.Driver.
func (d *Driver) Canaries(ctx context.Context, pair string, after replication.Canary) (replication.Canary, error) {
	return d.worker(pair).Canaries(ctx, after.Nonce)
}

// Digest implements replication.Driver.
func (d *Driver) Digest(ctx context.Context, pair string, r digest.Request) (digest.Result, error) {
	result, err := d.worker(pair).Digest(ctx, r)
	return result, d.unavailable(ctx, pair, err)
}

// Directory implements replication.Driver.
func (d *Driver) Directory(ctx context.Context, pair string, part digest.Part, path string) (digest.Directory, error) {
	directory, err := d.worker(pair).Directory(ctx, part, path)
	return directory, d.unavailable(ctx, pair, err)
}

// unavailable returns what keeps a worker from looking at its tree as *replication.UnavailableError, other errors as they are.
func (d *Driver) unavailable(ctx context.Context, pair string, err error) error {
	var refused *worker.RefusedError
	var unreached *net.OpError
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.As(err, &refused) && refused.StatusCode == http.StatusServiceUnavailable:
		return &replication.UnavailableError{Pair: pair, Reason: refused.Message}
	case errors.As(err, &refused):
		return err
	case errors.As(err, &unreached) || errors.Is(err, io.EOF):
		// It knows why, or does not run.
		status, statusErr := d.Status(ctx, pair)
		return &replication.UnavailableError{Pair: pair, Reason: cmp.Or(status.Problem, "its programs are not to be reached: "+errors.Join(err, statusErr).Error())}
	}
	return err
}

// Close ends all streams that were offered.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, o := range d.leads {
		o.end()
		delete(d.leads, name)
	}
	return nil
}
