package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

// Snapshot begins what a request asks for, or asks how that goes. It fails with *RefusedError of status 409 when that is refused, and of status 503 while
// there is no tree.
func (c *Client) Snapshot(ctx context.Context, r snapshot.Request) (snapshot.Result, error) {
	var out snapshot.Result
	text, err := json.Marshal(r)
	if err != nil {
		return out, err
	}
	return out, c.send(ctx, http.MethodPost, "/snapshot", bytes.NewReader(text), &out, maxAnswer)
}
