package probes_test

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// quietConfig is of node a, whose checks all succeed at once, and who tells nobody of what has changed.
func quietConfig(prober probes.Prober, see func() probes.Sight) probes.Config {
	return probes.Config{
		Cluster: "web", Node: "a",
		Key:     func(trust.PublicKey) (key [trust.PairKeySize]byte, err error) { return key, nil },
		Open:    func(probe.Options) (probes.Prober, error) { return prober, nil },
		See:     see,
		Echo:    func(context.Context, netip.Addr, time.Duration) bool { return true },
		Dial:    func(context.Context, netip.AddrPort) error { return nil },
		Changed: func(bool) {}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
}
