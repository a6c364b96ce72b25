package router

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Served is what a driver has made routers of, for its Status. The zero value is ready. It is safe for concurrent use.
type Served struct {
	// Routes asks where the routers lead.
	Routes Routes

	mu        sync.Mutex
	wanted    []string
	databases map[string]Database
}

// Set records what Apply was told, and which databases it has made a router of just now. One that it could not serve goes on as it
// was before.
func (s *Served) Set(c *Config, made []Database) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.databases
	s.wanted, s.databases = nil, map[string]Database{}
	for _, d := range c.Databases {
		s.wanted = append(s.wanted, d.Name)
		if old, there := before[d.Name]; there {
			s.databases[d.Name] = old
		}
	}
	for _, d := range made {
		s.databases[d.Name] = d
	}
	s.Routes.keep(s.databases)
}

// Status returns what a driver's Status does. Runs tells whether a database's router runs.
func (s *Served) Status(ctx context.Context, runs func(context.Context, Database) (bool, error)) (Status, error) {
	s.mu.Lock()
	var databases []Database
	wanted := slices.Clone(s.wanted)
	for _, name := range wanted {
		if d, there := s.databases[name]; there {
			databases = append(databases, d)
		}
	}
	s.mu.Unlock()
	out := Status{Writers: map[string]string{}, Running: len(databases) > 0}
	var problems []string
	for _, d := range databases {
		up, err := runs(ctx, d)
		if err != nil {
			return out, err
		}
		if !up {
			out.Running = false
			problems = append(problems, fmt.Sprintf("the router of database %q does not run", d.Name))
		}
	}
	writers, err := s.Routes.Writers(ctx, databases)
	for _, name := range wanted {
		out.Writers[name] = writers[name]
	}
	if err != nil && len(problems) == 0 {
		problems = append(problems, err.Error())
	}
	if len(databases) < len(wanted) {
		problems = append(problems, "there is no router for some databases yet")
	}
	out.Problem = strings.Join(problems, "; ")
	return out, nil
}
