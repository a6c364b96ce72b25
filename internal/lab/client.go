//go:build linux

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"syscall"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// ErrNotRunning means that no process runs the lab.
var ErrNotRunning = errors.New("the lab is not running")

// Client commands a lab that another process of this machine runs. It is safe for concurrent use.
type Client struct {
	name string
	http *http.Client
}

// Connect returns a client for a lab; whether the lab runs shows with the first call.
func Connect(name string) *Client {
	f := files{name: name}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", f.socket())
	}
	return &Client{name: name, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Describe says what the lab is made of now.
func (c *Client) Describe(ctx context.Context) (Description, error) {
	var d Description
	return d, c.call(ctx, http.MethodGet, "/v1/lab", nil, &d)
}

// Environment returns what Lab.Environment does.
func (c *Client) Environment(ctx context.Context) ([]string, error) {
	var env []string
	return env, c.call(ctx, http.MethodGet, "/v1/environment", nil, &env)
}

// Power does "kill", "power-on", "shutdown", "freeze", "thaw", "unplug", "plug" or "wait-ssh" to a machine.
func (c *Client) Power(ctx context.Context, node, action string) error {
	return c.call(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/"+action, nil, nil)
}

// Add makes another machine that no API knows, as Lab.Add does.
func (c *Client) Add(ctx context.Context, m Machine) error {
	return c.call(ctx, http.MethodPost, "/v1/nodes", m, nil)
}

// Discard takes a machine that no API knows out of the lab, as Lab.Discard does.
func (c *Client) Discard(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodDelete, "/v1/nodes/"+url.PathEscape(node), nil, nil)
}

// Insert puts a seed disk into a virtual machine, as Lab.Insert does. The path must be absolute.
func (c *Client) Insert(ctx context.Context, node, path string) error {
	return c.call(ctx, http.MethodPut, "/v1/nodes/"+url.PathEscape(node)+"/seed", seedRequest{path}, nil)
}

// Impair makes a path bad, as Lab.Loss does, and returns every impairment of the lab.
func (c *Client) Impair(ctx context.Context, from, to string, percent int, oneWay bool) ([]network.Impairment, error) {
	var all []network.Impairment
	return all, c.call(ctx, http.MethodPost, "/v1/impair", impairRequest{from, to, percent, oneWay}, &all)
}

// Heal ends the impairments between two ends, or all when both are empty, and returns those that remain.
func (c *Client) Heal(ctx context.Context, a, b string) ([]network.Impairment, error) {
	var all []network.Impairment
	return all, c.call(ctx, http.MethodPost, "/v1/heal", healRequest{a, b}, &all)
}

// down asks the lab to remove itself; it answers before it is done.
func (c *Client) down(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/down", nil, nil)
}

// Exec prepares a command that runs as root inside a machine.
func (c *Client) Exec(ctx context.Context, node string, argv ...string) (*exec.Cmd, error) {
	d, err := c.Describe(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range d.Nodes {
		if n.Name != node {
			continue
		}
		if n.PID == 0 {
			return nil, fmt.Errorf("%s: %w", node, nodes.ErrOff)
		}
		if n.Boot == BootVM {
			if n.HostKey == "" {
				// Nobody has waited for it yet.
				if err := c.Power(ctx, node, "wait-ssh"); err != nil {
					return nil, err
				}
			}
			return entryCommand(ctx, network.Namespace(d.Router), d.ExecConfig, node, argv...), nil
		}
		return nodes.Enter(ctx, n.PID, argv...), nil
	}
	return nil, fmt.Errorf("%q: %w", node, ErrNoMachine)
}

// OperatorCommand prepares a command on the operator's workstation, as Lab.OperatorCommand does.
func (c *Client) OperatorCommand(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	d, err := c.Describe(ctx)
	if err != nil {
		return nil, err
	}
	env, err := c.Environment(ctx)
	if err != nil {
		return nil, err
	}
	cmd := network.Namespace(d.Operator).Command(ctx, argv...)
	cmd.Env = withEnvironment(env)
	return cmd, nil
}

// SSH prepares an ssh command to an unmanaged machine, as Lab.SSH does.
func (c *Client) SSH(ctx context.Context, node string, argv ...string) (*exec.Cmd, error) {
	d, err := c.Describe(ctx)
	if err != nil {
		return nil, err
	}
	return c.OperatorCommand(ctx, append([]string{"ssh", "-F", d.SSHConfig, node}, argv...)...)
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body := &bytes.Buffer{}
	if in != nil {
		if err := json.NewEncoder(body).Encode(in); err != nil {
			return fmt.Errorf("command lab %q: %w", c.name, err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, body)
	if err != nil {
		return fmt.Errorf("command lab %q: %w", c.name, err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("lab %q: %w: start it with atoll-lab up", c.name, ErrNotRunning)
		}
		return fmt.Errorf("command lab %q: %w", c.name, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		var e controlError
		if err := json.NewDecoder(response.Body).Decode(&e); err != nil || e.Message == "" {
			return fmt.Errorf("command lab %q: %s", c.name, response.Status)
		}
		return errors.New(e.Message)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("command lab %q: %w", c.name, err)
	}
	return nil
}
