package probes

import (
	"context"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/steering"
)

// echoWait is how long an echo over the mesh may take at least, when one link may have been cut.
const echoWait = 250 * time.Millisecond

// warmUp is how long nothing is decided after the beginning.
const warmUp = 5 * time.Second

// steer leaves links that are bad and takes up those that are well.
func (m *Manager) steer(ctx context.Context, links map[string]probe.Link, now time.Time) {
	driver, able := m.sight.Driver.(mesh.Steerer)
	if !able {
		return
	}
	if now.Sub(m.opened) < warmUp {
		// Nothing is known yet of what was decided before.
		if len(m.state) > 0 && now.Sub(m.steered) >= mesh.SteerAgain/2 {
			m.tellDriver(ctx, driver, now)
		}
		return
	}
	before := m.state.Away()
	state, changes := steering.Decide(m.state, m.input(ctx, links, now))
	m.state = state
	// A node that has gone is forgotten without a decision: the one that comes under its name has a link of its own.
	gone := !slices.Equal(before, state.Away()) && len(changes) == 0
	for _, c := range changes {
		if c.Away {
			m.cfg.Log.Warn("the direct link is left, its traffic goes by another node", "peer", c.Peer, "why", string(c.Why), "via", c.Via, "at_least", c.Hold.String())
		} else {
			m.cfg.Log.Info("the direct link is in use again", "peer", c.Peer, "why", string(c.Why))
		}
	}
	if len(changes) == 0 && !gone && (len(state.Away()) == 0 || now.Sub(m.steered) < mesh.SteerAgain/2) {
		return
	}
	m.tellDriver(ctx, driver, now)
	if len(changes) > 0 {
		m.tellSteering()
	}
}

func (m *Manager) tellDriver(ctx context.Context, driver mesh.Steerer, now time.Time) {
	m.steered = now
	if err := driver.Steer(ctx, m.state.Away()); err != nil && ctx.Err() == nil {
		m.cfg.Log.Error("the mesh is not steered", "error", err)
	}
}

// tellSteering lets others know at once what was decided.
func (m *Manager) tellSteering() {
	next := map[string]spec.LinkStatus{}
	for name, link := range m.All() {
		link.Steering = steeringStatus(m.state, name)
		next[name] = link
	}
	m.publish(next, true)
}

// input puts together what this node measures and what others say they do.
func (m *Manager) input(ctx context.Context, links map[string]probe.Link, now time.Time) steering.Input {
	s := m.sight
	in := steering.Input{
		Self: m.cfg.Node, Now: now, Links: map[steering.Pair]steering.Quality{}, Direct: map[steering.Pair]bool{}, Reachable: map[string]bool{},
	}
	for _, p := range s.View.Peers {
		in.Peers = append(in.Peers, p.Name)
		in.Reachable[p.Name] = s.Peers[p.Name].Reachable
		if len(p.Addresses) == 0 {
			continue // there is no direct link that this node could leave
		}
		link := links[p.Name]
		public := link.Public
		if public.In.Missing > 1 || public.Out.Missing > 1 {
			m.checks.suspect(ctx, p.Name, p.MeshAddress, max(echoWait, 2*public.RTT))
		}
		// Silence alone is no dead link: it may be the agent that does not run, or a firewall that lets the mesh in as answers only.
		dead := m.checks.silentOverMesh(p.Name, m.starved) && now.Sub(m.starved) >= afterStarving || m.state[p.Name].Away
		in.Links[steering.Pair{From: p.Name, To: m.cfg.Node}] = quality(public.In, public.RTT, dead)
		in.Links[steering.Pair{From: m.cfg.Node, To: p.Name}] = quality(public.Out, public.RTT, dead)
		if now.Sub(s.Received[p.Name]) >= believable {
			continue
		}
		m.hear(in, p.Name, s.Statuses[p.Name])
	}
	return in
}

// quality is that of a direction. One that is silent and not dead is as it was before.
func quality(d probe.Direction, rtt time.Duration, dead bool) steering.Quality {
	return steering.Quality{Known: d.Known, Dead: d.Silent && dead, Fast: d.Loss.Fast, Mid: d.Loss.Mid, Slow: d.Loss.Slow, RTT: rtt}
}

// hear takes what another node says of its links.
func (m *Manager) hear(in steering.Input, node string, status spec.Status) {
	for other, link := range status.Links {
		if other == m.cfg.Node {
			continue
		}
		direct := status.Peers[other].Direct && status.Peers[other].Reachable && (link.Steering == nil || !link.Steering.Away)
		in.Direct[steering.Pair{From: node, To: other}] = direct
		rtt := time.Duration(link.RTT * float64(time.Millisecond))
		for pair, d := range map[steering.Pair]*spec.LinkDirection{{From: node, To: other}: link.Out, {From: other, To: node}: link.In} {
			if d != nil {
				q := steering.Quality{Known: true, Dead: d.Silent && !direct, Fast: d.Now, Slow: d.Loss, RTT: rtt}
				if d.Silent {
					// It may be an agent that does not run: the mesh goes that way all the same.
					q.Fast, q.Slow = 0, 0
				}
				in.Links[pair] = q
			}
		}
	}
}
