package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

var (
	// errUnknownHost means that an endpoint's hostname leads nowhere.
	errUnknownHost = errors.New("the hostname has no address")
	// errProxiedHost means that it leads to the edge itself.
	errProxiedHost = errors.New("the hostname is proxied")
)

// longestChain bounds how many names may stand for each other.
const longestChain = 8

// resolve finds the address of an endpoint. Hostnames are those of the account; there is no other DNS in a lab.
func (e *Edge) resolve(name string) (string, error) {
	if _, err := netip.ParseAddr(name); err == nil {
		return name, nil
	}
	account := e.account.Load()
	name = strings.ToLower(name)
	for range longestChain {
		next := ""
		for _, record := range account.Records {
			switch {
			case record.Name != name:
			case record.Proxied:
				return "", fmt.Errorf("%s: %w", name, errProxiedHost)
			case record.Type == "A" || record.Type == "AAAA":
				return record.Content, nil
			case record.Type == "CNAME":
				next = record.Content
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	return "", fmt.Errorf("%s: %w", name, errUnknownHost)
}

// served is what answers for a hostname: a load balancer, or the addresses of DNS records.
type served struct {
	balancer *cloudflare.LoadBalancer
	// records are a pool without a monitor.
	records *cloudflare.Pool
}

// lookup finds who answers for a hostname, false for nobody. A load balancer goes before records that are as specific as
// it is.
func (e *Edge) lookup(host string) (served, bool) {
	account := e.account.Load()
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, name := range candidates(host) {
		if b, ok := account.LoadBalancer(name); ok && b.Enabled {
			// One that is not proxied sends clients to its endpoints by DNS, past the edge.
			return served{balancer: &b}, b.Proxied
		}
		if pool := recordPool(account, name); pool != nil {
			return served{records: pool}, len(pool.Origins) > 0
		}
	}
	return served{}, false
}

// candidates are the names that may stand for a hostname, the most specific first.
func candidates(host string) []string {
	names := []string{host}
	for rest := host; ; {
		_, after, found := strings.Cut(rest, ".")
		if !found {
			return names
		}
		rest = after
		names = append(names, "*."+rest)
	}
}

// recordPool makes a pool of the records of a name; nil when there are none. Records that are not proxied are not the
// edge's and not in it.
func recordPool(account *cloudflare.Account, name string) *cloudflare.Pool {
	var pool *cloudflare.Pool
	for _, record := range account.Records {
		if record.Name != name || !record.Proxiable {
			continue
		}
		if pool == nil {
			pool = &cloudflare.Pool{
				ID: "records of " + name, Name: name, Enabled: true, OriginSteering: &cloudflare.OriginSteering{Policy: "random"},
			}
		}
		if record.Proxied {
			pool.Origins = append(pool.Origins, cloudflare.Origin{Name: record.ID, Address: record.Content, Enabled: true, Weight: 1})
		}
	}
	return pool
}
