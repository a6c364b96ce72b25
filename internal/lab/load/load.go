// Package load asks a web server steadily, as many visitors do, and says what they saw: how many requests failed and for
// how long, how long the others took, and whose session moved to another node.
package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Plan says what is asked. URL and Rate must be set.
type Plan struct {
	URL string
	// Method is how it is asked for; GET when empty. Values of a form are in the URL.
	Method string
	// Host is the Host header; that of URL when empty.
	Host string
	// Rate is the number of requests that begin each second, whether or not earlier ones were answered.
	Rate int
	// Duration is how long requests begin; until the context ends when 0.
	Duration time.Duration
	// Sessions is the number of visitors that take turns and keep their cookies. When 0 every request is a new visitor's.
	Sessions int
	// Login is the path that each visitor with cookies asks for by POST before anything else. Then an answer of status 401 counts
	// as failed, too: the visitor was logged out.
	Login string
	// Timeout is how long a visitor waits for the whole answer; 30 s when 0.
	Timeout time.Duration
	// NodeHeader names the header of an answer that says which node it is from. When empty it is the first line of the body.
	NodeHeader string
	// Dial connects to the server; a net.Dialer when nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is whom to trust and which name to expect, for a URL of https; the system's authorities and the URL's host when nil.
	TLS *tls.Config
	// Began is told when the load begins, which is after the visitors have logged in. It may be nil.
	Began func(time.Time)
	// Progress is told the figures of every second. It may be nil.
	Progress func(Second)
}

// Second are the figures of the requests that ended within one second.
type Second struct {
	// At is when the second began, since the load did.
	At     time.Duration
	Good   int
	Failed int
}

// visit is what happened to one request.
type visit struct {
	began, ended time.Duration // since the load began
	failure      string        // "" for none
	node         string
	session      int // -1 for none
}

// longestNode bounds what is taken for the name of a node.
const longestNode = 64

// Run makes the load and returns what happened, also when the context ended it. Requests under way at the end are waited
// for. An error means that the plan is not one.
func Run(ctx context.Context, p Plan) (*Report, error) {
	if p.Rate < 1 || p.Sessions < 0 || p.Duration < 0 {
		return nil, fmt.Errorf("%d requests a second by %d visitors is no load", p.Rate, p.Sessions)
	}
	if p.Timeout == 0 {
		p.Timeout = 30 * time.Second
	}
	if p.Dial == nil {
		p.Dial = (&net.Dialer{}).DialContext
	}
	if p.Method == "" {
		p.Method = http.MethodGet
	}
	if _, err := http.NewRequestWithContext(ctx, p.Method, p.URL, nil); err != nil {
		return nil, fmt.Errorf("make the load: %w", err)
	}
	if p.Login != "" && p.Sessions == 0 {
		return nil, errors.New("visitors without cookies cannot log in: sessions must be 1 or more")
	}
	r := &runner{plan: p, report: newReport()}
	// On a connection that was used before, the library would ask again by itself, and a failure would not be seen.
	transport := &http.Transport{DialContext: p.Dial, TLSClientConfig: p.TLS, DisableKeepAlives: true, DisableCompression: true}
	for range max(p.Sessions, 1) {
		client := &http.Client{
			Transport: transport, Timeout: p.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		if p.Sessions > 0 {
			client.Jar, _ = cookiejar.New(nil) // without options it never fails
		}
		r.clients = append(r.clients, client)
	}
	if err := r.login(ctx); err != nil {
		return nil, err
	}
	r.began = time.Now()
	if p.Began != nil {
		p.Began(r.began)
	}
	r.begin(ctx)
	r.report.finish(time.Since(r.began))
	return r.report, nil
}

type runner struct {
	plan    Plan
	began   time.Time
	clients []*http.Client

	mu     sync.Mutex
	report *Report
	second Second
}

// LoginError says that a visitor could not log in, so there was no load.
type LoginError struct{ Failure string }

// Error says why.
func (e *LoginError) Error() string { return "a visitor cannot log in: " + e.Failure }

// login lets all visitors log in, one after another.
func (r *runner) login(ctx context.Context) error {
	if r.plan.Login == "" {
		return nil
	}
	at, err := url.Parse(r.plan.URL)
	if err != nil {
		return fmt.Errorf("make the load: %w", err)
	}
	path, err := url.Parse(r.plan.Login)
	if err != nil {
		return fmt.Errorf("make the load: %w", err)
	}
	for _, client := range r.clients {
		if _, failure := r.ask(ctx, client, http.MethodPost, at.ResolveReference(path).String()); failure != "" {
			return &LoginError{failure}
		}
	}
	return nil
}

// begin starts requests at their times until the load is over, and waits for the answers.
func (r *runner) begin(ctx context.Context) {
	ticking := make(chan struct{})
	var ticks, requests sync.WaitGroup
	ticks.Go(func() { r.tick(ticking) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		due := time.Duration(n) * time.Second / time.Duration(r.plan.Rate)
		if r.plan.Duration > 0 && due >= r.plan.Duration {
			break
		}
		timer.Reset(time.Until(r.began.Add(due)))
		select {
		case <-timer.C:
			// Who has asked waits for the answer, also when nobody asks any more.
			requests.Go(func() { r.add(r.visit(context.WithoutCancel(ctx), n)) })
			continue
		case <-ctx.Done():
		}
		break
	}
	requests.Wait()
	close(ticking)
	ticks.Wait()
}

// tick tells of every second that is over.
func (r *runner) tick(stop <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
		r.mu.Lock()
		over := r.second
		r.second = Second{At: time.Since(r.began).Truncate(time.Second)}
		r.mu.Unlock()
		if r.plan.Progress != nil {
			r.plan.Progress(over)
		}
	}
}

func (r *runner) add(v visit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.failure == "" {
		r.second.Good++
	} else {
		r.second.Failed++
	}
	r.report.add(v)
}

// visit makes one request.
func (r *runner) visit(ctx context.Context, n int) visit {
	client := n % len(r.clients)
	v := visit{began: time.Since(r.began), session: -1}
	if r.plan.Sessions > 0 {
		v.session = client
	}
	v.node, v.failure = r.ask(ctx, r.clients[client], r.plan.Method, r.plan.URL)
	v.ended = time.Since(r.began)
	return v
}

func (r *runner) ask(ctx context.Context, client *http.Client, method, url string) (node, failure string) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err.Error()
	}
	request.Host = r.plan.Host
	response, err := client.Do(request)
	if err != nil {
		return "", nameOf(err)
	}
	defer func() { _ = response.Body.Close() }()
	head, err := io.ReadAll(io.LimitReader(response.Body, longestNode))
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	if err != nil {
		return "", nameOf(err)
	}
	if loggedOut := r.plan.Login != "" && response.StatusCode == http.StatusUnauthorized; loggedOut || response.StatusCode >= http.StatusInternalServerError {
		return "", strconv.Itoa(response.StatusCode)
	}
	node = response.Header.Get(r.plan.NodeHeader)
	if r.plan.NodeHeader == "" {
		node, _, _ = strings.Cut(string(head), "\n")
	}
	return strings.TrimSpace(node), ""
}

// nameOf is a short word for what went wrong, the same for every request that failed in this way.
func nameOf(err error) string {
	var timeout net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut short"
	case errors.Is(err, io.EOF):
		return "connection closed"
	}
	return err.Error()
}
