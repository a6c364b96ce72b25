package linode

import "fmt"

// nic is an interface of the newer generation.
type nic struct {
	ID     int  `json:"id"`
	Public bool `json:"public"`
}

// nicView is a nic as the API shows it, as far as the lab knows it.
type nicView struct {
	ID           int                 `json:"id"`
	Version      int                 `json:"version"`
	MACAddress   string              `json:"mac_address"`
	Created      timestamp           `json:"created"`
	Updated      timestamp           `json:"updated"`
	DefaultRoute map[string]bool     `json:"default_route"`
	Public       *map[string]nicSide `json:"public"`
	VPC          *struct{}           `json:"vpc"`
	VLAN         *struct{}           `json:"vlan"`
}

type nicSide struct {
	Addresses []nicAddress `json:"addresses,omitempty"`
	Shared    []struct{}   `json:"shared"`
}

type nicAddress struct {
	Address string `json:"address"`
	Primary bool   `json:"primary"`
}

// listNics lists an instance's interfaces of the newer generation: one list, without pages, as the vendor has it.
func (s *Server) listNics(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	list := []nicView{}
	for _, n := range i.Nics {
		view := nicView{
			ID: n.ID, Version: 1, MACAddress: fmt.Sprintf("22-00-%02X-%02X-%02X-%02X", byte(n.ID>>24), byte(n.ID>>16), byte(n.ID>>8), byte(n.ID)),
			Created: i.View.Created, Updated: i.View.Created, DefaultRoute: map[string]bool{"ipv4": n.Public, "ipv6": n.Public},
		}
		if n.Public {
			side := nicSide{Shared: []struct{}{}}
			for _, address := range i.View.IPv4 {
				side.Addresses = append(side.Addresses, nicAddress{Address: address.String(), Primary: true})
			}
			view.Public = &map[string]nicSide{"ipv4": side}
		}
		list = append(list, view)
	}
	return map[string]any{"interfaces": list}, nil
}

// ownerOf returns the id of the instance that has an interface, 0 for none. The caller holds the lock.
func (s *Server) ownerOf(id int) int {
	for owner, i := range s.state.Instances {
		for _, n := range i.Nics {
			if n.ID == id && i.View.Status != statusDeleting {
				return owner
			}
		}
	}
	return 0
}
