package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Placer is implemented by a Backend whose node may get pairs.
type Placer interface {
	// Place returns the facts of a directory of the node, which need not exist. It takes some seconds at most.
	Place(ctx context.Context, path string) (place.Facts, error)
}

// Place returns the facts of a directory on the agent's node: what it is on, what that has room for, and what is in it. Only the operator may
// ask, and only for what may become the tree of a pair.
func (c *Client) Place(ctx context.Context, path string) (place.Facts, error) {
	var out place.Facts
	err := c.call(ctx, http.MethodGet, "/v1/place?path="+base64.RawURLEncoding.EncodeToString([]byte(path)), nil, &out)
	return out, err
}

func (h *handler) place(p Placer) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
		path, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("path"))
		if err != nil {
			fail(w, &Error{StatusCode: http.StatusBadRequest, Reason: trust.ReasonMalformed, Message: fmt.Sprintf("the path is no base64: %v", err)})
			return
		}
		if problems := spec.ValidateTree("path", string(path)); len(problems) > 0 {
			fail(w, &Error{StatusCode: http.StatusBadRequest, Reason: trust.ReasonMalformed, Message: problems.Error()})
			return
		}
		facts, err := p.Place(r.Context(), string(path))
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, facts)
	}
}
