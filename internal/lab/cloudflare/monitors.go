package cloudflare

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Monitor says how the endpoints of pools are checked. Times are in whole seconds.
type Monitor struct {
	ID              string              `json:"id"`
	CreatedOn       time.Time           `json:"created_on"`
	ModifiedOn      time.Time           `json:"modified_on"`
	Type            string              `json:"type"`
	Description     string              `json:"description"`
	Method          string              `json:"method"`
	Path            string              `json:"path"`
	Header          map[string][]string `json:"header"`
	Port            int                 `json:"port"` // 0 is the type's own
	Timeout         int                 `json:"timeout"`
	Retries         int                 `json:"retries"`
	Interval        int                 `json:"interval"`
	ConsecutiveUp   int                 `json:"consecutive_up"`
	ConsecutiveDown int                 `json:"consecutive_down"`
	ExpectedBody    string              `json:"expected_body"`
	ExpectedCodes   string              `json:"expected_codes"`
	FollowRedirects bool                `json:"follow_redirects"`
	AllowInsecure   bool                `json:"allow_insecure"`
	ProbeZone       string              `json:"probe_zone"`
}

// UnmarshalJSON implements [json.Unmarshaler]; fields that are not there have the vendor's defaults.
func (m *Monitor) UnmarshalJSON(data []byte) error {
	type plain Monitor
	p := plain{Type: "http", Timeout: 5, Retries: 2, Interval: 60}
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	*m = Monitor(p)
	if m.Header == nil {
		m.Header = map[string][]string{}
	}
	if m.web() {
		setDefault(&m.Method, http.MethodGet)
		setDefault(&m.Path, "/")
	} else if m.Type == "tcp" {
		setDefault(&m.Method, "connection_established")
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// web says whether the monitor asks by HTTP.
func (m *Monitor) web() bool { return m.Type == "http" || m.Type == "https" }

func (s *Server) checkMonitor(m *Monitor) error {
	// The order is that of the vendor's own checks as far as it is known.
	least := int(s.Quotas.Interval.Seconds())
	switch {
	case !slices.Contains([]string{"http", "https", "tcp", "udp_icmp", "icmp_ping", "smtp"}, m.Type):
		return invalid("type %q is not supported", m.Type)
	case m.Interval < least || m.Interval > 3600:
		return invalid("interval is not in range [%d, 3600]", least)
	case m.Timeout < 1 || m.Timeout > 10:
		return invalid("timeout is not in range [1, 10]")
	case m.Retries < 0 || m.Retries > 5:
		return invalid("retries is not in range [0, 5]")
	case m.Port < 0 || m.Port > 65535:
		return invalid("port is not in range [0, 65535]")
	case m.Port == 0 && (m.Type == "tcp" || m.Type == "smtp"):
		return invalid("port must be set for %s monitors", m.Type)
	case m.web() && !strings.HasPrefix(m.Path, "/"):
		return invalid("path must start with '/'")
	case !m.web() && m.ExpectedCodes != "":
		return invalid("expected_codes is only valid for HTTP and HTTPS monitors")
	case m.ConsecutiveUp < 0 || m.ConsecutiveDown < 0:
		return invalid("consecutive_up and consecutive_down must not be negative")
	case !validCodes(m.ExpectedCodes):
		return invalid("expected_codes %q must be codes such as 200 or ranges such as 2xx", m.ExpectedCodes)
	}
	for name := range m.Header {
		if strings.EqualFold(name, "User-Agent") {
			return invalid("header User-Agent cannot be overridden")
		}
	}
	return nil
}

func validCodes(text string) bool {
	for code := range strings.SplitSeq(text, ",") {
		code = strings.ToLower(strings.TrimSpace(code))
		if code == "" && text == "" {
			return true
		}
		if len(code) != 3 || code[0] < '1' || code[0] > '5' {
			return false
		}
		if rest := code[1:]; rest != "xx" && strings.Trim(rest, "0123456789") != "" {
			return false
		}
	}
	return true
}

func (s *Server) monitorRoutes() []route {
	const (
		list = "/accounts/{account}/load_balancers/monitors"
		one  = list + "/{id}"
	)
	return []route{
		{pattern: "GET " + list, permission: MonitorsAndPoolsRead, do: func(c *call) (any, error) { return all(c, s.state.Monitors), nil }},
		{pattern: "POST " + list, permission: MonitorsAndPoolsWrite, do: s.createMonitor},
		{pattern: "GET " + one, permission: MonitorsAndPoolsRead, do: s.getMonitor},
		{pattern: "PUT " + one, permission: MonitorsAndPoolsWrite, do: s.updateMonitor},
		{pattern: "PATCH " + one, permission: MonitorsAndPoolsWrite, do: s.updateMonitor},
		{pattern: "DELETE " + one, permission: MonitorsAndPoolsWrite, do: s.deleteMonitor},
		{pattern: "GET " + one + "/references", permission: MonitorsAndPoolsRead, do: s.monitorReferences},
	}
}

func (s *Server) findMonitor(c *call) (int, error) {
	return index(s.state.Monitors, "monitor", func(m Monitor) bool { return m.ID == c.PathValue("id") })
}

func (s *Server) getMonitor(c *call) (any, error) {
	n, err := s.findMonitor(c)
	if err != nil {
		return nil, err
	}
	return s.state.Monitors[n], nil
}

var monitorReadOnly = []string{"id", "created_on", "modified_on"}

func (s *Server) createMonitor(c *call) (any, error) {
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	m, err := merge[Monitor](nil, fields, monitorReadOnly...)
	if err != nil {
		return nil, err
	}
	if err := s.checkMonitor(&m); err != nil {
		return nil, err
	}
	if len(s.state.Monitors) >= s.Quotas.Monitors {
		return nil, overQuota("monitors", s.Quotas.Monitors)
	}
	now := s.now()
	m.ID, m.CreatedOn, m.ModifiedOn = newID(), now, now
	s.state.Monitors = append(s.state.Monitors, m)
	return m, nil
}

func (s *Server) updateMonitor(c *call) (any, error) {
	n, err := s.findMonitor(c)
	if err != nil {
		return nil, err
	}
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	old := s.state.Monitors[n]
	m, err := merge(over(c, &old), fields, monitorReadOnly...)
	if err != nil {
		return nil, err
	}
	if err := s.checkMonitor(&m); err != nil {
		return nil, err
	}
	m.ID, m.CreatedOn, m.ModifiedOn = old.ID, old.CreatedOn, s.now()
	s.state.Monitors[n] = m
	return m, nil
}

func (s *Server) deleteMonitor(c *call) (any, error) {
	n, err := s.findMonitor(c)
	if err != nil {
		return nil, err
	}
	id := s.state.Monitors[n].ID
	if slices.ContainsFunc(s.state.Pools, func(p Pool) bool { return p.Monitor == id }) {
		return nil, referenced()
	}
	s.state.Monitors = slices.Delete(slices.Clone(s.state.Monitors), n, n+1)
	return deleted{id}, nil
}

// deleted is the answer to a removal.
type deleted struct {
	ID string `json:"id"`
}

func overQuota(what string, limit int) error {
	return fail(http.StatusBadRequest, codeQuota, "exceeded quota: this account may have "+plural(limit, what))
}
