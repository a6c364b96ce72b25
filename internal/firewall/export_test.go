package firewall

import (
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Script is what the package's tests look at: the commands that load a filter, on trial before another one unless trial is 0.
func Script(filter, before *topology.HostFirewall, trial time.Duration, dropped uint64) string {
	return ruleset{filter: filter, before: before, trial: trial}.script(counters{"dropped_public": {Packets: dropped, Bytes: 60 * dropped}})
}
