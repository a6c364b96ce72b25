package cloudflare

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Zone is a domain that the account serves.
type Zone struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedOn time.Time `json:"created_on"`
}

// CheckZone says what is wrong with the name of a zone.
func CheckZone(name string) error {
	if !hostPattern.MatchString(name) || !strings.Contains(name, ".") || strings.ToLower(name) != name || strings.Contains(name, "*") {
		return fmt.Errorf("%q is no domain such as %s", name, DefaultZone)
	}
	return nil
}

// zoneView is a zone as the API shows it.
type zoneView struct {
	Zone
	Status              string      `json:"status"`
	Paused              bool        `json:"paused"`
	Type                string      `json:"type"`
	DevelopmentMode     int         `json:"development_mode"`
	NameServers         []string    `json:"name_servers"`
	OriginalNameServers []string    `json:"original_name_servers"`
	OriginalRegistrar   *string     `json:"original_registrar"`
	OriginalDNSHost     *string     `json:"original_dnshost"`
	ModifiedOn          time.Time   `json:"modified_on"`
	ActivatedOn         time.Time   `json:"activated_on"`
	Meta                zoneMeta    `json:"meta"`
	Owner               zoneOwner   `json:"owner"`
	Account             accountName `json:"account"`
	Permissions         []string    `json:"permissions"`
	Plan                zonePlan    `json:"plan"`
	Tenant              tenant      `json:"tenant"`
	TenantUnit          tenantUnit  `json:"tenant_unit"`
}

type zoneMeta struct {
	Step                   int  `json:"step"`
	CustomCertificateQuota int  `json:"custom_certificate_quota"`
	PageRuleQuota          int  `json:"page_rule_quota"`
	PhishingDetected       bool `json:"phishing_detected"`
}

type zoneOwner struct {
	ID   *string `json:"id,omitempty"`
	Type string  `json:"type"`
}

type accountName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type zonePlan struct {
	ID                string `json:"id"`
	Name              string `json:"name"`
	Price             int    `json:"price"`
	Currency          string `json:"currency"`
	Frequency         string `json:"frequency"`
	IsSubscribed      bool   `json:"is_subscribed"`
	CanSubscribe      bool   `json:"can_subscribe"`
	LegacyID          string `json:"legacy_id"`
	LegacyDiscount    bool   `json:"legacy_discount"`
	ExternallyManaged bool   `json:"externally_managed"`
}

type tenant struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

type tenantUnit struct {
	ID string `json:"id,omitempty"`
}

func (z Zone) view() zoneView {
	return zoneView{
		Zone: z, Status: "active", Type: "full", NameServers: []string{"amy.ns.cloudflare.com", "ben.ns.cloudflare.com"},
		OriginalNameServers: []string{"ns1." + z.Name}, ModifiedOn: z.CreatedOn, ActivatedOn: z.CreatedOn,
		Meta: zoneMeta{Step: 2, PageRuleQuota: 3}, Owner: zoneOwner{Type: "user"},
		Account: accountName{ID: AccountID, Name: AccountName}, Permissions: []string{"#dns_records:read", "#zone:read"},
		Plan: zonePlan{
			ID: "94f3b7b768b0458b56d2cac4fe5ec0f9", Name: "Pro Website", Currency: "USD", Frequency: "monthly",
			IsSubscribed: true, CanSubscribe: true, LegacyID: "pro",
		},
	}
}

// holds says whether a hostname belongs to the zone.
func (z Zone) holds(hostname string) bool {
	hostname = strings.ToLower(hostname)
	return hostname == z.Name || strings.HasSuffix(hostname, "."+z.Name)
}

// reaches says whether the token is for a zone.
func (t Token) reaches(zone string) bool { return len(t.Zones) == 0 || slices.Contains(t.Zones, zone) }

func (s *Server) zoneRoutes() []route {
	return []route{
		{pattern: "GET /zones", permission: ZoneRead, do: s.listZones},
		{pattern: "GET /zones/{zone}", permission: ZoneRead, do: func(c *call) (any, error) { return c.zone.view(), nil }},
	}
}

// listZones shows the zones that the token is for, and no others: a zone that exists can be one that a token does not find.
func (s *Server) listZones(c *call) (any, error) {
	var views []zoneView
	query := c.URL.Query()
	for _, zone := range s.state.Zones {
		if account := query.Get("account.id"); c.token.reaches(zone.Name) && (account == "" || account == AccountID) {
			views = append(views, zone.view())
		}
	}
	views, err := filter(query, views, "name", "status")
	if err != nil {
		return nil, err
	}
	if views, err = order(query, views, "name", "status"); err != nil {
		return nil, err
	}
	return page(c, views, 20, 5, 50)
}
