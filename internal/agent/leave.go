package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/databases"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// departure is why a session has ended.
type departure struct {
	leaving leaving
	reason  string
}

// beginLeaving writes down that everything is to be taken back; from here on there is no way back for this membership.
func (a *Agent) beginLeaving(d departure) error {
	if err := a.state.writeJSON(leavingFile, d.leaving); err != nil {
		return err
	}
	a.log.Info("leaving", "cluster", d.leaving.Cluster, "node", d.leaving.Node, "reason", d.reason)
	return a.checkpoint(stepLeaving)
}

// finishLeaving takes back everything the agent made, if that is still to be done, and returns when nothing is left but
// the memory of it. It tries until it succeeds. That the marker is there decides, whatever is in it: a node that was
// removed must not come back because a disk has lost a few bits.
func (a *Agent) finishLeaving(ctx context.Context) error {
	if _, err := os.Lstat(a.state.path(leavingFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("find out whether this node is leaving its cluster: %w", err)
	}
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		err := a.rememberLeaving()
		if err == nil {
			err = a.takeBack(ctx)
		}
		if err == nil {
			break
		}
		if isPowerCut(err) || ctx.Err() != nil {
			return err
		}
		a.log.Error("not everything is taken back yet", "error", err)
		a.setHealth(api.Health{State: stateLeaving, Waiting: err.Error()})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	if err := a.state.remove(leavingFile); err != nil {
		return err
	}
	return a.checkpoint(stepLeftRecord)
}

// rememberLeaving adds what is being left to the memory of what was left. It may be repeated.
func (a *Agent) rememberLeaving() error {
	one, known := a.whatIsLeft()
	if !known {
		return nil
	}
	r, err := loadLeft(a.state)
	if err != nil {
		// Losing the memory of earlier departures is better than losing this one.
		a.log.Error("the record of earlier departures is damaged and begins anew", "error", err)
		r = leftRecord{}
	}
	if !r.add(one) {
		return nil
	}
	return a.state.writeJSON(leftFile, r)
}

// whatIsLeft returns what the marker says is being left, of a damaged marker what the membership says.
func (a *Agent) whatIsLeft() (leaving, bool) {
	var one leaving
	if _, err := a.state.readJSON(leavingFile, &one); err == nil && one.Node != "" {
		return one, true
	}
	m, err := loadMembership(a.state)
	if err != nil || m == nil {
		a.log.Error("the record of leaving is damaged; the node leaves and cannot remember what", "file", a.state.path(leavingFile))
		return leaving{}, false
	}
	a.log.Error("the record of leaving is damaged; the node leaves what it is a member of", "file", a.state.path(leavingFile))
	return leaving{
		Cluster: m.record.Cluster, Node: m.record.Node, SigningKey: m.record.SigningKey,
		Ticket: m.member.Ticket.ID, At: a.cfg.Now().UTC(),
	}, true
}

// takeBack removes the databases' members, while the mesh is there to hand over by, what keeps pairs equal but not their trees,
// the proxies, the mesh and the agent's state of its membership, all private keys included: also those that were set aside. It may
// be repeated.
func (a *Agent) takeBack(ctx context.Context) error {
	if err := databases.TakeBack(ctx, a.databaseConfig()); err != nil {
		return err
	}
	for name, driver := range a.replications {
		if err := driver.Apply(ctx, nil); err != nil {
			return fmt.Errorf("remove the pairs of driver %s: %w", name, err)
		}
	}
	for name, driver := range a.proxies {
		if err := driver.Apply(ctx, nil); err != nil {
			return fmt.Errorf("remove the proxy of driver %s: %w", name, err)
		}
	}
	if err := a.gate.Refuse(ctx, nil, nil); err != nil {
		return err
	}
	if _, err := a.filter.Apply(ctx, nil); err != nil {
		return err
	}
	for name, driver := range a.drivers {
		if err := driver.Apply(ctx, nil); err != nil {
			return fmt.Errorf("remove the mesh of driver %s: %w", name, err)
		}
	}
	if err := a.checkpoint(stepMeshGone); err != nil {
		return err
	}
	damaged, err := a.state.setAside()
	if err != nil {
		return err
	}
	for _, name := range append(damaged, joinFile, identityFile, storeDir, observedFile, servingFile, sequenceFile, meshKeysFile, keysDir, hardwareFile) {
		if err := a.state.remove(name); err != nil {
			return err
		}
	}
	return a.checkpoint(stepStateGone)
}

// Purge takes back everything that an agent made on this node, as when the node leaves its cluster, and the metadata guard.
// No agent may be running.
func Purge(ctx context.Context, cfg Config) error {
	a := New(cfg)
	if err := a.takeBack(ctx); err != nil {
		return err
	}
	if err := removeGuard(ctx, a.cfg.System); err != nil {
		return err
	}
	closed := firewallStep{system: a.cfg.System, ports: func(input) openPorts { return openPorts{} }}
	if err := closed.reconcile(ctx, input{}); err != nil {
		return err
	}
	for _, name := range []string{leftFile, leavingFile} {
		if err := a.state.remove(name); err != nil {
			return err
		}
	}
	// What somebody else put there stays, and with it the directory.
	if err := os.Remove(a.state.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Info("the state directory stays", "path", a.state.dir, "reason", err)
	}
	return nil
}
