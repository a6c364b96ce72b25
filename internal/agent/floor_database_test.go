package agent_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestFloorWithoutADatabase takes every node's way to the database away at once: the floor keeps two in service, each node is unfit in
// its own name, and one that alone has lost it goes.
func TestFloorWithoutADatabase(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	first, last := machines[0], machines[2]
	first.push(w.sign(hostname, balancer(nil, 2, machines...)))
	for _, m := range machines {
		m.waitServing("is fit", http.StatusOK, "database", "ok")
	}
	first.router.set(true)
	first.waitServing("goes while two others are well", http.StatusServiceUnavailable, "database", "the router does not run")
	for _, m := range machines[1:] {
		m.router.set(true)
	}
	const kept = "kept in service, too few nodes would be left: the router does not run"
	first.waitServing("is kept", http.StatusOK, "database", kept)
	machines[1].waitServing("is kept", http.StatusOK, "database", kept)
	last.waitServing("is one too many", http.StatusServiceUnavailable, "database", "the router does not run")
	first.waitHealth("in its own name it is unfit", func(h api.Health) bool { return !h.Healthy && strings.HasPrefix(h.Parts["database"], "the router") })
	w.wait("the status says so", func() error {
		s, err := last.status()
		if err != nil {
			return err
		}
		if got := s.LoadBalancers[hostname].Nodes[first.name]; got.State != api.ServingKept || got.Reason != "it has no way to the database" {
			return fmt.Errorf("the status says %+v", got)
		}
		return nil
	})
	last.router.set(false)
	machines[1].router.set(false)
	first.waitServing("is not needed any more", http.StatusServiceUnavailable, "database", "the router does not run")
	first.router.set(false)
	first.waitServing("is well", http.StatusOK, "database", "ok")
}

// TestFloorAmongThoseWithoutADatabase: a node that has been without a way to the database for long enough does not count on others that
// have lost theirs by their own word and still call themselves fit. For a node whose application is unwell they are fit.
func TestFloorAmongThoseWithoutADatabase(t *testing.T) {
	t.Parallel()
	const (
		fit   = "fit"   // serves, and its router leads to who takes writes
		lost  = "lost"  // serves still, its router does not
		unfit = "unfit" // has been without a way for long enough
		none  = "none"  // serves and has no part in the database
	)
	report := func(how string) spec.Status {
		s := spec.Status{Serving: map[string]spec.ServingStatus{hostname: {Fit: how != unfit}}}
		if how == unfit {
			s.Serving[hostname] = spec.ServingStatus{Node: "database"}
		}
		if how != none {
			s.Databases = map[string]spec.DatabaseStatus{"app": {Router: spec.RouterStatus{Running: how == fit, Writable: how == fit}}}
		}
		return s
	}
	tests := []struct {
		name      string
		minimum   int
		hk2, sg1  string
		database  bool
		wantKept  bool
		wantOther bool // hk2 would be kept
	}{
		{"alone", 1, fit, fit, true, false, false},
		{"alone, others with no part in it", 1, none, none, true, false, false},
		{"at once", 1, lost, lost, true, true, false},
		{"at once, two are to stay", 2, lost, lost, true, true, true},
		{"one goes on", 1, lost, fit, true, false, false},
		{"one goes on, two are to stay", 2, lost, fit, true, true, false},
		{"one later than the others", 1, unfit, lost, true, true, false},
		{"an application that is unwell in a failover", 1, lost, lost, false, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			problems := map[string]string{}
			if tt.database {
				problems["database"] = "the router does not run"
			}
			kept := agent.Floor("hk1", tt.minimum, map[string]spec.Status{"hk2": report(tt.hk2), "sg1": report(tt.sg1)}, []string{"hk2", "sg1"}, problems)
			if kept["hk1"] != tt.wantKept || kept["hk2"] != tt.wantOther || kept["sg1"] {
				t.Errorf("kept in service are %v", kept)
			}
		})
	}
}

// TestUnheardNodeMayHaveTheDatabase has two nodes lose the database while they do not hear the third: no floor keeps them in service,
// since they may be the half of the cluster that cannot write. Once they hear that it has lost the database, too, the floor helps.
func TestUnheardNodeMayHaveTheDatabase(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	silent, rest := machines[0], machines[1:]
	rest[0].push(w.sign(hostname, balancer(nil, 3, machines...)))
	for _, m := range machines {
		m.waitServing("is fit", http.StatusOK, "database", "ok")
	}
	silent.die()
	for _, m := range rest {
		m.router.set(true)
	}
	w.wait("all know that one is silent", func() error {
		for _, m := range rest {
			if h, err := m.health(); err != nil || h.Parts["database"] == "ok" {
				return fmt.Errorf("%s says %+v, %w", m.name, h, err)
			}
		}
		return nil
	})
	for _, m := range rest {
		m.waitServing("has lost one and the database", http.StatusServiceUnavailable, "database", "the router does not run")
	}
	silent.router.set(true)
	silent.start()
	for _, m := range machines {
		m.waitServing("hears that all have lost it", http.StatusOK, "database", "kept in service")
	}
}

// TestProxiesPassByANodeWithoutADatabase: while one node has no way to the database, every node's proxy asks other nodes' applications
// first, that node's own as well.
func TestProxiesPassByANodeWithoutADatabase(t *testing.T) {
	t.Parallel()
	w, machines := running(t)
	first := machines[0]
	lb := balancer(nil, 1, machines...)
	lb.Proxy = &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80}
	first.push(w.sign(hostname, lb))
	order := func(what string, want map[string]string) {
		t.Helper()
		w.wait(what, func() error {
			for _, m := range machines {
				s, err := m.proxy.service()
				if err != nil {
					return err
				}
				var names []string
				for _, server := range s.Servers {
					names = append(names, server.Node)
				}
				if got := strings.Join(names, " "); got != want[m.name] {
					return fmt.Errorf("%s prefers %s", m.name, got)
				}
			}
			return nil
		})
	}
	own := map[string]string{"hk1": "hk1 hk2 sg1", "hk2": "hk2 sg1 hk1", "sg1": "sg1 hk1 hk2"}
	order("each prefers its own", own)
	first.router.set(true)
	order("the one without a database is the last", map[string]string{"hk1": "hk2 sg1 hk1", "hk2": "hk2 sg1 hk1", "sg1": "sg1 hk2 hk1"})
	first.router.set(false)
	order("each prefers its own again", own)
}
