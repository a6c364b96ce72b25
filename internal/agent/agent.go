package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/firewall"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Agent is one node's agent. Make it with New; Run it once.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	state   state
	drivers map[spec.MeshDriver]mesh.Driver
	proxies map[spec.ProxyDriver]balancer.Driver
	engines map[spec.DatabaseEngine]database.Driver
	routers map[spec.RouterDriver]router.Driver
	// replications keep the sides of pairs.
	replications map[spec.ReplicationDriver]replication.Driver
	gate         *balancer.Gate
	filter       *firewall.Firewall
	keys         *serverKeys
	bootID       string
	http         healthServer
	herald       herald

	// cut lets a test end the agent after a persistent step, as a power cut would.
	cut func(step string) error

	mu     sync.Mutex
	health api.Health
	// wish is what the agent waits for.
	wish wish
	// guardProblems are what went wrong with the steps that hold outside of a session, by their names.
	guardProblems map[string]string
	// session is the agent's work as a member, nil while it waits.
	session *session
}

// errPowerCut is what a test's cut returns.
var errPowerCut = errors.New("power cut")

// New returns an agent that has done nothing yet.
func New(cfg Config) *Agent {
	cfg = cfg.withDefaults()
	a := &Agent{
		cfg: cfg, log: cfg.Log, state: state{cfg.StateDir}, bootID: newBootID(),
		cut:    func(string) error { return nil },
		health: api.Health{State: stateWaiting, Waiting: "the agent has just started"},
	}
	a.makeDrivers()
	a.http.current, a.http.currentFor = a.currentHealth, a.currentHealthFor
	a.http.what, a.http.create = "health", a.http.newServer
	a.herald.console, a.herald.log = cfg.Console, cfg.Log
	return a
}

// makeDrivers makes all that changes the machine on the agent's behalf.
func (a *Agent) makeDrivers() {
	a.drivers, a.proxies = map[spec.MeshDriver]mesh.Driver{}, map[spec.ProxyDriver]balancer.Driver{}
	for name, driver := range a.cfg.Drivers {
		a.drivers[name] = driver(a.cfg.System, a.log.With("driver", string(name)))
	}
	for name, driver := range a.cfg.Proxies {
		a.proxies[name] = driver(a.cfg.System, a.log.With("driver", string(name)))
	}
	a.engines, a.routers = map[spec.DatabaseEngine]database.Driver{}, map[spec.RouterDriver]router.Driver{}
	for name, driver := range a.cfg.Databases {
		a.engines[name] = driver(a.cfg.System, a.log.With("driver", string(name)))
	}
	for name, driver := range a.cfg.Routers {
		a.routers[name] = driver(a.cfg.System, a.log.With("driver", string(name)))
	}
	a.replications = map[spec.ReplicationDriver]replication.Driver{}
	for name, driver := range a.cfg.Replications {
		a.replications[name] = driver(a.cfg.System, a.log.With("driver", string(name)))
	}
	a.gate = balancer.NewGate(a.cfg.System)
	a.filter = newFilter(a.cfg)
	a.keys = &serverKeys{state: a.state, now: a.cfg.Now, log: a.log}
}

// Run works until ctx ends, which is no error, or something makes going on impossible.
func (a *Agent) Run(ctx context.Context) (err error) {
	if err := a.http.listen(ctx, a.cfg.Listen, a.cfg.Ports.Health); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.http.close()) }()
	a.cfg.Ready()
	_, notMember := os.Lstat(a.state.path(joinFile))
	a.guard(ctx, notMember == nil)
	for {
		if err := a.live(ctx); err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil
			}
			if !isDiskTrouble(err) {
				return err
			}
			a.waitForDisk(ctx, err)
			if ctx.Err() != nil {
				return nil
			}
		}
	}
}

// live is one life of the node: it finishes an earlier leaving, joins if need be, works as a member until the node is
// removed, and leaves.
func (a *Agent) live(ctx context.Context) error {
	if err := a.state.make(); err != nil {
		return err
	}
	if err := a.finishLeaving(ctx); err != nil {
		return err
	}
	m, err := a.rememberMembership()
	if err != nil {
		return err
	}
	if m != nil {
		if m, err = a.settleHardware(ctx, m); err != nil {
			return err
		}
	}
	if m == nil {
		if m, err = a.waitForMembership(ctx); err != nil {
			return err
		}
	}
	if err := a.forget(ctx, m); err != nil {
		if isPowerCut(err) {
			return err
		}
		// The next start tries again; a carrier that cannot be cleared is no reason not to work.
		a.log.Error("the used first-boot data is still there", "error", err)
		a.cfg.Console(err.Error())
	}
	a.herald.done(fmt.Sprintf("this machine is node %s of cluster %s", m.record.Node, m.record.Cluster))
	departure, err := a.serve(ctx, m)
	if err != nil || departure == nil {
		return err
	}
	return a.beginLeaving(*departure)
}

// rememberMembership loads the membership of an earlier start. What cannot be used is set aside, never deleted, and the
// node waits for new first-boot data. Only a state of a newer agent or a disk that does not answer end this agent, since
// both may pass.
func (a *Agent) rememberMembership() (*membership, error) {
	m, err := loadMembership(a.state)
	if err == nil {
		return m, nil
	}
	var newer *newerStateError
	var unreadable *fs.PathError
	if errors.As(err, &newer) || errors.As(err, &unreadable) {
		return nil, err
	}
	aside := fmt.Sprintf("%s%s", damagedPrefix, a.cfg.Now().UTC().Format("20060102T150405.000000000"))
	a.log.Error("this node's membership cannot be used; it is set aside and the node needs a new ticket",
		"error", err, "kept", a.state.path(aside))
	if err := os.MkdirAll(a.state.path(aside), 0o700); err != nil {
		return nil, fmt.Errorf("set the damaged state aside: %w", err)
	}
	for _, name := range []string{joinFile, identityFile} {
		if err := os.Rename(a.state.path(name), a.state.path(aside+"/"+name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("set the damaged state aside: %w", err)
		}
	}
	return nil, errors.Join(a.state.sync(), a.forgetDamaged(aside))
}

// forgetDamaged removes the oldest of what was set aside, never the latest: its name may be the lowest, if the clock went
// back.
func (a *Agent) forgetDamaged(latest string) error {
	names, err := a.state.setAside()
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == latest })
	for len(names) > maxDamaged-1 {
		if err := a.state.remove(names[0]); err != nil {
			return err
		}
		names = names[1:]
	}
	return nil
}

func (a *Agent) checkpoint(step string) error {
	if err := a.cut(step); err != nil {
		return fmt.Errorf("after step %q: %w", step, err)
	}
	return nil
}

func (a *Agent) currentHealth() api.Health {
	a.mu.Lock()
	s, h := a.session, a.health
	a.mu.Unlock()
	if s != nil {
		return s.health()
	}
	h.Parts = maps.Clone(h.Parts)
	return h
}

// currentHealthFor is what the health endpoint says of a hostname, and whether this node belongs to its load balancer.
func (a *Agent) currentHealthFor(hostname string) (h api.Health, known bool) {
	a.mu.Lock()
	s := a.session
	a.mu.Unlock()
	if s != nil {
		return s.healthFor(hostname)
	}
	// A node that is no member does not know what it is to serve.
	return a.currentHealth(), true
}

func (a *Agent) setHealth(h api.Health) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.health = h
}

// newBootID names one start of the agent.
func newBootID() string {
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return fmt.Sprintf("%x", time.Now().UnixNano())
	}
	return hex.EncodeToString(id)
}

func isPowerCut(err error) bool { return errors.Is(err, errPowerCut) }
