package linode

import (
	"encoding/json"
	"fmt"
)

// Interface generations.
const (
	generationLegacy = "legacy_config"
	generationLinode = "linode"
)

// interfaceSpec is a wanted interface of either generation.
type interfaceSpec struct {
	Purpose     *string         `json:"purpose"` // this and the next three: legacy
	Primary     bool            `json:"primary"`
	IPAMAddress *string         `json:"ipam_address"`
	Label       *string         `json:"label"`
	FirewallID  *int            `json:"firewall_id"`
	Public      json.RawMessage `json:"public"`
	VPC         json.RawMessage `json:"vpc"`
	VLAN        json.RawMessage `json:"vlan"`
}

// legacyInterface is a checked interfaceSpec.
type legacyInterface struct {
	Purpose     string  `json:"purpose"`
	Primary     bool    `json:"primary,omitempty"`
	IPAMAddress *string `json:"ipam_address,omitempty"`
	Label       *string `json:"label,omitempty"`
}

func legacyInterfaces(specs []interfaceSpec) []legacyInterface {
	var out []legacyInterface
	for _, spec := range specs {
		out = append(out, legacyInterface{*spec.Purpose, spec.Primary, spec.IPAMAddress, spec.Label})
	}
	return out
}

// checkInterfaces knows what belongs to which generation; the vendor refuses mixtures. The caller
// holds the lock.
func (s *Server) checkInterfaces(bad *problems, in createRequest) {
	generation := generationLegacy
	set(&generation, in.InterfaceGeneration)
	switch generation {
	case generationLegacy:
		s.checkLegacyInterfaces(bad, in)
	case generationLinode:
		s.checkLinodeInterfaces(bad, in)
	default:
		bad.add("interface_generation", "Must be one of legacy_config, linode")
	}
}

func (s *Server) checkLegacyInterfaces(bad *problems, in createRequest) {
	if in.NetworkHelper != nil {
		bad.add("network_helper", "network_helper is only available with interface_generation linode")
	}
	s.checkFirewall(bad, "firewall_id", in.FirewallID)
	for n, spec := range in.Interfaces {
		field := fmt.Sprintf("interfaces[%d]", n)
		switch {
		case spec.Purpose == nil:
			bad.add(field+".purpose", "purpose is required")
		case *spec.Purpose == "vpc":
			bad.add(field+".subnet_id", "subnet_id is not valid") // the lab has no VPC
		case *spec.Purpose != "public" && *spec.Purpose != "vlan":
			bad.add(field+".purpose", "Must be one of public, vlan, vpc")
		}
	}
}

func (s *Server) checkLinodeInterfaces(bad *problems, in createRequest) {
	if in.FirewallID != nil {
		bad.add("firewall_id", "firewall_id is not allowed with interface_generation linode; set it on the interface")
	}
	if in.PrivateIP {
		bad.add("private_ip", "private_ip is not allowed with interface_generation linode")
	}
	for n, spec := range in.Interfaces {
		field := fmt.Sprintf("interfaces[%d]", n)
		if spec.Purpose != nil {
			bad.add(field+".purpose", "purpose is not allowed with interface_generation linode")
		}
		if kinds := present(spec.Public) + present(spec.VPC) + present(spec.VLAN); kinds != 1 {
			bad.add(field, "Exactly one of public, vpc, vlan is required")
		}
		s.checkFirewall(bad, field+".firewall_id", spec.FirewallID)
	}
}

func present(raw json.RawMessage) int {
	if len(raw) == 0 || string(raw) == "null" {
		return 0
	}
	return 1
}
