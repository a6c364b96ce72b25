package databases

import (
	"context"
	"errors"
	"fmt"
)

// Plan applies this node's members and routers once, as a manager would. With drivers that record what they would change it
// shows that.
func Plan(ctx context.Context, cfg Config) error {
	m := New(cfg)
	sight, _ := cfg.See()
	if !sight.Known {
		return nil
	}
	wanted, troubles := m.wanted(sight)
	var problems []error
	for name, text := range troubles {
		problems = append(problems, fmt.Errorf("database %s: %s", name, text))
	}
	for _, d := range sight.Databases {
		if _, ours := wanted[d.Name]; !ours || !d.SelfVotes() {
			continue
		}
		member, err := m.member(d)
		if err == nil {
			err = cfg.Engines[d.Engine].Apply(ctx, member)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("database %s: %w", d.Name, err))
		}
	}
	configs, unknown := m.routerConfigs(sight)
	for name, text := range unknown {
		problems = append(problems, fmt.Errorf("router of database %s: %s", name, text))
	}
	for name, driver := range cfg.Routers {
		if err := driver.Apply(ctx, configs[name]); err != nil {
			problems = append(problems, fmt.Errorf("router: %w", err))
		}
	}
	return errors.Join(problems...)
}
