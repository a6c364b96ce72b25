//go:build linux

package mysqlrouter_test

import (
	"log/slog"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/router/mysqlrouter"
	"github.com/atollhq/terraform-provider-atoll/internal/router/routertest"
)

func TestConformance(t *testing.T) {
	routertest.Run(t, func(t testing.TB, sys host.System, m *bare.Machine) router.Driver {
		t.Helper()
		return mysqlrouter.NewWith(sys, slog.New(slog.DiscardHandler), mysqlrouter.Options{Dial: m.Dial})
	}, func(database string) string { return "atoll-mysqlrouter-" + database + ".service" })
}
