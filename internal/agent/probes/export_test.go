package probes

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Case is what a link's condition is judged by.
type Case struct {
	Link             probe.Measurement
	Mesh             spec.PeerStatus
	Theirs           *spec.LinkStatus
	MeshTCP, APITCP  string
	Lookup           error
	Away, ClockWrong bool
	Before           spec.LinkCondition
	Now              time.Time
	// Driver is tinc where it is empty.
	Driver spec.MeshDriver
}

// Judge judges the link of node a to node c.
func Judge(c Case) spec.LinkStatus {
	states := map[string]portState{"": portUnknown, "open": portOpen, "refused": portRefused, "silent": portSilent}
	return facts{
		self: "a", peer: "c", port: 655, apiPort: 7443, driver: cmp.Or(c.Driver, spec.MeshTinc), now: c.Now, link: c.Link, mesh: c.Mesh, address: netip.MustParseAddr("198.51.100.3"),
		lookup: c.Lookup, theirs: c.Theirs, said: c.Now, checked: &checked{meshPort: states[c.MeshTCP], apiPort: states[c.APITCP]}, away: c.Away, clockWrong: c.ClockWrong, before: c.Before,
	}.judge()
}
