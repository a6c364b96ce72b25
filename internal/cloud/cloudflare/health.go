package cloudflare

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cloudflare/cloudflare-go/v7/load_balancers"
)

// Health is what the monitors found of one endpoint.
type Health struct {
	// Healthy tells whether most of the places that asked found the endpoint well.
	Healthy bool
	// Reasons are what was wrong at places that did not, each once.
	Reasons []string
}

// PoolHealth returns what the monitors found of a pool's endpoints, by their addresses in the form that CanonicalAddress gives.
// It is empty before the first check.
func (c *Client) PoolHealth(ctx context.Context, account, id string) (map[string]Health, error) {
	var p load_balancers.PoolHealthGetParams
	p.AccountID.Value = account
	op := "read the health of pool " + id
	answer, err := call(ctx, op, func(ctx context.Context) (*load_balancers.PoolHealthGetResponse, error) {
		return c.pools.Health.Get(ctx, id, p)
	})
	if err != nil {
		return nil, err
	}
	// The vendor's document, and with it the library, has one place where the API sends a map of them.
	health, err := parseHealth([]byte(answer.JSON.RawJSON()))
	if err != nil {
		return nil, &Error{Op: op, Kind: ErrUnreachable, Err: err}
	}
	return health, nil
}

// parseHealth reads {"pop_health": {"Amsterdam, NL": {"origins": [{"192.0.2.1": {"healthy": true, …}}]}}}.
func parseHealth(data []byte) (map[string]Health, error) {
	var answer struct {
		Places map[string]struct {
			Origins []map[string]struct {
				Healthy bool   `json:"healthy"`
				Reason  string `json:"failure_reason"`
			} `json:"origins"`
		} `json:"pop_health"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	votes := map[string][2]int{}
	out := map[string]Health{}
	for _, place := range answer.Places {
		for _, origin := range place.Origins {
			for address, found := range origin {
				address = CanonicalAddress(address)
				v, h := votes[address], out[address]
				if found.Healthy {
					v[1]++
				} else {
					v[0]++
					if reason := strings.TrimSpace(found.Reason); reason != "" && !slices.Contains(h.Reasons, reason) {
						h.Reasons = append(h.Reasons, reason)
						slices.Sort(h.Reasons)
					}
				}
				h.Healthy = v[1] > v[0]
				votes[address], out[address] = v, h
			}
		}
	}
	return out, nil
}

// CanonicalAddress is an IP address in its usual form, or a host name as it is.
func CanonicalAddress(address string) string {
	if a, err := netip.ParseAddr(address); err == nil {
		return a.String()
	}
	return address
}
