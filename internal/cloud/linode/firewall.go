package linode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// MaxFirewallLabel is the longest label of a firewall, in characters.
const MaxFirewallLabel = 32

// Firewall is what this package reads of a Cloud Firewall.
type Firewall struct {
	ID      int
	Label   string
	Tags    []string
	Enabled bool
	Rules   FirewallRules
	// Instances are those that it guards, by themselves or by an interface.
	Instances []int
	// devices are what it is before.
	devices []linodego.FirewallDeviceCreateOptions
}

// NewFirewall describes a firewall that is to be made.
type NewFirewall struct {
	Label string
	// Mark is the tag by which one that an earlier try made is known again.
	Mark  string
	Rules FirewallRules
}

// CreateFirewall makes a firewall, or returns the one with the same label and mark that is there already, as it is. One with that
// label but without the mark is somebody else's: ErrConflict.
func (c *Client) CreateFirewall(ctx context.Context, in NewFirewall) (Firewall, error) {
	op := "create firewall " + in.Label
	for n := 1; ; n++ {
		found, ok, err := c.FindFirewall(ctx, in.Label)
		if err != nil {
			return Firewall{}, err
		}
		if ok {
			if !slices.Contains(found.Tags, in.Mark) {
				return Firewall{}, &Error{Op: op, Kind: ErrConflict, Reasons: []Reason{{Field: "label", Reason: fmt.Sprintf(
					"firewall %d has this label and is not this node's (it lacks the tag %s); rename or delete it", found.ID, in.Mark)}}}
			}
			return found, nil
		}
		made, err := call(ctx, op, func(ctx context.Context) (*linodego.Firewall, error) {
			return c.api.CreateFirewall(ctx, linodego.FirewallCreateOptions{Label: in.Label, Tags: []string{in.Mark}, Rules: in.Rules.set})
		})
		if err == nil {
			return firewallFrom(made), nil
		}
		// The answer was lost, or another run made it meanwhile: look again.
		failure, _ := asError(err)
		again := failure != nil && (failure.ambiguous() || errors.Is(failure.Kind, ErrConflict))
		if _, taken := failure.field("label"); taken {
			again = true
		}
		if !again || n == tries || rest.Sleep(ctx, c.poll) != nil {
			return Firewall{}, err
		}
	}
}

// field is Field of an error that may be nil.
func (e *Error) field(name string) (Reason, bool) {
	if e == nil {
		return Reason{}, false
	}
	return e.Field(name)
}

// FindFirewall returns the firewall with label, and whether there is one.
func (c *Client) FindFirewall(ctx context.Context, label string) (Firewall, bool, error) {
	filter, err := json.Marshal(map[string]string{"label": label})
	if err != nil {
		return Firewall{}, false, fmt.Errorf("look for firewall %s: %w", label, err)
	}
	list, err := call(ctx, "look for firewall "+label, func(ctx context.Context) ([]linodego.Firewall, error) {
		return c.api.ListFirewalls(ctx, linodego.NewListOptions(1, string(filter)))
	})
	if err != nil {
		return Firewall{}, false, err
	}
	for i := range list {
		if list[i].Label == label {
			return firewallFrom(&list[i]), true, nil
		}
	}
	return Firewall{}, false, nil
}

// MarkedFirewalls returns the firewalls that have a tag which begins with prefix.
func (c *Client) MarkedFirewalls(ctx context.Context, prefix string) ([]Firewall, error) {
	list, err := call(ctx, "list firewalls", func(ctx context.Context) ([]linodego.Firewall, error) {
		return c.api.ListFirewalls(ctx, nil)
	})
	if err != nil {
		return nil, err
	}
	var out []Firewall
	for i := range list {
		if slices.ContainsFunc(list[i].Tags, func(tag string) bool { return strings.HasPrefix(tag, prefix) }) {
			out = append(out, firewallFrom(&list[i]))
		}
	}
	return out, nil
}

// Firewall returns the firewall with id. ErrNotFound when it does not exist.
func (c *Client) Firewall(ctx context.Context, id int) (Firewall, error) {
	f, err := call(ctx, "read firewall "+strconv.Itoa(id), func(ctx context.Context) (*linodego.Firewall, error) {
		return c.api.GetFirewall(ctx, id)
	})
	if err != nil {
		return Firewall{}, err
	}
	return firewallFrom(f), nil
}

// SetFirewallRules replaces a firewall's rules in one go: there is no moment without any.
func (c *Client) SetFirewallRules(ctx context.Context, id int, rules FirewallRules) error {
	set := rules.set
	set.Version, set.Fingerprint = 0, ""
	for _, list := range []*[]linodego.FirewallRule{&set.Inbound, &set.Outbound} {
		if *list == nil {
			*list = []linodego.FirewallRule{} // null is refused
		}
	}
	_, err := call(ctx, fmt.Sprintf("set the rules of firewall %d", id), func(ctx context.Context) (*linodego.FirewallRuleSet, error) {
		return c.api.UpdateFirewallRules(ctx, id, set)
	})
	return err
}

// EnableFirewall has a firewall's rules enforced.
func (c *Client) EnableFirewall(ctx context.Context, id int) error {
	_, err := call(ctx, fmt.Sprintf("enable firewall %d", id), func(ctx context.Context) (*linodego.Firewall, error) {
		return c.api.UpdateFirewall(ctx, id, linodego.FirewallUpdateOptions{Status: linodego.FirewallEnabled})
	})
	return err
}

// GuardInstance puts a firewall before an instance that is there: before the instance, or in the newer generation before each of its
// interfaces to the public network. That it is there already is no error.
func (c *Client) GuardInstance(ctx context.Context, id int, inst Instance) error {
	devices := []linodego.FirewallDeviceCreateOptions{{ID: inst.ID, Type: linodego.FirewallDeviceLinode}}
	if inst.Generation == GenerationLinode {
		devices = nil
		list, err := c.publicInterfaces(ctx, inst.ID)
		if err != nil {
			return err
		}
		for _, nic := range list {
			devices = append(devices, linodego.FirewallDeviceCreateOptions{ID: nic, Type: linodego.FirewallDeviceLinodeInterface})
		}
	}
	for _, device := range devices {
		if err := c.guard(ctx, id, inst.ID, device); err != nil {
			return err
		}
	}
	return nil
}

// guard puts a firewall before one thing of an instance. After a lost answer, and when another run was faster, it is there already.
func (c *Client) guard(ctx context.Context, id, instance int, device linodego.FirewallDeviceCreateOptions) error {
	for n := 1; ; n++ {
		_, err := call(ctx, fmt.Sprintf("put firewall %d before instance %d", id, instance), func(ctx context.Context) (*linodego.FirewallDevice, error) {
			return c.api.CreateFirewallDevice(ctx, id, device)
		})
		if err == nil {
			return nil
		}
		if now, lookErr := c.Firewall(ctx, id); lookErr == nil && slices.Contains(now.devices, device) {
			return nil
		}
		failure, _ := asError(err)
		if failure == nil || !failure.ambiguous() || n == tries || rest.Sleep(ctx, c.poll) != nil {
			return err
		}
	}
}

// publicInterfaces returns the ids of an instance's interfaces to the public network, of the newer generation. linodego expects pages,
// which this list does not come in.
func (c *Client) publicInterfaces(ctx context.Context, instance int) ([]int, error) {
	op := fmt.Sprintf("list interfaces of instance %d", instance)
	answer, err := call(ctx, op, func(ctx context.Context) ([]byte, error) {
		resp, err := c.api.R(ctx).Get(fmt.Sprintf("linode/instances/%d/interfaces", instance))
		if err == nil && resp.IsError() {
			err = errors.New(resp.Status())
		}
		if err != nil {
			return nil, err
		}
		return resp.Body(), nil
	})
	if err != nil {
		return nil, err
	}
	var list struct {
		Interfaces []struct {
			ID     int             `json:"id"`
			Public json.RawMessage `json:"public"`
		} `json:"interfaces"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, &Error{Op: op, Kind: ErrUnreachable, Err: fmt.Errorf("read answer: %w", err)}
	}
	var out []int
	for _, nic := range list.Interfaces {
		if len(nic.Public) > 0 && string(nic.Public) != "null" {
			out = append(out, nic.ID)
		}
	}
	return out, nil
}

// DeleteFirewall deletes a firewall, which takes it off what it guards. That it does not exist is no error.
func (c *Client) DeleteFirewall(ctx context.Context, id int) error {
	_, err := call(ctx, "delete firewall "+strconv.Itoa(id), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.api.DeleteFirewall(ctx, id)
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// firewallFrom is the one place where linodego's firewall becomes ours.
func firewallFrom(in *linodego.Firewall) Firewall {
	out := Firewall{
		ID: in.ID, Label: in.Label, Tags: in.Tags, Enabled: in.Status == linodego.FirewallEnabled, Rules: firewallRulesFrom(in.Rules),
	}
	for _, e := range in.Entities {
		out.devices = append(out.devices, linodego.FirewallDeviceCreateOptions{ID: e.ID, Type: e.Type})
		switch {
		case e.Type == linodego.FirewallDeviceLinode:
			out.Instances = append(out.Instances, e.ID)
		case e.ParentEntity != nil && e.ParentEntity.Type == linodego.FirewallDeviceLinode:
			out.Instances = append(out.Instances, e.ParentEntity.ID)
		}
	}
	slices.Sort(out.Instances)
	out.Instances = slices.Compact(out.Instances)
	return out
}
