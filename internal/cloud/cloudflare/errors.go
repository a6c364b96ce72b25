package cloudflare

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// Kinds of failures, for errors.Is.
var (
	// ErrNotFound means that the thing does not exist (any more).
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized means that the token is wrong, expired or disabled.
	ErrUnauthorized = errors.New("token refused")
	// ErrForbidden means that the token lacks a permission, or is not for this zone or account.
	ErrForbidden = errors.New("permission missing")
	// ErrRateLimited means that the API refuses every request for longer than the caller can wait.
	ErrRateLimited = errors.New("rate limited")
	// ErrExists means that a name is taken.
	ErrExists = errors.New("exists already")
	// ErrInUse means that something cannot be deleted because something else refers to it.
	ErrInUse = errors.New("in use")
	// ErrQuota means that the account may not have more things of a kind.
	ErrQuota = errors.New("quota exceeded")
	// ErrInvalid means that the API refuses a value of the request.
	ErrInvalid = errors.New("invalid request")
	// ErrUnavailable means that the API failed on its side.
	ErrUnavailable = errors.New("unavailable")
	// ErrUnreachable means that no whole answer came.
	ErrUnreachable = errors.New("unreachable")
)

// Codes of the vendor that say more than the HTTP status does. They are those of live answers that users of the vendor's own
// Terraform provider and of its libraries have published; the vendor documents the texts but not the numbers.
const (
	codeNotFound      = 1001 // also of a zone, with the status 400
	codeNotUnique     = 1003
	codeQuota         = 1004
	codeReferenced    = 1005
	codeBadHeaders    = 6003
	codeNoCredentials = 9106
	codeHostTaken     = 81053
	codeCNAMETaken    = 81054
	codeRecordExists  = 81057
	codeIdentical     = 81058
)

// Reason is one thing that the API says is wrong.
type Reason struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Error is a failed request.
type Error struct {
	// Op says what was attempted, for example "create pool www-hong-kong".
	Op string
	// Kind is one of the Err variables of this package.
	Kind error
	// Status is the HTTP status, 0 when no answer came.
	Status  int
	Reasons []Reason
	// Permission is what the request needs, set when Kind is ErrForbidden.
	Permission Permission
	// Token is the state of the token, set by Explain when it is not active.
	Token TokenStatus
	// RetryAfter is how long the API asked to wait, 0 when it did not say.
	RetryAfter time.Duration
	// Err is the transport's error when no answer came.
	Err error
}

// Error says what was attempted, what the API answered and what it would need.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.Op, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	for _, r := range e.Reasons {
		fmt.Fprintf(&b, ": %s (%d)", r.Message, r.Code)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Permission.Name != "" {
		fmt.Fprintf(&b, "; it needs the permission %s", e.Permission)
	}
	switch e.Token {
	case "":
	case TokenUnknown:
		b.WriteString("; the API knows of no such token")
	default:
		fmt.Fprintf(&b, "; the token is %s", e.Token)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, "; the API asks to wait %s", e.RetryAfter)
	}
	return b.String()
}

// Is matches the error's kind.
func (e *Error) Is(target error) bool { return e.Kind == target }

// Unwrap returns the transport's error.
func (e *Error) Unwrap() error { return e.Err }

// ambiguous tells whether the request may have been carried out although it failed.
func (e *Error) ambiguous() bool {
	return errors.Is(e.Kind, ErrUnreachable) || errors.Is(e.Kind, ErrUnavailable)
}

func (e *Error) has(codes ...int) bool {
	return slices.ContainsFunc(e.Reasons, func(r Reason) bool { return slices.Contains(codes, r.Code) })
}

// ZoneNotFoundError is returned for a zone that the token cannot see.
type ZoneNotFoundError struct {
	Zone string
}

// Error names the zone.
func (e *ZoneNotFoundError) Error() string {
	return fmt.Sprintf("find zone %s: the token sees no zone of that name", e.Zone)
}

// Is matches ErrNotFound.
func (e *ZoneNotFoundError) Is(target error) bool { return target == ErrNotFound }

// judge types the outcome of one try.
func judge(r *http.Request, resp *http.Response, body []byte, err error) rest.Verdict {
	if err != nil {
		var wait *rest.WaitError
		if errors.As(err, &wait) {
			return rest.Verdict{Err: &Error{Kind: ErrRateLimited, Err: err}}
		}
		f := &Error{Kind: ErrUnreachable, Err: err}
		return rest.Verdict{Err: f, Again: repeatable(r.Method)}
	}
	var said struct {
		Success *bool    `json:"success"`
		Errors  []Reason `json:"errors"`
	}
	parsed := json.Unmarshal(body, &said) == nil
	if resp.StatusCode < http.StatusBadRequest && (!parsed || said.Success == nil || *said.Success) {
		return rest.Verdict{}
	}
	f := &Error{Status: resp.StatusCode, Reasons: said.Errors}
	f.Kind = kindOf(f)
	if errors.Is(f.Kind, ErrForbidden) {
		f.Permission = permissionFor(r)
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		f.RetryAfter = time.Duration(s) * time.Second
	}
	limited := errors.Is(f.Kind, ErrRateLimited)
	return rest.Verdict{
		Err: f, After: f.RetryAfter, Everything: limited,
		// After 429 nothing was done; what failed on the API's side may have been.
		Again: limited || repeatable(r.Method) && f.ambiguous(),
	}
}

// repeatable tells whether a method can be repeated without harm although it may have been carried out.
func repeatable(method string) bool { return method != http.MethodPost }

func kindOf(e *Error) error {
	switch {
	case e.Status == http.StatusTooManyRequests:
		return ErrRateLimited
	case e.Status >= http.StatusInternalServerError, e.Status == http.StatusRequestTimeout:
		return ErrUnavailable
	case e.Status == http.StatusUnauthorized, e.has(codeBadHeaders, codeNoCredentials):
		return ErrUnauthorized
	case e.has(codeQuota):
		return ErrQuota
	case e.has(codeNotUnique, codeHostTaken, codeCNAMETaken, codeRecordExists, codeIdentical), e.Status == http.StatusConflict:
		return ErrExists
	case e.has(codeReferenced):
		return ErrInUse
	case e.Status == http.StatusForbidden:
		return ErrForbidden
	case e.Status == http.StatusNotFound, e.has(codeNotFound):
		return ErrNotFound
	default:
		return ErrInvalid
	}
}
