package cloudflare

import (
	"context"

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
	for _, z := range list {
		if z.Name == name {
			//nolint:staticcheck // only to change the plan is deprecated; the other way to read it needs a permission for billing
			enterprise := z.Plan.LegacyID == enterprisePlan
			out := Zone{ID: z.ID, Name: z.Name, AccountID: z.Account.ID, Enterprise: enterprise}
			c.found.Store(name, out)
			return out, nil
		}
	}
	return Zone{}, &ZoneNotFoundError{Zone: name}
}

// zonesPerPage is the most that the vendor gives of zones; fewer than perPage, so the walk ends after one page, which is
// enough for one name.
const zonesPerPage = 50
