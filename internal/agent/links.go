package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// OpenLinks begins to measure links by probes to the mesh's own UDP port.
func OpenLinks(o probe.Options, log *slog.Logger) (probes.Prober, error) { return probe.Open(o, log) }

func (s *session) newLinks() *probes.Manager {
	var open func(probe.Options) (probes.Prober, error)
	if s.a.cfg.Links != nil {
		open = func(o probe.Options) (probes.Prober, error) { return s.a.cfg.Links(o, s.log) }
	}
	return probes.New(probes.Config{
		Cluster: s.m.record.Cluster, Node: s.m.record.Node, Before: s.store.Snapshot().Statuses[s.m.record.Node].Links,
		Key: func(peer trust.PublicKey) ([trust.PairKeySize]byte, error) {
			return s.m.identity.PairKey(peer, "probe")
		},
		Open: open, See: s.seeLinks, Echo: s.echo, Dial: dialTCP, Now: s.a.cfg.Now, Log: s.log,
		Changed: func(urgent bool) {
			s.mu.Lock()
			s.appliedVersion++
			s.mu.Unlock()
			if urgent {
				s.urgent.Store(true)
				poke(s.poked)
			}
		},
	})
}

// seeLinks returns what is needed to judge links.
func (s *session) seeLinks() probes.Sight {
	in := s.input()
	_, peers, _ := s.keeper.snapshot()
	s.mu.Lock()
	driver := s.driver
	s.mu.Unlock()
	out := probes.Sight{
		Identities: make(map[string]trust.PublicKey, len(in.snapshot.Members)), Statuses: in.snapshot.Statuses, Received: in.snapshot.Received,
		Peers: peers, Driver: driver, ClockWrong: s.keeper.get(spec.ConditionClockSane).Status == spec.ConditionFalse,
	}
	if in.admitted {
		out.View = in.view
	}
	for name, member := range in.snapshot.Members {
		out.Identities[name] = member.Identity
	}
	return out
}

// echo tells whether one of three echoes to a mesh address comes back. It does not depend on the agent there.
func (s *session) echo(ctx context.Context, to netip.Addr, wait time.Duration) bool {
	_, err := s.a.cfg.System.Run(ctx, host.Command{
		Name: "ping", Args: []string{"-n", "-q", "-c", "3", "-i", "0.1", "-W", fmt.Sprintf("%.2f", wait.Seconds()), to.String()}, ReadOnly: true,
	})
	return err == nil
}

func dialTCP(ctx context.Context, to netip.AddrPort) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return err
	}
	return c.Close()
}
