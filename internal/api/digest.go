package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	// ReasonPairUnavailable is for a pair whose tree cannot be looked at on the node now; the message says why.
	ReasonPairUnavailable trust.Reason = "PairUnavailable"
	// ReasonNoSuchDirectory is for a directory that is not in the tree, or no more.
	ReasonNoSuchDirectory trust.Reason = "NoSuchDirectory"
)

// maxDigestID bounds the ID of a request, in bytes.
const maxDigestID = 64

// Digester is implemented by a Backend whose node belongs to pairs.
type Digester interface {
	// Digest begins a digest of the node's tree of a pair, or returns how the one with that ID goes. It waits for the end of it, but no
	// longer than some seconds. It fails with *Error: ReasonNoSuchPair or ReasonPairUnavailable.
	Digest(ctx context.Context, pair string, r digest.Request) (digest.Result, error)
	// Directory returns one directory of a tree. It fails like Digest, and with ReasonNoSuchDirectory.
	Directory(ctx context.Context, pair string, part digest.Part, path string) (digest.Directory, error)
}

// Digest makes a digest of one of the agent's trees of a pair and waits for the end of it. Full looks at every file's attributes; otherwise only what is known
// to have changed is looked at, which is good for a guess. Progress, which may be nil, is called with how far it is. It fails with *Error and ReasonNoSuchPair
// while the agent does not know the pair, and ReasonPairUnavailable while its tree is not to be had. Only the operator may.
func (c *Client) Digest(ctx context.Context, pair string, part digest.Part, full bool, progress func(digest.Progress)) (*digest.Snapshot, error) {
	request := digest.Request{ID: rand.Text(), Full: full, Part: part}
	for {
		var out digest.Result
		if err := c.call(ctx, http.MethodPost, "/v1/pairs/"+url.PathEscape(pair)+"/digest", request, &out); err != nil {
			return nil, err
		}
		if out.Snapshot != nil {
			return out.Snapshot, nil
		}
		if progress != nil {
			progress(out.Progress)
		}
	}
}

// Directory returns one directory of one of the agent's trees of a pair, as digest.Lister does. It fails like Digest, and with an error that wraps
// fs.ErrNotExist for a directory that is not there. Only the operator may.
func (c *Client) Directory(ctx context.Context, pair string, part digest.Part, path string) (digest.Directory, error) {
	var out digest.Directory
	// A path is bytes, which need not be text.
	query := url.Values{"path": {base64.RawURLEncoding.EncodeToString([]byte(path))}}
	if part != digest.Hot {
		query.Set("part", string(part))
	}
	err := c.call(ctx, http.MethodGet, "/v1/pairs/"+url.PathEscape(pair)+"/directory?"+query.Encode(), nil, &out)
	var refused *Error
	if errors.As(err, &refused) && refused.Reason == ReasonNoSuchDirectory {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return out, err
}

func (h *handler) digest(d Digester) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
		var request digest.Request
		if !read(w, r, &request) {
			return
		}
		if request.ID == "" || len(request.ID) > maxDigestID {
			fail(w, &Error{StatusCode: http.StatusBadRequest, Reason: trust.ReasonMalformed, Message: fmt.Sprintf("the id has not from 1 to %d bytes", maxDigestID)})
			return
		}
		result, err := d.Digest(r.Context(), r.PathValue("name"), request)
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, result)
	}
}

func (h *handler) directory(d Digester) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
		path, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("path"))
		if err != nil {
			fail(w, &Error{StatusCode: http.StatusBadRequest, Reason: trust.ReasonMalformed, Message: fmt.Sprintf("the path is no base64: %v", err)})
			return
		}
		directory, err := d.Directory(r.Context(), r.PathValue("name"), digest.Part(r.URL.Query().Get("part")), string(path))
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, directory)
	}
}
