package cloudflare

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Limits are what the account's plan allows.
type Limits struct {
	// Interval is the shortest time between two checks of a monitor, in seconds.
	Interval int `json:"minimum_monitor_interval"`
	// Endpoints is how many endpoints a pool may have.
	Endpoints int `json:"max_origins_per_pool"`
}

// Limits returns what the account's plan allows. The library has no call for it.
func (c *Client) Limits(ctx context.Context, account string) (Limits, error) {
	op := "read the limits of the account"
	return call(ctx, op, func(ctx context.Context) (Limits, error) {
		var answer struct {
			Result Limits `json:"result"`
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/accounts/"+account+"/load_balancers/usage", http.NoBody)
		if err != nil {
			return answer.Result, err
		}
		r.Header.Set("Authorization", "Bearer "+c.token)
		resp, err := c.http.Do(r)
		if err != nil {
			return answer.Result, err
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			return answer.Result, err
		}
		if err := json.Unmarshal(data, &answer); err != nil {
			return answer.Result, fmt.Errorf("read the answer: %w", err)
		}
		return answer.Result, nil
	})
}
