package appcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	// maxPage is how much of a page is read, so that the application is not cut off in its answer, in bytes.
	maxPage = 64 << 10
	// maxDetail bounds what a program's own words add to a detail, in bytes: every node keeps it.
	maxDetail = 300
)

// Target is what is asked.
type Target struct {
	// Hostname is the load balancer's, which an HTTP check names unless it has a host header of its own.
	Hostname string
	// Port is the port of the application, for a check that names none.
	Port int
	// Addresses are the IP addresses of the node to try, in this order; empty means 127.0.0.1, then ::1.
	Addresses []string
}

// Commands runs a program of the operator's apart from the agent: without its rights, and never longer than ctx.
type Commands interface {
	// RunApart runs a program to its end and returns its exit code and the beginning of what it wrote. It fails when the
	// program could not be started or did not end in time, the latter with context.DeadlineExceeded in the error's chain.
	RunApart(ctx context.Context, name string, argv, env []string) (exitCode int, output string, err error)
}

// Prober looks at one application once. It is safe for concurrent use.
type Prober struct {
	target   Target
	check    spec.ApplicationCheck
	commands Commands
}

// NewProber returns a prober of the application at a target. Commands may be nil for checks that run none.
func NewProber(target Target, check spec.ApplicationCheck, commands Commands) *Prober {
	if len(target.Addresses) == 0 {
		target.Addresses = []string{"127.0.0.1", "::1"}
	}
	return &Prober{target: target, check: check.WithDefaults(), commands: commands}
}

// Interval is the time from one look to the next.
func (p *Prober) Interval() time.Duration { return time.Duration(p.check.Interval) * time.Second }

// Timeout is how long a look may take.
func (p *Prober) Timeout() time.Duration { return time.Duration(p.check.Timeout) * time.Second }

// Probe looks once. It returns within the check's timeout, or when ctx ends.
func (p *Prober) Probe(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout())
	defer cancel()
	switch p.check.Type {
	case spec.CheckHTTP:
		return p.http(ctx)
	case spec.CheckTCP:
		return p.tcp(ctx)
	case spec.CheckCommand:
		return p.command(ctx)
	default:
		return unwell(fmt.Sprintf("the check's type %q is unknown to this agent: update it", p.check.Type), "")
	}
}

func unwell(reason, said string) Result {
	detail := reason
	if said = bounded(said); said != "" {
		detail += ": " + said
	}
	return Result{Reason: reason, Detail: detail}
}

// bounded makes what a program said one line of readable text that is not too long.
func bounded(said string) string {
	said = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, strings.ToValidUTF8(said, ""))
	said = strings.Join(strings.Fields(said), " ")
	if len(said) > maxDetail {
		said = strings.ToValidUTF8(said[:maxDetail], "") + "…"
	}
	return said
}

func (p *Prober) port() int {
	if p.check.Port != 0 {
		return p.check.Port
	}
	return p.target.Port
}

// dial connects to the first address that takes the connection.
func (p *Prober) dial(ctx context.Context) (net.Conn, error) {
	var first error
	for _, address := range p.target.Addresses {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(p.port())))
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (p *Prober) tcp(ctx context.Context) Result {
	conn, err := p.dial(ctx)
	if err != nil {
		return p.noAnswer(ctx, err)
	}
	// Whether it takes the connection is all that was asked.
	_ = conn.Close()
	return Result{Well: true}
}

func (p *Prober) http(ctx context.Context) Result {
	host := p.check.HostHeader
	if host == "" {
		host = p.target.Hostname
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, strconv.Itoa(p.port()))+p.check.Path, http.NoBody)
	if err != nil {
		return unwell("the check cannot be asked", err.Error())
	}
	req.Host = host
	req.Header.Set("User-Agent", "atoll-check")
	// No proxy of the environment, no kept connection, no redirect followed: one question to this very port.
	transport := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dial(ctx) },
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return p.noAnswer(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	// The status decides; a page that breaks off or never ends is not what was asked for.
	_, _ = io.CopyN(io.Discard, resp.Body, maxPage)
	switch {
	case p.check.Status != 0 && resp.StatusCode != p.check.Status:
		return unwell(fmt.Sprintf("answers %d, not %d", resp.StatusCode, p.check.Status), "")
	case p.check.Status == 0 && (resp.StatusCode < 200 || resp.StatusCode > 399):
		return unwell(fmt.Sprintf("answers %d", resp.StatusCode), "")
	}
	return Result{Well: true}
}

func (p *Prober) noAnswer(ctx context.Context, err error) Result {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return unwell(fmt.Sprintf("does not answer within %s", p.Timeout()), "")
	case errors.Is(err, syscall.ECONNREFUSED):
		return unwell("does not accept connections", err.Error())
	default:
		return unwell("does not answer", err.Error())
	}
}

func (p *Prober) command(ctx context.Context) Result {
	if p.commands == nil {
		return unwell("this agent cannot run commands", "")
	}
	env := []string{"ATOLL_HOSTNAME=" + p.target.Hostname, "ATOLL_PORT=" + strconv.Itoa(p.port())}
	code, output, err := p.commands.RunApart(ctx, p.target.Hostname, p.check.Command, env)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return unwell(fmt.Sprintf("the check's command does not end within %s", p.Timeout()), output)
	case err != nil:
		return unwell("the check's command cannot be run", err.Error())
	case code != 0:
		return unwell(fmt.Sprintf("the check's command ends with exit code %d", code), output)
	}
	return Result{Well: true}
}
