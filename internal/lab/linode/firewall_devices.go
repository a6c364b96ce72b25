package linode

import (
	"fmt"
	"slices"
)

// attachment is the bond between a firewall and what it guards: an instance of the legacy generation
// or an interface of one of the new.
type attachment struct {
	ID        int       `json:"id"`
	Firewall  int       `json:"firewall"`
	Instance  int       `json:"instance"`
	Interface int       `json:"interface,omitempty"`
	Created   timestamp `json:"created"`
}

// firewallDevice is an attachment as the API shows it.
type firewallDevice struct {
	ID      int            `json:"id"`
	Created timestamp      `json:"created"`
	Updated timestamp      `json:"updated"`
	Entity  firewallEntity `json:"entity"`
}

type firewallEntity struct {
	ID     int             `json:"id"`
	Type   string          `json:"type"`
	Label  string          `json:"label"`
	URL    string          `json:"url"`
	Parent *firewallEntity `json:"parent_entity"`
}

// show returns the firewall with what it guards. The caller holds the lock, as in all functions below.
func (s *Server) show(f *firewall) firewall {
	out := *f
	out.Entities = []firewallEntity{}
	for _, device := range s.devices(f.ID) {
		out.Entities = append(out.Entities, device.Entity)
	}
	return out
}

func (s *Server) devices(firewall int) []firewallDevice {
	list := []firewallDevice{}
	for _, a := range s.state.Attachments {
		if a.Firewall == firewall {
			list = append(list, s.device(a))
		}
	}
	return list
}

func (s *Server) device(a attachment) firewallDevice {
	guarded := firewallEntity{ID: a.Instance, Type: "linode", URL: instanceURL(a.Instance)}
	if i := s.state.Instances[a.Instance]; i != nil {
		guarded.Label = i.View.Label
	}
	if a.Interface != 0 {
		parent := guarded
		guarded = firewallEntity{
			ID: a.Interface, Type: "linode_interface", Label: parent.Label, Parent: &parent,
			URL: fmt.Sprintf("%s/interfaces/%d", parent.URL, a.Interface),
		}
	}
	return firewallDevice{ID: a.ID, Created: a.Created, Updated: a.Created, Entity: guarded}
}

// attachWanted attaches a new instance to the firewalls that its request names.
func (s *Server) attachWanted(instance int, in createRequest) {
	if in.FirewallID != nil && *in.FirewallID != 0 {
		s.attach(*in.FirewallID, instance, 0)
	}
	i := s.state.Instances[instance]
	if i == nil || i.View.InterfaceGeneration != generationLinode {
		return
	}
	for _, spec := range in.Interfaces {
		one := nic{ID: s.state.nextID(), Public: present(spec.Public) == 1}
		i.Nics = append(i.Nics, one)
		if spec.FirewallID != nil && *spec.FirewallID != 0 {
			s.attach(*spec.FirewallID, instance, one.ID)
		}
	}
}

func (s *Server) attach(firewall, instance, iface int) attachment {
	a := attachment{ID: s.state.nextID(), Firewall: firewall, Instance: instance, Interface: iface, Created: s.now()}
	s.state.Attachments = append(s.state.Attachments, a)
	return a
}

func (s *Server) checkDevice(bad *problems, field string, instance int) {
	i := s.state.Instances[instance]
	if i == nil || i.View.Status == statusDeleting {
		bad.add(field, fmt.Sprintf("Linode %d not found", instance))
		return
	}
	if slices.ContainsFunc(s.state.Attachments, func(a attachment) bool { return a.Instance == instance }) {
		bad.add(field, fmt.Sprintf("Linode %d is already assigned to a firewall", instance))
	}
}

func (s *Server) createDevice(c *call, f *firewall) (any, error) {
	var in struct {
		ID   int    `json:"id"`
		Type string `json:"type"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	var bad problems
	instance, guarded := in.ID, 0
	switch in.Type {
	case "linode":
		s.checkDevice(&bad, "id", in.ID)
		if i := s.state.Instances[in.ID]; i != nil && i.View.InterfaceGeneration == generationLinode {
			bad.add("id", fmt.Sprintf("Linode %d has Linode interfaces; assign the firewall to an interface", in.ID))
		}
	case "linode_interface":
		instance, guarded = s.ownerOf(in.ID), in.ID
		switch {
		case instance == 0:
			bad.add("id", fmt.Sprintf("Linode Interface %d not found", in.ID))
		case slices.ContainsFunc(s.state.Attachments, func(a attachment) bool { return a.Interface == in.ID }):
			bad.add("id", fmt.Sprintf("Linode Interface %d is already assigned to a firewall", in.ID))
		}
	default:
		bad.add("type", "type is not valid") // the lab has nothing else to guard
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	a := s.attach(f.ID, instance, guarded)
	s.notify("firewall_device_add", f.entity(), instanceEntity(s.state.Instances[instance]))
	return s.device(a), nil
}

func (s *Server) listDevices(c *call, f *firewall) (any, error) {
	return page(c.Request, s.devices(f.ID), "id", "created", "updated", "entity.id", "entity.type")
}

func (s *Server) getDevice(c *call, f *firewall) (any, error) {
	n, err := s.findDevice(c, f)
	if err != nil {
		return nil, err
	}
	return s.device(s.state.Attachments[n]), nil
}

func (s *Server) deleteDevice(c *call, f *firewall) (any, error) {
	n, err := s.findDevice(c, f)
	if err != nil {
		return nil, err
	}
	s.state.Attachments = slices.Delete(s.state.Attachments, n, n+1)
	s.notify("firewall_device_remove", f.entity(), nil)
	return nil, nil
}

func (s *Server) findDevice(c *call, f *firewall) (index int, err error) {
	id, err := c.number("device")
	if err != nil {
		return 0, err
	}
	index = slices.IndexFunc(s.state.Attachments, func(a attachment) bool { return a.ID == id && a.Firewall == f.ID })
	if index < 0 {
		return 0, notFound()
	}
	return index, nil
}

func (s *Server) instanceFirewalls(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	list := []firewall{}
	for _, a := range s.state.Attachments {
		if f := s.firewall(a.Firewall); a.Instance == i.View.ID && f != nil {
			list = append(list, s.show(f))
		}
	}
	return page(c.Request, list, "id", "label", "status")
}
