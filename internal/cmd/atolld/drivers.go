package main

import (
	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/drivers"
)

// withDrivers gives an agent every driver that there is.
func withDrivers(cfg *agent.Config) {
	cfg.Drivers, cfg.Proxies = drivers.Mesh(), drivers.Proxies()
	cfg.Databases, cfg.Routers = drivers.Databases(), drivers.Routers()
	cfg.Replications = drivers.Replications()
	cfg.Links = agent.OpenLinks
}
