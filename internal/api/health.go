package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// HealthPath is the path of the health endpoint. Followed by a slash and the hostname of a load balancer it is that of the
// node's health for that one.
const HealthPath = "/health"

const (
	healthTimeout = 5 * time.Second
	maxHealth     = 64 << 10
)

// FetchHealth asks the health endpoint at host:port, which answers everybody and without TLS: believe it only as far as
// that goes. A node that says it is not healthy is not an error.
func FetchHealth(ctx context.Context, endpoint string) (Health, error) {
	return fetchHealth(ctx, endpoint, HealthPath)
}

// FetchHealthFor asks as FetchHealth does, for what the node does for the load balancer of a hostname. It fails with *Error
// and status 404 when the node belongs to no such load balancer.
func FetchHealthFor(ctx context.Context, endpoint, hostname string) (Health, error) {
	return fetchHealth(ctx, endpoint, HealthPath+"/"+url.PathEscape(hostname))
}

func fetchHealth(ctx context.Context, endpoint, path string) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint+path, nil)
	if err != nil {
		return Health{}, fmt.Errorf("ask for the health of %s: %w", endpoint, err)
	}
	// A transport of its own: no proxy of the environment, no connection kept.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return Health{}, fmt.Errorf("ask for the health of %s: %w: %w", endpoint, ErrUnreachable, err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return Health{}, fmt.Errorf("ask for the health of %s: %w: %w", endpoint, ErrUnreachable, err)
	}
	if resp.StatusCode == http.StatusNotFound {
		return Health{}, &Error{StatusCode: resp.StatusCode, Reason: ReasonNotFound, Message: fmt.Sprintf("%s has no %s", endpoint, path)}
	}
	var h Health
	if err := json.Unmarshal(data, &h); err != nil {
		return Health{}, fmt.Errorf("ask for the health of %s: answered %s, which is not an agent's answer", endpoint, resp.Status)
	}
	return h, nil
}
