package haproxy_test

import (
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/balancer/balancertest"
	"github.com/atollhq/terraform-provider-atoll/internal/balancer/haproxy"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
)

func TestConformance(t *testing.T) {
	machinetest.Require(t, "haproxy")
	balancertest.Run(t, func(t *testing.T, m *machinetest.Machine) balancer.Driver {
		t.Helper()
		return haproxy.NewWith(m.Sys, machinetest.Logger(t, m.Name), haproxy.Options{Dial: m.DialSocket})
	}, "atoll-haproxy.service")
}
