package cloudflare

import (
	"context"
	"fmt"
	"slices"

	"github.com/cloudflare/cloudflare-go/v7/zones"
)

// Zone is a domain at Cloudflare.
type Zone struct {
	ID, Name string
	// AccountID is the account that the zone, and with it the monitors and pools of its hostnames, belong to.
	AccountID string
	// Enterprise tells whether the zone's plan is Enterprise, which has larger limits.
	Enterprise bool
}

// enterprisePlan is the vendor's name for the plan, in legacy_id.
const enterprisePlan = "enterprise"

// FindZone returns the zone of that name, *ZoneNotFoundError when the token sees none. A zone that was found is remembered.
func (c *Client) FindZone(ctx context.Context, name string) (Zone, error) {
	if known, ok := c.found.Load(name); ok {
		if z, ok := known.(Zone); ok {
			return z, nil
		}
	}
	list, err := pages(ctx, "find zone "+name, func(ctx context.Context, n float64) ([]zones.Zone, error) {
		var p zones.ZoneListParams
		p.Name.Value, p.Name.Present = name, true
		p.Page.Value, p.Page.Present = n, true
		p.PerPage.Value, p.PerPage.Present = zonesPerPage, true
		page, err := c.zones.List(ctx, p)
		if err != nil {
			return nil, err
		}
		return page.Result, nil
	})
	if err != nil {
		return Zone{}, err
	}
	list = slices.DeleteFunc(list, func(z zones.Zone) bool { return z.Name != name })
	if active := slices.DeleteFunc(slices.Clone(list), func(z zones.Zone) bool { return z.Status != zones.ZoneStatusActive }); len(active) > 0 {
		list = active // a zone that is being moved is in two accounts, and pending in one of them
	}
	switch len(list) {
	case 0:
		return Zone{}, &ZoneNotFoundError{Zone: name}
	case 1:
	default:
		return Zone{}, &Error{Op: "find zone " + name, Kind: ErrInvalid, Err: fmt.Errorf(
			"the token sees it in %d accounts, %s and %s among them; give the provider a token for one account", len(list), list[0].Account.Name, list[1].Account.Name)}
	}
	z := list[0]
	//nolint:staticcheck // only to change the plan is deprecated; the other way to read it needs a permission for billing
	enterprise := z.Plan.LegacyID == enterprisePlan
	out := Zone{ID: z.ID, Name: z.Name, AccountID: z.Account.ID, Enterprise: enterprise}
	c.found.Store(name, out)
	return out, nil
}

// zonesPerPage is the most that the vendor gives of zones; fewer than perPage, so the walk ends after one page, which is
// enough for one name.
const zonesPerPage = 50
