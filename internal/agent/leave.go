package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// departure is why a session has ended.
type departure struct {
	leaving leaving
	reason  string
}

// beginLeaving writes down that everything is to be taken back; from here on there is no way back for this membership.
func (a *Agent) beginLeaving(d departure) error {
	var r leftRecord
	if _, err := a.state.readJSON(leftFile, &r); err != nil {
		// Losing the memory of earlier departures is better than keeping this one from happening.
		a.log.Error("the record of earlier departures is damaged and begins anew", "error", err)
		r = leftRecord{}
	}
	r.Pending = true
	r.add(d.leaving)
	if err := a.state.writeJSON(leftFile, r); err != nil {
		return err
	}
	a.log.Info("leaving", "cluster", d.leaving.Cluster, "node", d.leaving.Node, "reason", d.reason)
	return a.checkpoint(stepLeaving)
}

// finishLeaving takes back everything the agent made, if that is still to be done, and returns when nothing is left but
// the memory of it. It tries until it succeeds.
func (a *Agent) finishLeaving(ctx context.Context) error {
	var r leftRecord
	if _, err := a.state.readJSON(leftFile, &r); err != nil {
		a.log.Error("the record of earlier departures cannot be read", "error", err)
		return nil
	}
	if !r.Pending {
		return nil
	}
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		err := a.takeBack(ctx)
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
	r.Pending = false
	if err := a.state.writeJSON(leftFile, r); err != nil {
		return err
	}
	return a.checkpoint(stepLeftRecord)
}

// takeBack removes the mesh, the guard and the agent's state of its membership. It may be repeated.
func (a *Agent) takeBack(ctx context.Context) error {
	for name, driver := range a.drivers {
		if err := driver.Apply(ctx, nil); err != nil {
			return fmt.Errorf("remove the mesh of driver %s: %w", name, err)
		}
	}
	if err := removeGuard(ctx, a.cfg.System); err != nil {
		return err
	}
	if err := a.checkpoint(stepMeshGone); err != nil {
		return err
	}
	for _, name := range []string{joinFile, identityFile, storeDir, observedFile, sequenceFile} {
		if err := a.state.remove(name); err != nil {
			return err
		}
	}
	return a.checkpoint(stepStateGone)
}

// Purge takes back everything that an agent made on this node, as when the node leaves its cluster. No agent may be
// running.
func Purge(ctx context.Context, cfg Config) error {
	a := New(cfg)
	if err := a.takeBack(ctx); err != nil {
		return err
	}
	if err := a.state.remove(leftFile); err != nil {
		return err
	}
	// What was set aside as damaged stays, and with it the directory.
	if err := os.Remove(a.state.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Info("the state directory stays", "path", a.state.dir, "reason", err)
	}
	return nil
}
