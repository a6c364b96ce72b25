package agent

import (
	"context"
	"errors"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// portsStep makes the API and the health endpoint listen on the cluster's ports.
type portsStep struct {
	s *session
}

func (portsStep) name() string { return "ports" }

func (p portsStep) reconcile(ctx context.Context, in input) error {
	ports := p.s.ports(in.snapshot.Cluster)
	return errors.Join(
		p.s.api.listen(ctx, p.s.a.cfg.Listen, ports.API),
		p.s.a.http.listen(ctx, p.s.a.cfg.Listen, ports.Health),
	)
}

// ports returns the ports that hold: the cluster's, else those of the agent's configuration.
func (s *session) ports(c *spec.Cluster) spec.Ports {
	if c == nil {
		return s.a.cfg.Ports
	}
	return c.Ports
}
