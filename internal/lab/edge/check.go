package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// userAgent is what the vendor's monitors call themselves; a monitor cannot change it.
const userAgent = "Mozilla/5.0 (compatible; Cloudflare-Traffic-Manager/1.0; +https://www.cloudflare.com/traffic-manager/;)"

// bodyLimit is how much of an answer is searched for the expected text, by the vendor's page on common errors.
const bodyLimit = 10 << 10

// check asks an endpoint once, and at once again after a timeout as often as the monitor says. Another failure is no
// reason to ask again.
func (e *Edge) check(ctx context.Context, k key, m *cloudflare.Monitor, host string) result {
	var r result
	for range 1 + m.Retries {
		began := time.Now()
		r = e.ask(ctx, k, m, host)
		r.rtt = time.Since(began)
		if r.ok || r.reason != cloudflare.HTTPTimeout && r.reason != cloudflare.TCPTimeout {
			break
		}
	}
	return r
}

func (e *Edge) ask(ctx context.Context, k key, m *cloudflare.Monitor, host string) result {
	ctx, cancel := context.WithTimeout(ctx, e.seconds(m.Timeout))
	defer cancel()
	port := m.Port
	if port == 0 {
		// The endpoint's own port is for clients; the vendor's monitors have theirs.
		port = 80
		if m.Type == "https" {
			port = 443
		}
	}
	address, err := e.resolve(k.address)
	if err != nil {
		return result{reason: reasonOf(err, false)}
	}
	target := net.JoinHostPort(address, strconv.Itoa(port))
	switch m.Type {
	case "http", "https":
		return e.askWeb(ctx, m, target, host)
	case "tcp", "smtp":
		return e.askTCP(ctx, m, target)
	}
	return result{reason: cloudflare.OtherFailure}
}

func (e *Edge) askTCP(ctx context.Context, m *cloudflare.Monitor, target string) result {
	conn, err := e.Dial(ctx, "tcp", target)
	if err != nil {
		return result{reason: reasonOf(err, false)}
	}
	defer func() { _ = conn.Close() }()
	if m.Type == "tcp" {
		return result{ok: true, reason: cloudflare.NoFailures}
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a connection that cannot have one fails at reading
	}
	greeting, err := bufio.NewReader(io.LimitReader(conn, 1<<10)).ReadString('\n')
	switch {
	case err != nil:
		return result{reason: reasonOf(err, true)}
	case !strings.HasPrefix(greeting, "220"):
		return result{reason: cloudflare.CodeMismatch}
	}
	return result{ok: true, reason: cloudflare.NoFailures}
}

func (e *Edge) askWeb(ctx context.Context, m *cloudflare.Monitor, target, host string) result {
	// A dial goes on beside a request that has given up on it.
	var connected atomic.Bool
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != target {
				return nil, errors.New("a redirect led away from the endpoint") // to where nobody of the lab is
			}
			conn, err := e.Dial(ctx, network, target)
			if err == nil {
				connected.Store(true)
			}
			return conn, err
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: m.AllowInsecure}, //nolint:gosec // what the monitor asks for
		DisableKeepAlives: true,
	}
	client := &http.Client{Transport: transport}
	if !m.FollowRedirects {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	// The path may have a query in it.
	u := &url.URL{Scheme: m.Type, Host: target}
	path, query, _ := strings.Cut(m.Path, "?")
	u.Path, u.RawQuery = path, query
	r, err := http.NewRequestWithContext(ctx, m.Method, u.String(), nil)
	if err != nil {
		return result{reason: cloudflare.OtherFailure}
	}
	for name, values := range m.Header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	if named := r.Header.Get("Host"); named != "" {
		r.Host = named
	}
	if host != "" {
		r.Host = host // an endpoint's own goes before the monitor's
	}
	transport.TLSClientConfig.ServerName, _, _ = strings.Cut(r.Host, ":")
	r.Header.Set("User-Agent", userAgent)
	response, err := client.Do(r)
	if err != nil {
		return result{reason: reasonOf(err, connected.Load())}
	}
	defer func() { _ = response.Body.Close() }()
	out := result{code: response.StatusCode, reason: cloudflare.NoFailures}
	if !expected(m.ExpectedCodes, response.StatusCode) {
		out.reason = cloudflare.CodeMismatch
		return out
	}
	if m.ExpectedBody != "" {
		body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
		switch {
		case bytes.Contains(bytes.ToLower(body), bytes.ToLower([]byte(m.ExpectedBody))):
		case err != nil:
			out.reason = reasonOf(err, true)
			return out
		default:
			out.reason = cloudflare.BodyMismatch
			return out
		}
	}
	out.ok = true
	return out
}

// expected says whether a status is one of "200", "2xx" or a list of such; without any it must be 200.
func expected(codes string, status int) bool {
	if codes == "" {
		codes = "200"
	}
	text := strconv.Itoa(status)
	for code := range strings.SplitSeq(strings.ToLower(codes), ",") {
		code = strings.TrimSpace(code)
		if class, isClass := strings.CutSuffix(code, "xx"); isClass && strings.HasPrefix(text, class) || code == text {
			return true
		}
	}
	return false
}

// reasonOf is the vendor's word for a failure.
func reasonOf(err error, connected bool) string {
	var timeout net.Error
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.Is(err, errUnknownHost):
		return cloudflare.UnknownHost
	case errors.Is(err, errProxiedHost):
		return cloudflare.InternalTarget
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		if connected {
			return cloudflare.HTTPTimeout
		}
		return cloudflare.TCPTimeout
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return cloudflare.NoRouteToHost
	case errors.As(err, &unknown):
		return cloudflare.TLSUntrusted
	case errors.As(err, &name):
		return cloudflare.TLSMismatch
	case !connected:
		return cloudflare.TCPFailed
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return cloudflare.ConnectionCut
	}
	return cloudflare.InvalidAnswer
}
