package agent_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// TestFloorWithoutADatabase takes every node's way to the database away at once: the floor keeps two in service, each node is unfit in
// its own name, and one that alone has lost it goes.
func TestFloorWithoutADatabase(t *testing.T) {
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

// TestAllLoseTheDatabaseAtOnce takes every node's way to the database away, one's a moment before the others': it is never out of
// service, although the others still call themselves fit when it has been without one for long enough.
func TestAllLoseTheDatabaseAtOnce(t *testing.T) {
	w, machines := running(t)
	first, last := machines[0], machines[2]
	first.push(w.sign(hostname, balancer(nil, 1, machines...)))
	for _, m := range machines {
		m.waitServing("is fit", http.StatusOK, "database", "ok")
	}
	first.router.set(true)
	w.wait("the others know that one has lost it", func() error {
		v, err := last.view()
		if err == nil && v.Members[first.name].Router.Writable {
			err = fmt.Errorf("%+v", v.Members[first.name].Router)
		}
		return err
	})
	for _, m := range machines[1:] {
		m.router.set(true)
	}
	w.wait("the others are unfit", func() error {
		if code, h, err := first.serving(hostname); err != nil || code != http.StatusOK {
			t.Fatalf("the first one is out of service: %d, %v, %v", code, h.Parts, err)
		}
		for _, m := range machines[1:] {
			if code, h, err := m.serving(hostname); err != nil || code == http.StatusOK {
				return fmt.Errorf("%s is fit: %v, %w", m.name, h.Parts, err)
			}
		}
		return nil
	})
	first.waitServing("is kept", http.StatusOK, "database", "kept in service")
}

// TestUnheardNodeMayHaveTheDatabase has two nodes lose the database while they do not hear the third: no floor keeps them in service,
// since they may be the half of the cluster that cannot write. Once they hear that it has lost the database, too, the floor helps.
func TestUnheardNodeMayHaveTheDatabase(t *testing.T) {
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
