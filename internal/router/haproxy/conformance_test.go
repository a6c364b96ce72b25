//go:build linux

package haproxy_test

import (
	"log/slog"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/router/haproxy"
	"github.com/atollhq/terraform-provider-atoll/internal/router/routertest"
)

func TestConformance(t *testing.T) {
	routertest.Run(t, func(t testing.TB, sys host.System, m *bare.Machine) router.Driver {
		t.Helper()
		return haproxy.NewWith(sys, slog.New(slog.DiscardHandler), haproxy.Options{Dial: m.Dial})
	}, func(database string) string { return "atoll-dbproxy-" + database + ".service" })
}
