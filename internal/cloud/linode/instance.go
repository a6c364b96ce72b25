package linode

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// MaxUserData is the largest user data that Linode takes, in bytes before base64.
const MaxUserData = 65535

// Generation is how an instance's network interfaces are managed.
type Generation string

// The generations of network interfaces.
const (
	// GenerationLegacyConfig keeps interfaces in the configuration profile.
	GenerationLegacyConfig Generation = "legacy_config"
	// GenerationLinode has interfaces as objects of their own.
	GenerationLinode Generation = "linode"
)

// Generations lists every generation of network interfaces.
func Generations() []Generation { return []Generation{GenerationLegacyConfig, GenerationLinode} }

// Instance is what this package reads of an instance.
type Instance struct {
	ID     int
	Label  string
	Region string
	Type   string
	Image  string
	Tags   []string
	Status string
	IPv4   netip.Addr
	// IPv6 is the SLAAC address, invalid when there is none.
	IPv6       netip.Addr
	Generation Generation
	Created    time.Time
}

// Addresses returns the public addresses, IPv4 first.
func (i Instance) Addresses() []string {
	var out []string
	for _, a := range []netip.Addr{i.IPv4, i.IPv6} {
		if a.IsValid() {
			out = append(out, a.String())
		}
	}
	return out
}

// Create describes a new instance.
type Create struct {
	Label, Region, Type, Image string
	// Mark is the tag by which an instance that an earlier try made is known again. It is put beside Tags.
	Mark string
	Tags []string
	// UserData is what the machine reads at first boot; secret, never logged.
	UserData       []byte
	AuthorizedKeys []string
	FirewallID     int
	Generation     Generation
}

// CreateInstance creates an instance, or returns the one with the same label and mark that is there already. adopted tells
// that this call has not made it: an earlier run did, or another one at the same time. An instance whose answer was lost
// on its way is found again and is this call's. One with that label but without the mark is somebody else's: ErrConflict.
func (c *Client) CreateInstance(ctx context.Context, in Create) (inst Instance, adopted bool, err error) {
	op := "create instance " + in.Label
	opts, err := createOptions(in)
	if err != nil {
		return Instance{}, false, fmt.Errorf("%s: %w", op, err)
	}
	asked := false
	for n := 1; ; n++ {
		found, ok, err := c.FindInstance(ctx, in.Label)
		if err != nil {
			return Instance{}, false, err
		}
		if ok {
			return c.adopt(ctx, op, found, in, !asked)
		}
		made, err := call(ctx, op, func(ctx context.Context) (*linodego.Instance, error) { return c.api.CreateInstance(ctx, opts) })
		if err == nil {
			return fromAPI(made), false, nil
		}
		failure, _ := asError(err)
		if failure == nil || !failure.ambiguous() && !errors.Is(failure.Kind, ErrInvalid) && !errors.Is(failure.Kind, ErrConflict) {
			return Instance{}, false, err
		}
		asked = asked || failure.ambiguous()
		// The answer was lost, or another run took the label between the look and the request: look again.
		if found, ok, lookErr := c.FindInstance(ctx, in.Label); lookErr == nil && ok {
			return c.adopt(ctx, op, found, in, !asked)
		}
		if errors.Is(failure.Kind, ErrInvalid) || n == tries {
			return Instance{}, false, err
		}
		if rest.Sleep(ctx, c.poll) != nil {
			return Instance{}, false, err
		}
	}
}

// adopt returns found as the instance that in describes, unless something differs that cannot be changed any more. It
// changes nothing: whose the instance is may not be settled yet. With which SSH keys it was made the API does not tell.
func (c *Client) adopt(ctx context.Context, op string, found Instance, in Create, foreign bool) (Instance, bool, error) {
	differs := func(field, text string) (Instance, bool, error) {
		return Instance{}, false, &Error{Op: op, Kind: ErrConflict, Reasons: []Reason{{Field: field, Reason: text}}}
	}
	if !slices.Contains(found.Tags, in.Mark) {
		return differs("label", fmt.Sprintf("instance %d has this label and is not this node's (it lacks the tag %s); choose another label or delete that instance", found.ID, in.Mark))
	}
	for _, v := range []struct{ field, has, want string }{
		{"region", found.Region, in.Region},
		{"type", found.Type, in.Type},
		{"image", found.Image, in.Image},
		{"interface_generation", string(found.Generation), string(in.Generation)},
	} {
		if v.has != v.want && v.want != "" {
			return differs(v.field, fmt.Sprintf("an earlier, unfinished run made instance %d with %s %q, not %q; delete that instance", found.ID, v.field, v.has, v.want))
		}
	}
	has, err := c.firewalls(ctx, found.ID)
	if err != nil {
		return Instance{}, false, err
	}
	// Without one asked for the account's default may guard it. Those of single interfaces are not listed here.
	if len(has) > 0 && in.FirewallID != 0 && !slices.Contains(has, in.FirewallID) || len(has) == 0 && in.FirewallID != 0 && in.Generation != GenerationLinode {
		return differs("firewall_id", fmt.Sprintf("an earlier, unfinished run made instance %d with firewalls %v, not %d; delete that instance", found.ID, has, in.FirewallID))
	}
	return found, foreign, nil
}

// SettleTags gives an adopted instance the tags of in, mark included, unless it has them.
func (c *Client) SettleTags(ctx context.Context, inst Instance, in Create) (Instance, error) {
	if sameTags(inst.Tags, append(slices.Clone(in.Tags), in.Mark)) {
		return inst, nil
	}
	return c.UpdateInstance(ctx, inst.ID, inst.Label, in.Mark, in.Tags)
}

// firewalls returns the firewalls that guard an instance as a whole.
func (c *Client) firewalls(ctx context.Context, id int) ([]int, error) {
	list, err := call(ctx, "list firewalls of instance "+strconv.Itoa(id), func(ctx context.Context) ([]linodego.Firewall, error) {
		return c.api.ListInstanceFirewalls(ctx, id, nil)
	})
	if err != nil {
		return nil, err
	}
	var out []int
	for _, f := range list {
		out = append(out, f.ID)
	}
	return out, nil
}

// sameTags compares tags as the API does, which keeps each once and in an order of its own.
func sameTags(a, b []string) bool {
	set := func(tags []string) []string {
		out := slices.Sorted(slices.Values(tags))
		return slices.Compact(out)
	}
	return slices.Equal(set(a), set(b))
}

func createOptions(in Create) (linodego.InstanceCreateOptions, error) {
	if len(in.UserData) > MaxUserData {
		return linodego.InstanceCreateOptions{}, fmt.Errorf("user data has %d bytes, more than %d", len(in.UserData), MaxUserData)
	}
	// Linode wants a way in; nobody is told this one.
	password := make([]byte, 32)
	if _, err := rand.Read(password); err != nil {
		return linodego.InstanceCreateOptions{}, fmt.Errorf("make a root password: %w", err)
	}
	opts := linodego.InstanceCreateOptions{
		Label: in.Label, Region: in.Region, Type: in.Type, Image: in.Image,
		Tags: append(slices.Clone(in.Tags), in.Mark), AuthorizedKeys: in.AuthorizedKeys,
		RootPass:            base64.RawURLEncoding.EncodeToString(password) + "-aA1",
		Metadata:            &linodego.InstanceMetadataOptions{UserData: base64.StdEncoding.EncodeToString(in.UserData)},
		InterfaceGeneration: linodego.InterfaceGeneration(in.Generation),
	}
	if in.Generation == GenerationLinode {
		nic := linodego.LinodeInterfaceCreateOptions{Public: &linodego.PublicInterfaceCreateOptions{}}
		if in.FirewallID != 0 {
			nic.FirewallID = &in.FirewallID
		}
		opts.LinodeInterfaces = []linodego.LinodeInterfaceCreateOptions{nic}
	} else {
		opts.FirewallID = in.FirewallID
	}
	return opts, nil
}

// FindInstance returns the instance with label, and whether there is one.
func (c *Client) FindInstance(ctx context.Context, label string) (Instance, bool, error) {
	filter, err := json.Marshal(map[string]string{"label": label})
	if err != nil {
		return Instance{}, false, fmt.Errorf("look for instance %s: %w", label, err)
	}
	list, err := call(ctx, "look for instance "+label, func(ctx context.Context) ([]linodego.Instance, error) {
		return c.api.ListInstances(ctx, linodego.NewListOptions(1, string(filter)))
	})
	if err != nil {
		return Instance{}, false, err
	}
	for i := range list {
		if list[i].Label == label {
			return fromAPI(&list[i]), true, nil
		}
	}
	return Instance{}, false, nil
}

// MarkedInstances returns the instances that have a tag which begins with prefix.
func (c *Client) MarkedInstances(ctx context.Context, prefix string) ([]Instance, error) {
	// The API filters by whole tags only, so all are listed; linodego walks the pages.
	list, err := call(ctx, "list instances", func(ctx context.Context) ([]linodego.Instance, error) {
		return c.api.ListInstances(ctx, nil)
	})
	if err != nil {
		return nil, err
	}
	var out []Instance
	for i := range list {
		if slices.ContainsFunc(list[i].Tags, func(tag string) bool { return strings.HasPrefix(tag, prefix) }) {
			out = append(out, fromAPI(&list[i]))
		}
	}
	return out, nil
}

// Instance returns the instance with id. ErrNotFound when it does not exist.
func (c *Client) Instance(ctx context.Context, id int) (Instance, error) {
	inst, err := call(ctx, "read instance "+strconv.Itoa(id), func(ctx context.Context) (*linodego.Instance, error) {
		return c.api.GetInstance(ctx, id)
	})
	if err != nil {
		return Instance{}, err
	}
	return fromAPI(inst), nil
}

// UpdateInstance sets the label and the tags, mark included.
func (c *Client) UpdateInstance(ctx context.Context, id int, label, mark string, tags []string) (Instance, error) {
	all := append(slices.Clone(tags), mark)
	inst, err := call(ctx, "update instance "+strconv.Itoa(id), func(ctx context.Context) (*linodego.Instance, error) {
		return c.api.UpdateInstance(ctx, id, linodego.InstanceUpdateOptions{Label: label, Tags: &all})
	})
	if err != nil {
		return Instance{}, err
	}
	return fromAPI(inst), nil
}

// DeleteInstance deletes the instance with id. That it does not exist is no error.
func (c *Client) DeleteInstance(ctx context.Context, id int) error {
	_, err := call(ctx, "delete instance "+strconv.Itoa(id), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.api.DeleteInstance(ctx, id)
	})
	if failure, ok := asError(err); ok && errors.Is(failure.Kind, ErrNotFound) {
		return nil
	}
	return err
}

// fromAPI is the one place where linodego's instance becomes ours.
func fromAPI(in *linodego.Instance) Instance {
	out := Instance{
		ID: in.ID, Label: in.Label, Region: in.Region, Type: in.Type, Image: in.Image, Tags: in.Tags,
		Status: string(in.Status), Generation: Generation(in.InterfaceGeneration),
	}
	if in.Created != nil {
		out.Created = *in.Created
	}
	for _, ip := range in.IPv4 {
		// The list also holds private addresses (192.168.128.0/17).
		if a, ok := netip.AddrFromSlice(*ip); ok && !a.Unmap().IsPrivate() {
			out.IPv4 = a.Unmap()
			break
		}
	}
	if p, err := netip.ParsePrefix(in.IPv6); err == nil {
		out.IPv6 = p.Addr()
	}
	return out
}
