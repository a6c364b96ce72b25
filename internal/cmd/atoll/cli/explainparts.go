package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// judgeDatabases says what is wrong with the node's parts in databases.
func (x *explanation) judgeDatabases() {
	for _, name := range slices.Sorted(maps.Keys(x.Databases)) {
		v := x.Databases[name]
		m := v.Members[x.Node]
		if v.Outage {
			x.found(true, v.Since, "start the machines of all members; it comes back by itself when all have been heard and their data is in line. `atoll recover` shows what is missing",
				"database %s: no member is online", name)
		}
		if m.Stale {
			continue
		}
		if m.Problem != "" {
			x.found(true, m.Since, "", "database %s is %s here: %s", name, m.State, m.Problem)
		} else if m.Role == spec.MemberVoter && m.State != spec.MemberOnline {
			what := m.Progress
			if what == "" {
				what = "nothing more is said of it"
			}
			x.found(m.State != spec.MemberPreparing && m.State != spec.MemberRecovering, m.Since, "", "database %s is %s here: %s", name, m.State, what)
		}
		for _, f := range m.Findings {
			x.found(true, time.Time{}, "", "database %s, check %s: %s", name, f.Check, f.Message)
		}
		switch router := m.Router; {
		case router.Problem != "":
			x.found(true, router.Since, "", "router of database %s: %s", name, router.Problem)
		case !router.Running:
			x.found(true, router.Since, "on the node, the journal of the router's unit says why", "the router of database %s does not run: applications on this node are without the database", name)
		case !router.Writable && !v.Outage:
			x.found(true, router.Since, "", "the router of database %s reaches no server that takes writes", name)
		}
	}
}

// judgePairs says what is wrong with the node's sides of pairs.
func (x *explanation) judgePairs() {
	for _, name := range slices.Sorted(maps.Keys(x.Pairs)) {
		side := x.Pairs[name].Sides[x.Node]
		switch {
		case side.Stale:
		case side.Problem != "":
			x.found(true, side.Since, "", "pair %s: %s", name, side.Problem)
		case side.State == spec.PairDisconnected:
			x.found(true, side.Since, "see the link to the other node; changes wait until it is back", "pair %s does not reach its other side", name)
		case side.State == spec.PairFailed:
			x.found(true, side.Since, "", "pair %s: its sides are not kept equal", name)
		case side.State == spec.PairStarting:
			x.found(false, side.Since, "", "pair %s is starting: its sides have not been found equal since its programs started", name)
		}
	}
}

// judgeServing says why the node does not serve a load balancer.
func (x *explanation) judgeServing() {
	for _, hostname := range slices.Sorted(maps.Keys(x.LoadBalancers)) {
		n := x.LoadBalancers[hostname]
		switch n.State {
		case api.ServingOut:
			x.found(true, n.Since, "", "it does not serve %s: %s", hostname, n.Reason)
		case api.ServingKept:
			x.found(true, n.Since, "", "it serves %s only because too few nodes would be left: %s", hostname, n.Reason)
		case api.ServingDisabled:
			x.found(false, n.Since, "", "the operator has taken it out of %s", hostname)
		case api.ServingIn, api.ServingMaintenance, api.ServingUnknown:
		}
	}
}

// meshPortOf names the ports of the mesh, as the model has them.
func meshPortOf(in topology.Input, node string) string {
	ports, err := topology.PortsOf(in, node)
	var names []string
	for _, p := range ports {
		if p.Service == topology.ServiceMesh {
			names = append(names, fmt.Sprintf("%d/%s", p.Number, p.Protocol))
		}
	}
	if err != nil || len(names) == 0 {
		return "the port of the mesh"
	}
	return strings.Join(names, " and ")
}
