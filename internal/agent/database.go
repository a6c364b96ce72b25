package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/databases"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// databaseInterval is how often it is judged how databases are when nothing has happened: what is damped goes by time.
const databaseInterval = time.Second

// records is the agent's directory as the keeper of databases' journals.
type records struct{ state state }

// Read implements databases.State.
func (r records) Read(name string, into any) (bool, error) {
	return r.state.readJSON(name+recordSuffix, into)
}

// Write implements databases.State.
func (r records) Write(name string, v any) error { return r.state.writeJSON(name+recordSuffix, v) }

// Remove implements databases.State.
func (r records) Remove(name string) error { return r.state.remove(name + recordSuffix) }

// Names implements databases.State.
func (r records) Names(prefix string) ([]string, error) {
	entries, err := os.ReadDir(r.state.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for the journals of databases: %w", err)
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), recordSuffix); ok && strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	return out, nil
}

const recordSuffix = ".json"

// databaseConfig returns what a manager of databases works with, without what a session adds.
func (a *Agent) databaseConfig() databases.Config {
	return databases.Config{
		State: records{a.state}, Engines: a.engines, Routers: a.routers, Bind: a.cfg.MeshBind,
		Changed: func(bool) {}, Now: a.cfg.Now, Log: a.log, RestartPatience: a.cfg.RolloutPatience,
		Cut: func(step string) error { return a.checkpoint(stepDatabase + step) },
	}
}

// newDatabases returns the manager of this node's databases.
func (s *session) newDatabases() *databases.Manager { return databases.New(s.databaseConfig()) }

func (s *session) databaseConfig() databases.Config {
	cfg := s.a.databaseConfig()
	cfg.Node, cfg.OpenKey, cfg.Log = s.m.record.Node, s.m.identity.OpenDatabaseKey, s.log
	cfg.Changed = s.databasesChanged
	var last *store.Snapshot
	var sight databases.Sight
	cfg.Alone = func() bool { return s.lostMesh() != "" }
	cfg.See = func() (databases.Sight, <-chan struct{}) {
		changed := s.store.Changed()
		s.seeing.Lock()
		defer s.seeing.Unlock()
		if snapshot := s.store.Snapshot(); snapshot != last {
			last, sight = snapshot, s.sight(snapshot)
		}
		return sight, changed
	}
	return cfg
}

// sight is what the keeper of databases has to know.
func (s *session) sight(snapshot *store.Snapshot) databases.Sight {
	in := s.inputOf(snapshot)
	out := databases.Sight{Known: in.view != nil && in.admitted, Statuses: snapshot.Statuses}
	if in.view != nil {
		out.Databases = in.view.Databases
	}
	out.Generations = func(name string) databases.Generations {
		return databases.Generations{
			Database: snapshot.Generations[spec.Ref{Kind: spec.KindDatabase, Name: name}],
			Member:   snapshot.Generations[spec.Ref{Kind: spec.KindMember, Name: spec.MemberName(name, s.m.record.Node)}],
		}
	}
	out.Gone = func(name string) bool {
		_, database := snapshot.Tombstones[spec.Ref{Kind: spec.KindDatabase, Name: name}]
		_, member := snapshot.Tombstones[spec.Ref{Kind: spec.KindMember, Name: spec.MemberName(name, s.m.record.Node)}]
		return database || member
	}
	return out
}

// databasesChanged is told that there are news of this node's databases.
func (s *session) databasesChanged(urgent bool) {
	s.mu.Lock()
	s.appliedVersion++
	s.mu.Unlock()
	if urgent {
		s.urgent.Store(true)
		poke(s.poked)
	}
	poke(s.databased)
}

// keepDatabases keeps this node's part in databases until ctx ends.
func (s *session) keepDatabases(ctx context.Context) error { return s.databases.Run(ctx) }

// judgeDatabases says how this node's databases are, until ctx ends.
func (s *session) judgeDatabases(ctx context.Context) error {
	tick := time.NewTicker(databaseInterval)
	defer tick.Stop()
	before := ""
	for {
		status, reason, message := s.databases.Condition()
		switch {
		case databases.Pending(status):
		case databases.None(status):
			s.keeper.unset(spec.ConditionDatabaseReady)
		default:
			s.keeper.set(spec.ConditionDatabaseReady, status, reason, "%s", message)
		}
		if problem, _ := s.databases.Health(); problem != before {
			before = problem
			poke(s.weigh)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.databased:
		case <-tick.C:
		}
	}
}

// databasePart is the databases' part of the node's health, if it has any.
func (s *session) databasePart() []part {
	problem, none := s.databases.Health()
	if none {
		return nil
	}
	return []part{{name: partDatabase, problem: problem}}
}

// Switchover implements api.Switcher.
func (b backend) Switchover(ctx context.Context, database string, r api.SwitchoverRequest) (api.SwitchoverResult, error) {
	return b.s.databases.Switchover(ctx, database, r)
}

// SwitchoverCheck implements api.Switcher.
func (b backend) SwitchoverCheck(ctx context.Context, database, to string) (api.SwitchoverCheck, error) {
	return b.s.databases.SwitchoverCheck(ctx, database, to)
}
