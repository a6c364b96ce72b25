//go:build linux

package network

import "net/netip"

// Ruleset renders impairments with a table of addresses instead of a network.
func Ruleset(list []Impairment, known map[string][]netip.Prefix) (string, error) {
	return ruleset(list, func(name string) ([]netip.Prefix, error) { return known[name], nil })
}

// Plan is the address plan on its own.
type Plan struct{ *plan }

// NewPlan returns the plan of an empty lab.
func NewPlan() Plan { return Plan{newPlan()} }

// Take opens the site and allocates one address in it.
func (p Plan) Take(site, host string) (Addresses, error) {
	s, _, err := p.open(site)
	if err != nil {
		return Addresses{}, err
	}
	return p.allocate(s, host)
}

// Give returns addresses to the plan.
func (p Plan) Give(a Addresses) { p.release(a) }
