package linode

// username is whose token every token is.
const username = "atoll-lab"

type profile struct {
	UID                 int       `json:"uid"`
	Username            string    `json:"username"`
	Email               string    `json:"email"`
	VerifiedPhoneNumber *string   `json:"verified_phone_number"`
	Timezone            string    `json:"timezone"`
	EmailNotifications  bool      `json:"email_notifications"`
	Referrals           referrals `json:"referrals"`
	IPWhitelistEnabled  bool      `json:"ip_whitelist_enabled"`
	LishAuthMethod      string    `json:"lish_auth_method"`
	AuthorizedKeys      []string  `json:"authorized_keys"`
	TwoFactorAuth       bool      `json:"two_factor_auth"`
	Restricted          bool      `json:"restricted"`
	AuthenticationType  string    `json:"authentication_type"`
	UserType            string    `json:"user_type"`
}

type referrals struct {
	Code      string  `json:"code"`
	URL       string  `json:"url"`
	Total     int     `json:"total"`
	Completed int     `json:"completed"`
	Pending   int     `json:"pending"`
	Credit    float64 `json:"credit"`
}

type settings struct {
	Managed               bool    `json:"managed"`
	NetworkHelper         bool    `json:"network_helper"`
	LongviewSubscription  *string `json:"longview_subscription"`
	BackupsEnabled        bool    `json:"backups_enabled"`
	ObjectStorage         string  `json:"object_storage"`
	InterfacesForNew      string  `json:"interfaces_for_new_linodes"`
	MaintenancePolicySlug string  `json:"maintenance_policy"`
}

func (s *Server) accountRoutes() []route {
	return []route{
		{"GET /profile", "*", limitOther, func(*call) (any, error) {
			return profile{
				UID: 1, Username: username, Email: "lab@atoll.example", Timezone: "GMT", LishAuthMethod: "password_keys",
				TwoFactorAuth: true, AuthenticationType: "password", UserType: "default",
			}, nil
		}},
		{"GET /account/settings", "account:read_only", limitOther, func(*call) (any, error) {
			return settings{
				NetworkHelper: true, ObjectStorage: "active", InterfacesForNew: "legacy_config_default_but_linode_allowed",
				MaintenancePolicySlug: "linode/migrate",
			}, nil
		}},
		{"GET /account/maintenance", "account:read_only", limitList, func(c *call) (any, error) {
			return page(c.Request, []struct{}{}, "status", "type", "entity.type", "entity.id")
		}},
	}
}
