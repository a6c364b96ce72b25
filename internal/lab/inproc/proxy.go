package inproc

import (
	"context"
	"log/slog"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// proxy is a local proxy of which only the configuration exists; it finds every application well.
type proxy struct {
	mu     sync.Mutex
	config *balancer.Config
}

func newProxy(host.System, *slog.Logger) balancer.Driver { return &proxy{} }

// Apply implements balancer.Driver.
func (p *proxy) Apply(_ context.Context, c *balancer.Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config = c
	return nil
}

// Release implements balancer.Driver: nobody's requests come here.
func (*proxy) Release(context.Context, string, string) error { return nil }

// Status implements balancer.Driver.
func (p *proxy) Status(context.Context) (balancer.Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := balancer.Status{Running: p.config != nil, Services: map[string]map[string]bool{}}
	if p.config == nil {
		return s, nil
	}
	for _, service := range p.config.Services {
		well := map[string]bool{}
		for _, server := range service.Servers {
			well[server.Node] = true
		}
		s.Services[service.Hostname] = well
	}
	return s, nil
}
