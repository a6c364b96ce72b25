package linode

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// judge types the outcome of one try. While an instance is busy it is tried until the caller's context ends, since what the
// instance does ends by itself.
func (c *clock) judge(r *http.Request, resp *http.Response, answer []byte, err error) rest.Verdict {
	if resp != nil {
		c.compare(resp.Header.Get("Date"), time.Now())
	}
	f := failureOf(resp, answer, err)
	if f == nil {
		return rest.Verdict{}
	}
	return rest.Verdict{Err: f, Again: repeatable(r, f), After: f.RetryAfter, Passing: errors.Is(f.Kind, ErrBusy)}
}

// repeatable tells whether a failed request may be sent again as it is. After 429, 409 and "busy" nothing was done; what
// failed on the API's side may have been done, so only a method that can be repeated without harm is. Creating an instance
// is repeated by its caller, who looks first whether somebody else has made it.
func repeatable(r *http.Request, f *Error) bool {
	switch {
	case f == nil:
		return false
	case errors.Is(f.Kind, ErrRateLimited), errors.Is(f.Kind, ErrBusy):
		return true
	case errors.Is(f.Kind, ErrConflict):
		return !creates(r)
	case r.Method == http.MethodPost:
		return false
	default:
		return f.Status == http.StatusRequestTimeout || f.ambiguous()
	}
}

func failureOf(resp *http.Response, answer []byte, err error) *Error {
	var wait *rest.WaitError
	if errors.As(err, &wait) {
		return &Error{Kind: ErrRateLimited, Err: err}
	}
	if err != nil {
		return &Error{Kind: ErrUnreachable, Err: err}
	}
	if resp.StatusCode < http.StatusBadRequest {
		return nil
	}
	f := &Error{Status: resp.StatusCode}
	var said struct {
		Errors []Reason `json:"errors"`
	}
	if json.Unmarshal(answer, &said) == nil {
		f.Reasons = said.Errors
	}
	f.Kind = kindOf(f.Status, f.Reasons)
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		f.RetryAfter = time.Duration(s) * time.Second
	}
	if errors.Is(f.Kind, ErrUnauthorized) {
		f.NeededScopes = resp.Header.Get("X-Accepted-Oauth-Scopes")
		f.TokenScopes = resp.Header.Get("X-Oauth-Scopes")
	}
	return f
}
