package linode

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Kinds of failures, for errors.Is.
var (
	// ErrNotFound means that the instance does not exist (any more).
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized means that the token is missing, wrong, expired or lacks a scope.
	ErrUnauthorized = errors.New("not authorized")
	// ErrRateLimited means that the API asked to come back later than the caller can wait.
	ErrRateLimited = errors.New("rate limited")
	// ErrConflict means that the instance's present state or another instance forbids the request.
	ErrConflict = errors.New("conflict")
	// ErrBusy means that another job of the instance is unfinished. The request may be made again later.
	ErrBusy = errors.New("busy")
	// ErrInvalid means that the API refuses a value of the request.
	ErrInvalid = errors.New("invalid request")
	// ErrUnavailable means that the API failed on its side.
	ErrUnavailable = errors.New("unavailable")
	// ErrUnreachable means that no whole answer came.
	ErrUnreachable = errors.New("unreachable")
)

// Reason is one thing that the API says is wrong with a request.
type Reason struct {
	// Field is the request's field, empty when the reason concerns the whole request.
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// Error is a failed request.
type Error struct {
	// Op says what was attempted, for example "create instance web-sg1".
	Op string
	// Kind is one of the Err variables of this package.
	Kind error
	// Status is the HTTP status, 0 when no answer came.
	Status  int
	Reasons []Reason
	// NeededScopes and TokenScopes are set when the token lacks a scope and the API named both.
	NeededScopes string
	TokenScopes  string
	// RetryAfter is how long the API asked to wait, 0 when it did not say.
	RetryAfter time.Duration
	// Err is the transport's error when no answer came.
	Err error
}

// Error says what was attempted, what the API answered and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.Op, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	for _, r := range e.Reasons {
		b.WriteString(": ")
		if r.Field != "" {
			b.WriteString(r.Field + ": ")
		}
		b.WriteString(r.Reason)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.NeededScopes != "" {
		fmt.Fprintf(&b, "; the request needs the scope %s, the token has %s", e.NeededScopes, e.TokenScopes)
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

// Field returns the first reason that names field.
func (e *Error) Field(field string) (Reason, bool) {
	for _, r := range e.Reasons {
		if r.Field == field {
			return r, true
		}
	}
	return Reason{}, false
}

// busyReason is what the API says, with status 400 and no other sign, while another job of the instance is unfinished;
// linodego tells it by the same words.
const busyReason = "Linode busy."

func kindOf(status int, reasons []Reason) error {
	switch {
	case status == http.StatusBadRequest && len(reasons) == 1 && reasons[0].Reason == busyReason:
		return ErrBusy
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return ErrUnauthorized
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case status == http.StatusConflict:
		return ErrConflict
	case status >= http.StatusInternalServerError:
		return ErrUnavailable
	default:
		return ErrInvalid
	}
}
