package linode

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// firewall is a Cloud Firewall as the API shows it. The lab keeps firewalls and does not enforce them.
type firewall struct {
	ID       int              `json:"id"`
	Label    string           `json:"label"`
	Created  timestamp        `json:"created"`
	Updated  timestamp        `json:"updated"`
	Status   string           `json:"status"`
	Rules    ruleSet          `json:"rules"`
	Tags     []string         `json:"tags"`
	Entities []firewallEntity `json:"entities"`
}

// ruleSet has the lists as they were sent: the vendor returns null for null.
type ruleSet struct {
	Inbound        []rule `json:"inbound"`
	InboundPolicy  string `json:"inbound_policy"`
	Outbound       []rule `json:"outbound"`
	OutboundPolicy string `json:"outbound_policy"`
	Version        int    `json:"version"`
	Fingerprint    string `json:"fingerprint"`
}

type rule struct {
	Action      string  `json:"action"`
	Protocol    string  `json:"protocol"`
	Ports       *string `json:"ports,omitempty"`
	Label       string  `json:"label,omitempty"`
	Description *string `json:"description,omitempty"`
	Addresses   struct {
		IPv4 []string `json:"ipv4,omitempty"`
		IPv6 []string `json:"ipv6,omitempty"`
	} `json:"addresses"`
}

func (s *Server) firewallRoutes() []route {
	const reads, writes = "firewall:read_only", "firewall:read_write"
	return []route{
		{"POST /networking/firewalls", writes, limitOther, s.createFirewall},
		{"GET /networking/firewalls", reads, limitList, s.listFirewalls},
		{"GET /networking/firewalls/{id}", reads, limitOther, s.withFirewall(func(_ *call, f *firewall) (any, error) { return s.show(f), nil })},
		{"PUT /networking/firewalls/{id}", writes, limitOther, s.withFirewall(s.updateFirewall)},
		{"DELETE /networking/firewalls/{id}", writes, limitOther, s.withFirewall(s.deleteFirewall)},
		{"GET /networking/firewalls/{id}/rules", reads, limitOther, s.withFirewall(func(_ *call, f *firewall) (any, error) { return f.Rules, nil })},
		{"PUT /networking/firewalls/{id}/rules", writes, limitOther, s.withFirewall(s.updateRules)},
		{"POST /networking/firewalls/{id}/devices", writes, limitOther, s.withFirewall(s.createDevice)},
		{"GET /networking/firewalls/{id}/devices", reads, limitList, s.withFirewall(s.listDevices)},
		{"GET /networking/firewalls/{id}/devices/{device}", reads, limitOther, s.withFirewall(s.getDevice)},
		{"DELETE /networking/firewalls/{id}/devices/{device}", writes, limitOther, s.withFirewall(s.deleteDevice)},
		{"GET /linode/instances/{id}/firewalls", "linodes:read_only", limitList, s.instanceFirewalls},
		{"GET /linode/instances/{id}/interfaces", "linodes:read_only", limitOther, s.listNics},
	}
}

// withFirewall calls do with the firewall of the path, under the lock.
func (s *Server) withFirewall(do func(*call, *firewall) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		id, err := c.number("id")
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if f := s.firewall(id); f != nil {
			return do(c, f)
		}
		return nil, notFound()
	}
}

func (s *Server) firewall(id int) *firewall {
	for _, f := range s.state.Firewalls {
		if f.ID == id {
			return f
		}
	}
	return nil
}

// checkFirewall says whether a wanted firewall exists. The caller holds the lock.
func (s *Server) checkFirewall(bad *problems, field string, id *int) {
	if id != nil && *id != 0 && s.firewall(*id) == nil {
		bad.add(field, field+" is not valid")
	}
}

func (s *Server) createFirewall(c *call) (any, error) {
	var in struct {
		Label   string   `json:"label"`
		Rules   *ruleSet `json:"rules"`
		Tags    []string `json:"tags"`
		Devices struct {
			Linodes []int `json:"linodes"`
		} `json:"devices"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var bad problems
	s.checkFirewallLabel(&bad, in.Label)
	if in.Rules == nil {
		bad.add("rules", "rules is required")
	} else {
		in.Rules.check(&bad, "rules.")
	}
	checkTags(&bad, in.Tags)
	for _, id := range in.Devices.Linodes {
		s.checkDevice(&bad, "devices.linodes", id)
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	now := s.now()
	f := &firewall{
		ID: s.state.nextID(), Label: in.Label, Created: now, Updated: now, Status: "enabled", Tags: sortedTags(in.Tags),
		Rules: *in.Rules,
	}
	f.Rules.stamp(1)
	s.state.Firewalls = append(s.state.Firewalls, f)
	for _, id := range in.Devices.Linodes {
		s.attach(f.ID, id, 0)
	}
	s.notify("firewall_create", f.entity(), nil)
	return s.show(f), nil
}

func (s *Server) listFirewalls(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []firewall{}
	for _, f := range s.state.Firewalls {
		all = append(all, s.show(f))
	}
	return page(c.Request, all, "id", "label", "status", "tags", "created", "updated")
}

func (s *Server) updateFirewall(c *call, f *firewall) (any, error) {
	var in struct {
		Label  *string   `json:"label"`
		Status *string   `json:"status"`
		Tags   *[]string `json:"tags"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	var bad problems
	if in.Label != nil && *in.Label != f.Label {
		s.checkFirewallLabel(&bad, *in.Label)
	}
	if in.Status != nil && *in.Status != "enabled" && *in.Status != "disabled" {
		bad.add("status", "Must be one of enabled, disabled")
	}
	if in.Tags != nil {
		checkTags(&bad, *in.Tags)
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	set(&f.Label, in.Label)
	set(&f.Status, in.Status)
	if in.Tags != nil {
		f.Tags = sortedTags(*in.Tags)
	}
	f.Updated = s.now()
	s.notify("firewall_update", f.entity(), nil)
	return s.show(f), nil
}

func (s *Server) deleteFirewall(_ *call, f *firewall) (any, error) {
	s.state.Firewalls = slices.DeleteFunc(s.state.Firewalls, func(other *firewall) bool { return other == f })
	s.state.Attachments = slices.DeleteFunc(s.state.Attachments, func(a attachment) bool { return a.Firewall == f.ID })
	s.notify("firewall_delete", f.entity(), nil)
	return nil, nil
}

func (s *Server) updateRules(c *call, f *firewall) (any, error) {
	var in ruleSet
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	var bad problems
	in.check(&bad, "")
	if err := bad.err(); err != nil {
		return nil, err
	}
	in.stamp(f.Rules.Version + 1)
	f.Rules, f.Updated = in, s.now()
	s.notify("firewall_rules_update", f.entity(), nil)
	return f.Rules, nil
}

func (f *firewall) entity() *entity {
	return &entity{ID: f.ID, Type: "firewall", Label: f.Label, URL: fmt.Sprintf("/v4/networking/firewalls/%d", f.ID)}
}

func (s *Server) checkFirewallLabel(bad *problems, label string) {
	if len(label) < 3 || len(label) > 32 {
		bad.add("label", "Length must be 3-32 characters")
		return
	}
	if !labelPattern().MatchString(label) || strings.Contains(label, "--") || strings.Contains(label, "__") || strings.Contains(label, "..") {
		bad.add("label", "Must only use ASCII letters, numbers, underscores, dashes, and dots, begin with a letter, and not repeat a separator")
		return
	}
	for _, other := range s.state.Firewalls {
		if other.Label == label {
			bad.add("label", "Label must be unique")
		}
	}
}

// stamp sets what the vendor adds to rules.
func (r *ruleSet) stamp(version int) {
	r.Version, r.Fingerprint = 0, ""
	data, err := json.Marshal(r)
	if err != nil {
		data = nil // strings and numbers alone always encode
	}
	r.Version, r.Fingerprint = version, fmt.Sprintf("%08x", crc32.ChecksumIEEE(data))
}

func (r *ruleSet) check(bad *problems, prefix string) {
	actions := []string{"ACCEPT", "DROP"}
	for field, policy := range map[string]string{"inbound_policy": r.InboundPolicy, "outbound_policy": r.OutboundPolicy} {
		if !slices.Contains(actions, policy) {
			bad.add(prefix+field, "Must be one of ACCEPT, DROP")
		}
	}
	if len(r.Inbound)+len(r.Outbound) > 25 {
		bad.add(prefix+"inbound", "A firewall has at most 25 rules")
	}
	for direction, rules := range map[string][]rule{"inbound": r.Inbound, "outbound": r.Outbound} {
		for n, one := range rules {
			field := fmt.Sprintf("%s%s[%d]", prefix, direction, n)
			if !slices.Contains(actions, one.Action) {
				bad.add(field+".action", "Must be one of ACCEPT, DROP")
			}
			if !slices.Contains([]string{"TCP", "UDP", "ICMP", "IPENCAP"}, one.Protocol) {
				bad.add(field+".protocol", "Must be one of TCP, UDP, ICMP, IPENCAP")
			}
			one.checkLimits(bad, field)
			for _, network := range append(slices.Clone(one.Addresses.IPv4), one.Addresses.IPv6...) {
				if _, err := netip.ParsePrefix(network); err != nil {
					bad.add(field+".addresses", "Must be a valid network: "+network)
				}
			}
		}
	}
}

// Limits of one rule: the vendor documents 255 addresses, and its console takes 15 ports, a range counting as two.
const (
	maxRuleAddresses = 255
	maxRulePorts     = 15
)

// checkLimits refuses rules of a shape or size that the vendor refuses.
func (r rule) checkLimits(bad *problems, field string) {
	if r.Label != "" && (len(r.Label) < 3 || len(r.Label) > 32) {
		bad.add(field+".label", "Length must be 3-32 characters")
	}
	if r.Description != nil && (len(*r.Description) < 1 || len(*r.Description) > 100) {
		bad.add(field+".description", "Length must be 1-100 characters")
	}
	switch n := len(r.Addresses.IPv4) + len(r.Addresses.IPv6); {
	case n == 0:
		bad.add(field+".addresses", "At least one address is required")
	case n > maxRuleAddresses:
		bad.add(field+".addresses", "A rule has at most 255 addresses")
	}
	if r.Ports == nil || *r.Ports == "" {
		return
	}
	if r.Protocol != "TCP" && r.Protocol != "UDP" {
		bad.add(field+".ports", "Ports are not allowed for protocol "+r.Protocol)
		return
	}
	count := 0
	for one := range strings.SplitSeq(*r.Ports, ",") {
		var ends [2]int
		texts := strings.Split(strings.TrimSpace(one), "-")
		for n, text := range texts {
			number, err := strconv.Atoi(text)
			if err != nil || len(texts) > len(ends) || number < 1 || number > 65535 {
				bad.add(field+".ports", "Must be 1-65535, ranges or a list of both")
				return
			}
			ends[n] = number
			count++
		}
		if len(texts) == 2 && ends[0] >= ends[1] {
			bad.add(field+".ports", "A range must begin below its end")
		}
	}
	if count > maxRulePorts {
		bad.add(field+".ports", "A rule has at most 15 ports, a range counts as two")
	}
}
