//go:build linux

package drills

import (
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// sixMesh is a mesh of three nodes that have public addresses of IPv6 alone. Each keeps a packet filter of its own, so that what comes by
// IPv6 is let in on purpose.
func sixMesh(driver spec.MeshDriver, prefix string, reroute time.Duration) *meshOf {
	m := newMesh(driver, prefix, reroute)
	m.Name = fmt.Sprintf("a mesh of three nodes without IPv4 (%s)", driver)
	m.Machines = []lab.Machine{
		{Name: lineAC.from, Site: network.SiteColo, Access: network.AccessIPv6},
		{Name: lineAC.third, Site: network.SiteVPS, Access: network.AccessIPv6},
		{Name: lineAC.to, Site: network.SiteVPS, Access: network.AccessIPv6},
	}
	// Each site counts from ten, as of IPv4.
	hosts := map[string]string{lineAC.from: "2001:db8:0:1::a", lineAC.third: "2001:db8:0:2::a", lineAC.to: "2001:db8:0:2::b"}
	var parts []string
	for _, machine := range m.Machines {
		parts = append(parts, fmt.Sprintf("%s = { provider = %q, site = %q, host = %q }", machine.Name, machine.Site, "hong-kong", hosts[machine.Name]))
	}
	m.Env = append(m.Env, "TF_VAR_machines={ "+strings.Join(parts, ", ")+" }", "TF_VAR_linodes={}", "TF_VAR_host_firewall={}")
	return m
}

// meshIPv6 is what happens to the links of such meshes.
func meshIPv6() []Drill {
	tinc := sixMesh(spec.MeshTinc, "mesh/ipv6-only-", 2*time.Second)
	wireguard := sixMesh(spec.MeshWireGuard, "mesh/ipv6-only-wireguard-", 1500*time.Millisecond)
	return []Drill{tinc.cut(lineAC), tinc.oneWay(lineBC), tinc.lossy(lineAB, 20), wireguard.cut(lineAC), wireguard.lossy(lineAB, 20)}
}
