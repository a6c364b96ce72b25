package cloudflare

import (
	"context"

	"github.com/cloudflare/cloudflare-go/v7/load_balancers"
)

// MonitorType is how a monitor asks an endpoint.
type MonitorType string

// The monitor types that Atoll uses. The vendor has more (udp_icmp, icmp_ping, smtp), which say nothing of an application.
const (
	MonitorHTTP  MonitorType = "http"
	MonitorHTTPS MonitorType = "https"
	MonitorTCP   MonitorType = "tcp"
)

// MonitorTypes lists every monitor type.
func MonitorTypes() []MonitorType { return []MonitorType{MonitorHTTP, MonitorHTTPS, MonitorTCP} }

// Web tells whether the monitor asks by HTTP, with or without TLS.
func (t MonitorType) Web() bool { return t != MonitorTCP }

// Monitor is how Cloudflare finds out whether endpoints are well. Times are in seconds.
type Monitor struct {
	ID string
	// Description is all there is to know a monitor by; the vendor gives it no name.
	Description string
	Type        MonitorType
	Port        int
	Interval    int
	Timeout     int
	Retries     int
	// ConsecutiveDown and ConsecutiveUp are how many checks in a row must fail or pass before a state changes; 0 is the vendor's
	// default, which is 1.
	ConsecutiveDown, ConsecutiveUp int

	// The rest is for a monitor that asks by HTTP.

	Method string
	Path   string
	// Host is the Host header, empty for none.
	Host            string
	ExpectedCodes   string
	ExpectedBody    string
	AllowInsecure   bool
	FollowRedirects bool
}

// hostHeader is the only header that a monitor sets here.
const hostHeader = "Host"

// Monitors returns the account's monitors.
func (c *Client) Monitors(ctx context.Context, account string) ([]Monitor, error) {
	list, err := call(ctx, "list monitors", func(ctx context.Context) ([]load_balancers.Monitor, error) {
		var p load_balancers.MonitorListParams
		p.AccountID.Value = account
		page, err := c.monitors.List(ctx, p) // the API gives all of them on one page
		if err != nil {
			return nil, err
		}
		return page.Result, nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]Monitor, len(list))
	for i := range list {
		out[i] = monitorFromAPI(&list[i])
	}
	return out, nil
}

// FindMonitor returns the monitor with a description, and whether there is one.
func (c *Client) FindMonitor(ctx context.Context, account, description string) (Monitor, bool, error) {
	list, err := c.Monitors(ctx, account)
	for _, m := range list {
		if m.Description == description {
			return m, true, err
		}
	}
	return Monitor{}, false, err
}

// Monitor returns the monitor with id, ErrNotFound when it does not exist.
func (c *Client) Monitor(ctx context.Context, account, id string) (Monitor, error) {
	var p load_balancers.MonitorGetParams
	p.AccountID.Value = account
	m, err := call(ctx, "read monitor "+id, func(ctx context.Context) (*load_balancers.Monitor, error) { return c.monitors.Get(ctx, id, p) })
	if err != nil {
		return Monitor{}, err
	}
	return monitorFromAPI(m), nil
}

// CreateMonitor creates a monitor, or returns the one with the same description that is there already: existed tells that
// this call has not made it.
func (c *Client) CreateMonitor(ctx context.Context, account string, m Monitor) (made Monitor, existed bool, err error) {
	op := "create monitor " + m.Description
	var p load_balancers.MonitorNewParams
	p.AccountID.Value = account
	return once(ctx, c, func(ctx context.Context) (Monitor, bool, error) {
		return c.FindMonitor(ctx, account, m.Description)
	}, func(ctx context.Context) (Monitor, error) {
		made, err := call(ctx, op, func(ctx context.Context) (*load_balancers.Monitor, error) {
			return c.monitors.New(ctx, p, body(m.wire()))
		})
		if err != nil {
			return Monitor{}, err
		}
		return monitorFromAPI(made), nil
	})
}

// UpdateMonitor replaces everything of the monitor with m.ID.
func (c *Client) UpdateMonitor(ctx context.Context, account string, m Monitor) error {
	var p load_balancers.MonitorUpdateParams
	p.AccountID.Value = account
	_, err := call(ctx, "update monitor "+m.ID, func(ctx context.Context) (*load_balancers.Monitor, error) {
		return c.monitors.Update(ctx, m.ID, p, body(m.wire()))
	})
	return err
}

// DeleteMonitor deletes the monitor with id. That it does not exist is no error; ErrInUse while a pool has it.
func (c *Client) DeleteMonitor(ctx context.Context, account, id string) error {
	var p load_balancers.MonitorDeleteParams
	p.AccountID.Value = account
	return remove(ctx, "delete monitor "+id, func(ctx context.Context) (*load_balancers.MonitorDeleteResponse, error) {
		return c.monitors.Delete(ctx, id, p)
	})
}

// monitorWire is a monitor as the API takes it.
type monitorWire struct {
	Type            MonitorType         `json:"type"`
	Description     string              `json:"description"`
	Port            int                 `json:"port,omitempty"`
	Interval        int                 `json:"interval"`
	Timeout         int                 `json:"timeout"`
	Retries         int                 `json:"retries"`
	ConsecutiveDown int                 `json:"consecutive_down,omitempty"`
	ConsecutiveUp   int                 `json:"consecutive_up,omitempty"`
	Method          string              `json:"method,omitempty"`
	Path            string              `json:"path,omitempty"`
	Header          map[string][]string `json:"header,omitempty"`
	ExpectedCodes   string              `json:"expected_codes,omitempty"`
	ExpectedBody    string              `json:"expected_body,omitempty"`
	AllowInsecure   bool                `json:"allow_insecure,omitempty"`
	FollowRedirects bool                `json:"follow_redirects,omitempty"`
}

func (m Monitor) wire() monitorWire {
	w := monitorWire{
		Type: m.Type, Description: m.Description, Port: m.Port, Interval: m.Interval, Timeout: m.Timeout, Retries: m.Retries,
		ConsecutiveDown: m.ConsecutiveDown, ConsecutiveUp: m.ConsecutiveUp,
	}
	if m.Type.Web() {
		w.Method, w.Path, w.ExpectedCodes, w.ExpectedBody = m.Method, m.Path, m.ExpectedCodes, m.ExpectedBody
		w.AllowInsecure, w.FollowRedirects = m.AllowInsecure, m.FollowRedirects
		if m.Host != "" {
			w.Header = map[string][]string{hostHeader: {m.Host}}
		}
	}
	return w
}

func monitorFromAPI(in *load_balancers.Monitor) Monitor {
	out := Monitor{
		ID: in.ID, Description: in.Description, Type: MonitorType(in.Type), Port: int(in.Port), Interval: int(in.Interval),
		Timeout: int(in.Timeout), Retries: int(in.Retries), ConsecutiveDown: int(in.ConsecutiveDown), ConsecutiveUp: int(in.ConsecutiveUp),
	}
	if out.Type.Web() {
		out.Method, out.Path = in.Method, in.Path
		out.ExpectedCodes, out.ExpectedBody = in.ExpectedCodes, in.ExpectedBody
		out.AllowInsecure, out.FollowRedirects = in.AllowInsecure, in.FollowRedirects
		if hosts := in.Header[hostHeader]; len(hosts) > 0 {
			out.Host = hosts[0]
		}
	}
	return out
}
