package agent

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/firewall"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// trialLook is how often a filter on trial is looked at, and who else has one.
	trialLook = time.Second
	// trialCall is how often a node calls another one whose filter is on trial, and how long it waits for an answer.
	trialCall = 3 * time.Second
	// reasonTrial is the reason of the condition of a filter on trial, by which other nodes know that they are to call.
	reasonTrial = "Trial"
)

// filterStep keeps the node's own packet filter. It is beside the firewall of Atoll's image, whose ports are open to everybody who
// this one lets in.
type filterStep struct{ s *session }

func (filterStep) name() string { return "host firewall" }

func (f filterStep) reconcile(ctx context.Context, in input) error {
	if in.view == nil {
		return nil // what is there stays
	}
	return f.s.keepFilter(ctx, in.view)
}

// keepFilter makes the filter as the view has it, and says how it is.
func (s *session) keepFilter(ctx context.Context, view *topology.View) error {
	state, err := s.a.filter.Apply(ctx, view.HostFirewall)
	if s.keeper == nil || ctx.Err() != nil { // a plan has no conditions
		return err
	}
	const t = spec.ConditionFirewallReady
	before := "the one before holds"
	if !state.Before {
		before = "the node has none now"
	}
	who := "another node"
	if state.Operator {
		who = "the operator"
	}
	switch {
	case err != nil:
		s.keeper.set(t, spec.ConditionFalse, "Failed", "%v", err)
	case state.Phase == firewall.Off:
		s.keeper.unset(t)
	case state.Phase == firewall.Enforced:
		s.keeper.set(t, spec.ConditionTrue, "Enforced", "")
	case state.Phase == firewall.OnTrial:
		s.keeper.set(t, spec.ConditionUnknown, reasonTrial, "a change of the packet filter is on trial since %s: unless %s calls this node within %s, it is taken back",
			state.Since.Format(time.RFC3339), who, state.Within)
	case state.Interrupted:
		s.keeper.set(t, spec.ConditionFalse, "RolledBack", "a change of the packet filter was taken back at %s, since the machine went down in each of its trials: %s",
			state.Since.Format(time.RFC3339), before)
	case state.Operator:
		s.keeper.set(t, spec.ConditionFalse, "RolledBack", "a change of the packet filter was taken back at %s, since the operator did not come through within %s: %s; "+
			"mend host_firewall.operators; any other change of host_firewall, such as of confirm_within, has it tried again", state.Since.Format(time.RFC3339), state.Within, before)
	default:
		s.keeper.set(t, spec.ConditionFalse, "RolledBack", "a change of the packet filter was taken back at %s, since no other node came through within %s: %s; it is tried again",
			state.Since.Format(time.RFC3339), state.Within, before)
	}
	return err
}

// watchFilters looks after this node's filter while that is on trial, and calls other nodes whose filters are, until ctx ends.
func (s *session) watchFilters(ctx context.Context) error {
	called := map[string]time.Time{}
	var calls sync.WaitGroup
	defer calls.Wait()
	tick := time.NewTicker(trialLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if s.a.filter.Trying() {
			if in := s.input(); in.view != nil {
				if err := s.keepFilter(ctx, in.view); err != nil && ctx.Err() == nil {
					s.log.Warn("the packet filter on trial cannot be looked at", "error", err)
				}
			}
		}
		snapshot := s.store.Snapshot()
		for node, status := range snapshot.Statuses {
			c, found := status.Condition(spec.ConditionFirewallReady)
			if node == s.m.record.Node || !found || c.Status != spec.ConditionUnknown || c.Reason != reasonTrial || time.Since(called[node]) < trialCall {
				continue
			}
			called[node] = time.Now()
			calls.Go(func() { s.callThrough(ctx, snapshot, node) })
		}
	}
}

// callThrough calls a node whose filter is on trial over a connection of its own, at its public addresses where it has any. That it
// comes through is all there is to say.
func (s *session) callThrough(ctx context.Context, snapshot *store.Snapshot, node string) {
	ctx, cancel := context.WithTimeout(ctx, trialCall)
	defer cancel()
	target := s.target(snapshot, node)
	if snapshot.Cluster != nil && len(snapshot.Nodes[node].Addresses) > 0 {
		target.Endpoints = snapshot.Nodes[node].Endpoints(s.ports(snapshot.Cluster).API)
	}
	client := s.client(target)
	defer client.Close()
	if _, err := client.Info(ctx); err != nil {
		s.log.Debug("a node whose packet filter is on trial does not answer", "node", node, "error", err)
	}
}

// acceptedKey is the key of when a connection was accepted, in the context of its requests.
type acceptedKey struct{}

// markAccepted remembers when a connection was accepted.
func markAccepted(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, acceptedKey{}, time.Now())
}

// confirming serves next, and tells a packet filter on trial who has come through it from outside.
func (s *session) confirming(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.a.filter.Trying() {
			s.confirm(r)
		}
		next.ServeHTTP(w, r)
	})
}

func (s *session) confirm(r *http.Request) {
	accepted, ok := r.Context().Value(acceptedKey{}).(time.Time)
	if !ok || r.TLS == nil {
		return
	}
	caller, err := s.m.root.CallerFromState(*r.TLS, s.a.cfg.Now())
	if err != nil {
		return
	}
	snapshot := s.store.Snapshot()
	if snapshot.Cluster == nil || !s.fromOutside(r, snapshot) {
		return
	}
	member, admitted := snapshot.Members[caller.Node]
	if caller.Operator && !listed(r, snapshot.Nodes[s.m.record.Node].HostFirewall) {
		return
	}
	if caller.Operator || caller.Node != s.m.record.Node && admitted && member.Identity == caller.Identity {
		s.a.filter.Passed(caller.Operator, accepted)
	}
}

// listed tells whether a call comes from one of the operators' addresses, if they are named: where the API is open to everybody in a
// family of addresses, a call says nothing of SSH.
func listed(r *http.Request, f *spec.HostFirewall) bool {
	if f == nil || f.Operators == nil {
		return true
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && slices.ContainsFunc(f.Operators, func(text string) bool {
		network, ok := spec.ParseNetwork(text)
		return ok && network.Contains(from.Addr().Unmap())
	})
}

// fromOutside tells whether a call came to one of the node's public addresses, or whether it has none.
func (s *session) fromOutside(r *http.Request, snapshot *store.Snapshot) bool {
	addresses := snapshot.Nodes[s.m.record.Node].Addresses
	if len(addresses) == 0 {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil || snapshot.Cluster.MeshCIDR.Contains(at.Addr().Unmap()) {
		return false
	}
	// What comes to a loopback address is from this machine, unless the node is known by it.
	return !at.Addr().IsLoopback() || slices.Contains(addresses, at.Addr().Unmap().String())
}

// newFilter returns the packet filter of the agent's machine.
func newFilter(cfg Config) *firewall.Firewall {
	return firewall.New(cfg.System, cfg.StateDir, cfg.Now)
}
