//go:build linux

package lab

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// CloudflareURL is the emulated Cloudflare API as the operator and the agents reach it, and EdgeURL the edge: which
// hostname a request is for says its Host header.
const (
	CloudflareURL = "http://" + network.CloudflareAddress + "/client/v4"
	EdgeURL       = "http://" + network.EdgeAddress
	// SecureEdgeURL is the edge by HTTPS, with certificates of Lab.EdgeAuthority.
	SecureEdgeURL = "https://" + network.EdgeAddress
)

// front is what stands before the nodes.
type front struct {
	account *cloudflare.Server
	edge    *edge.Edge
	// authority issues the edge's certificates for its clients.
	authority edge.Authority
	// token may do everything, poolsToken only change load balancers with their pools and monitors.
	token, poolsToken string
}

// serveEdge starts the Cloudflare API on the router, and the edge at its own place in the network.
func (l *Lab) serveEdge(ctx context.Context) error {
	for _, zone := range l.options.Zones {
		if err := cloudflare.CheckZone(zone); err != nil {
			return err
		}
	}
	log := l.options.Log
	f := &front{token: rand.Text(), poolsToken: rand.Text()}
	f.account = &cloudflare.Server{
		Zones: l.options.Zones, Quotas: cloudflare.Enterprise(), Token: f.token, Log: log.With("cloud", "cloudflare"),
		Tokens: map[string]cloudflare.Token{f.poolsToken: {Permissions: []string{cloudflare.MonitorsAndPoolsWrite, cloudflare.LoadBalancersWrite}}},
	}
	f.edge = &edge.Edge{Account: f.account.Account, Dial: l.net.EdgeNamespace().Connect, Log: log.With("cloud", "edge")}
	f.account.Health, f.account.OnChange = f.edge, f.edge.Reload
	l.front = f
	api, err := l.net.Router().Listen(ctx, "tcp", net.JoinHostPort(network.CloudflareAddress, "80"))
	if err != nil {
		return fmt.Errorf("start the Cloudflare API: %w", err)
	}
	l.serve(api, f.account)
	listener, err := l.net.EdgeNamespace().Listen(ctx, "tcp", net.JoinHostPort(network.EdgeAddress, "80"))
	if err != nil {
		return fmt.Errorf("start the edge: %w", err)
	}
	l.serve(listener, f.edge)
	secure, err := l.net.EdgeNamespace().Listen(ctx, "tcp", net.JoinHostPort(network.EdgeAddress, "443"))
	if err != nil {
		return fmt.Errorf("start the edge: %w", err)
	}
	l.serve(tls.NewListener(secure, f.authority.Config()), f.edge)
	return nil
}

// close ends what the servers of the front have going on. It is called before they are stopped.
func (f *front) close() {
	if f != nil {
		f.account.Close()
		f.edge.Close()
	}
}

// environment is how the operator finds the front, as NAME=value.
func (f *front) environment() []string {
	return []string{
		"CLOUDFLARE_BASE_URL=" + CloudflareURL,
		"CLOUDFLARE_API_TOKEN=" + f.token,
		// What may be given to the nodes: it changes load balancers with their pools and monitors, and nothing else.
		"ATOLL_LAB_POOLS_TOKEN=" + f.poolsToken,
		// What the reference topology's stack calls it.
		"TF_VAR_removal_token=" + f.poolsToken,
		"ATOLL_LAB_EDGE=" + EdgeURL,
	}
}

// EdgeAuthority is whom clients of the edge have to trust.
func (l *Lab) EdgeAuthority() *edge.Authority { return &l.front.authority }

// Cloudflare is the emulated Cloudflare account, for tests that inject faults.
func (l *Lab) Cloudflare() *cloudflare.Server { return l.front.account }

// EdgeState is the edge as the lab's clients see it.
type EdgeState struct {
	URL           string     `json:"url"`
	CloudflareURL string     `json:"cloudflare_url"`
	Zones         []string   `json:"zones"`
	Hostnames     []Hostname `json:"hostnames"`
}

// Hostname is a name that the edge serves.
type Hostname struct {
	Name string `json:"name"`
	// Kind is "load balancer" or "record".
	Kind      string     `json:"kind"`
	Steering  string     `json:"steering,omitempty"`
	Affinity  string     `json:"affinity,omitempty"`
	Endpoints []Endpoint `json:"endpoints"`
}

// Endpoint is where the edge sends requests for a hostname.
type Endpoint struct {
	Pool    string `json:"pool,omitempty"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Enabled bool   `json:"enabled"`
	// Health is "healthy", "unknown", "not monitored" or why the last check failed.
	Health string `json:"health"`
}

func (f *front) describe() EdgeState {
	account := f.account.Account()
	s := EdgeState{URL: EdgeURL, CloudflareURL: CloudflareURL, Zones: []string{}, Hostnames: []Hostname{}}
	for _, zone := range account.Zones {
		s.Zones = append(s.Zones, zone.Name)
	}
	for _, b := range account.LoadBalancers {
		if !b.Enabled || !b.Proxied {
			continue
		}
		h := Hostname{Name: b.Name, Kind: "load balancer", Steering: b.SteeringPolicy, Affinity: b.SessionAffinity, Endpoints: []Endpoint{}}
		var seen []string
		for _, id := range b.Pools() {
			if pool, ok := account.Pool(id); ok && !slices.Contains(seen, id) {
				seen = append(seen, id)
				h.Endpoints = append(h.Endpoints, f.endpoints(&pool)...)
			}
		}
		s.Hostnames = append(s.Hostnames, h)
	}
	for _, record := range account.Records {
		if !record.Proxied || slices.ContainsFunc(s.Hostnames, func(h Hostname) bool { return h.Name == record.Name && h.Kind != "record" }) {
			continue
		}
		n := slices.IndexFunc(s.Hostnames, func(h Hostname) bool { return h.Name == record.Name })
		if n < 0 {
			n = len(s.Hostnames)
			s.Hostnames = append(s.Hostnames, Hostname{Name: record.Name, Kind: "record"})
		}
		s.Hostnames[n].Endpoints = append(s.Hostnames[n].Endpoints, Endpoint{
			Name: record.Type, Address: record.Content, Enabled: true, Health: "not monitored",
		})
	}
	slices.SortStableFunc(s.Hostnames, func(a, b Hostname) int { return strings.Compare(a.Name, b.Name) })
	return s
}

func (f *front) endpoints(pool *cloudflare.Pool) []Endpoint {
	found := map[string]string{}
	for _, pop := range f.edge.PoolHealth(*pool) {
		for _, o := range pop.Origins {
			found[o.Address] = o.FailureReason
			if o.Healthy {
				found[o.Address] = "healthy"
			}
		}
	}
	var list []Endpoint
	for _, o := range pool.Origins {
		health := found[o.Address]
		switch {
		case pool.Monitor == "":
			health = "not monitored"
		case health == "":
			health = "unknown"
		}
		list = append(list, Endpoint{Pool: pool.Name, Name: o.Name, Address: o.Address, Enabled: pool.Enabled && o.Enabled, Health: health})
	}
	return list
}
