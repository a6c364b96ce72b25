package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// canaryPatience is how long an agent waits for a canary before it answers that there is none.
const canaryPatience = requestTimeout - 5*time.Second

type canaryBody struct {
	Nonce string `json:"nonce,omitempty"`
}

// Canary asks the agent which change of the caller's, written to measure how long changes take, has arrived in its tree of a pair last.
// It waits for one whose nonce is not after, for some seconds; "" is that there was none. Only the pair's other node may.
func (c *Client) Canary(ctx context.Context, pair, after string) (nonce string, err error) {
	var out canaryBody
	err = c.call(ctx, http.MethodGet, "/v1/pairs/"+url.PathEscape(pair)+"/canary?after="+url.QueryEscape(after), nil, &out)
	return out.Nonce, err
}

func (h *handler) canary(s Streamer) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, r *http.Request, caller trust.Caller) {
		pair := r.PathValue("name")
		if caller.Operator {
			fail(w, &Error{StatusCode: http.StatusForbidden, Reason: trust.ReasonNotAllowed, Message: fmt.Sprintf("only the other node of pair %q may ask for its canaries", pair)})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), canaryPatience)
		defer cancel()
		nonce, err := s.Canary(ctx, pair, caller.Node, r.URL.Query().Get("after"))
		if err != nil && ctx.Err() == nil {
			fail(w, err)
			return
		}
		reply(w, canaryBody{Nonce: nonce})
	}
}
