package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// hardwareRecord is hardware.json: on which machine this node's identity was made, or moved to.
type hardwareRecord struct {
	platform.Hardware
	// Copy is the operator's word that this machine is a copy of the node and to become one of its own.
	Copy bool `json:"copy,omitempty"`
	// Answers is where another machine answered as this node, "" where none has.
	Answers string `json:"answers,omitempty"`
}

// String names the machine for people.
func (r hardwareRecord) String() string {
	if r.Answers == "" {
		return r.Hardware.String()
	}
	return "answers at " + r.Answers
}

// ErrSameMachine is returned where there is nothing to decide: the machine is the one that the node joined on.
var ErrSameMachine = errors.New("this is the machine that the node runs on: there is nothing to decide")

// elsewhere returns the machine that this node's identity was made on, or that answers as the node, if that is surely another
// one. A copy of a node's
// disk is the node to everybody who asks it for a proof; two machines that are one node would both write.
func (a *Agent) elsewhere() (home hardwareRecord, elsewhere bool, err error) {
	found, err := a.state.readJSON(hardwareFile, &home)
	if err != nil {
		// A damaged record proves nothing; the next one will.
		a.log.Error("the record of this node's hardware is damaged and is made again", "error", err)
		return hardwareRecord{}, false, a.state.remove(hardwareFile)
	}
	return home, found && (home.Answers != "" || home.Other(a.cfg.Machine.Hardware())), nil
}

// rememberHardware writes down which machine this is. Facts that are missing at the moment, such as a card whose driver
// is not loaded yet, are kept.
func (a *Agent) rememberHardware() error {
	now := a.cfg.Machine.Hardware()
	var before hardwareRecord
	if _, err := a.state.readJSON(hardwareFile, &before); err != nil {
		before = hardwareRecord{}
	}
	if !before.Other(now) {
		now = merged(before.Hardware, now)
	}
	if now.IsZero() || (hardwareRecord{Hardware: now}).String() == before.String() && !before.Copy {
		return nil
	}
	return a.state.writeJSON(hardwareFile, hardwareRecord{Hardware: now})
}

// merged returns the facts of now, and those of before that now lacks.
func merged(before, now platform.Hardware) platform.Hardware {
	for _, f := range []struct{ now, before *string }{
		{&now.UUID, &before.UUID}, {&now.Serial, &before.Serial}, {&now.Board, &before.Board},
	} {
		if *f.now == "" {
			*f.now = *f.before
		}
	}
	if len(now.MACs) == 0 {
		now.MACs = before.MACs
	}
	return now
}

// settleHardware returns m on the machine that it was made on. On another one it stops what the node runs, says so, and
// waits for the operator's decision: the node was moved (Moved), this is a copy (Copied), or new first-boot data, which makes
// it one as well. It returns nil once the copy has forgotten the node.
func (a *Agent) settleHardware(ctx context.Context, m *membership) (*membership, error) {
	var nextGuard time.Time
	for {
		home, elsewhere, err := a.elsewhere()
		if err != nil {
			return nil, err
		}
		if !elsewhere {
			return m, a.rememberHardware()
		}
		if home.Copy || a.invited(ctx, m) {
			a.log.Warn("this machine is a copy of a node and becomes one of its own", "node", m.record.Node)
			return nil, a.takeBack(ctx)
		}
		if !time.Now().Before(nextGuard) {
			a.guard(ctx, false)
			nextGuard = time.Now().Add(resyncInterval)
		}
		text := fmt.Sprintf("this disk belongs to node %s of cluster %s, which runs on another machine, so nothing of it runs here: "+
			"if the node was moved, say \"atolld moved\"; if this is a copy, say \"atolld copied\" or give it first-boot data of its own",
			m.record.Node, m.record.Cluster)
		parts := map[string]string{"hardware": "not the machine that this node's identity was made on"}
		if home.Answers != "" {
			parts = map[string]string{"hardware": "another machine answers at this node's address"}
		}
		if err := a.stopUnits(ctx); err != nil {
			parts["units"] = err.Error()
		}
		a.waitFor(wish{
			key: "elsewhere" + parts["units"], text: text, parts: parts,
			detail: fmt.Sprintf("; the node's machine: %s; this one: %s", home, a.cfg.Machine.Hardware()),
		})
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pollFile):
		}
	}
}

// invited tells whether somebody has put first-boot data with another ticket than the node's onto this machine.
func (a *Agent) invited(ctx context.Context, m *membership) bool {
	found, _ := platform.Look(ctx, []platform.Source{a.cfg.Machine.File()})
	if found == nil {
		return false
	}
	ticket, err := a.checkTicket(found.Payload)
	return err == nil && ticket.ID != m.member.Ticket.ID
}

// stopUnits stops the services that agents make, which carry on by themselves otherwise: the mesh and whatever writes.
func (a *Agent) stopUnits(ctx context.Context) error {
	units, err := a.cfg.System.ReadDir(host.UnitDirectory)
	if err != nil {
		return nil //nolint:nilerr // no directory, no units
	}
	var errs []error
	for _, name := range units {
		if ok, err := filepath.Match("atoll-*.service", name); err != nil || !ok || strings.Contains(name, "@.") {
			continue
		}
		if st, err := a.cfg.System.Units().Status(ctx, name); err != nil || !st.Active {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, a.cfg.System.Units().Stop(ctx, name))
	}
	return errors.Join(errs...)
}

// Moved says that this machine is the node of the state directory, on other hardware than before. A running agent notices.
func Moved(cfg Config) (Summary, error) { return decide(cfg, false) }

// Copied says that this machine is a copy of the node of the state directory. The running agent then takes the node's
// identity and mesh off it, and waits for first-boot data.
func Copied(cfg Config) (Summary, error) { return decide(cfg, true) }

func decide(cfg Config, isCopy bool) (Summary, error) {
	a := New(cfg)
	s, err := Remember(a.cfg.StateDir)
	if err != nil {
		return s, err
	}
	home, elsewhere, err := a.elsewhere()
	if err != nil {
		return s, err
	}
	if !elsewhere {
		return s, ErrSameMachine
	}
	if isCopy {
		home.Copy = true
		return s, a.state.writeJSON(hardwareFile, home)
	}
	return s, a.state.writeJSON(hardwareFile, hardwareRecord{Hardware: a.cfg.Machine.Hardware()})
}
