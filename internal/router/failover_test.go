//go:build linux

package router_test

import (
	"log/slog"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/router/haproxy"
	"github.com/atollhq/terraform-provider-atoll/internal/router/mysqlrouter"
	"github.com/atollhq/terraform-provider-atoll/internal/router/routertest"
)

// BenchmarkFailover prints what applications see of a failover through each router, side by side:
//
//	go test -run '^$' -bench Failover -benchtime 10x -timeout 1h ./internal/router
func BenchmarkFailover(b *testing.B) {
	routertest.Measure(b, []routertest.Way{
		{Name: "MySQL Router, stock"},
		{Name: "MySQL Router", Driver: func(_ testing.TB, sys host.System, m *bare.Machine) router.Driver {
			return mysqlrouter.NewWith(sys, slog.New(slog.DiscardHandler), mysqlrouter.Options{Dial: m.Dial})
		}},
		{Name: "HAProxy", Driver: func(_ testing.TB, sys host.System, m *bare.Machine) router.Driver {
			return haproxy.NewWith(sys, slog.New(slog.DiscardHandler), haproxy.Options{Dial: m.Dial})
		}},
	})
}
