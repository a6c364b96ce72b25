package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// The reasons of a switchover that was not done.
const (
	// ReasonNoSuchDatabase is for a database that the node has no voting part in; another node may have.
	ReasonNoSuchDatabase trust.Reason = "NoSuchDatabase"
	// ReasonSwitchover is for a switchover that is refused or failed; SwitchoverResult.Reason has the engine's word for why.
	ReasonSwitchover trust.Reason = "Switchover"
)

const (
	// DefaultSwitchoverPatience is how long a switchover may wait for transactions to end when the operator does not say.
	DefaultSwitchoverPatience = 30 * time.Second
	// MaxSwitchoverPatience is how long it may at most.
	MaxSwitchoverPatience = 10 * time.Minute
	// switchoverWait is how long one call waits for the end of a switchover, below the timeouts of both sides.
	switchoverWait = 10 * time.Second
)

// SwitchoverRequest asks a member to make another one, or itself, the primary.
type SwitchoverRequest struct {
	// ID is made by the caller, who asks again with the same one to learn how it goes on.
	ID string `json:"id"`
	// To is the node that is to be the primary.
	To string `json:"to"`
	// Patience is how long it may take, in milliseconds; 0 is DefaultSwitchoverPatience.
	Patience int64 `json:"patience_ms,omitempty"`
}

// SwitchoverResult is how a switchover goes.
type SwitchoverResult struct {
	// Done tells that it has ended.
	Done bool `json:"done"`
	// From was the primary before, "" when that was not known; To is the one that it was to be.
	From string `json:"from,omitempty"`
	To   string `json:"to"`
	// Reason and Message say why the primary did not change, "" when it did: one word for programs (unknown-member, not-online,
	// lag, long-transactions, timeout, refused, busy, failed), and for people what happened and what to do.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Progress says for people what is going on while it is not done.
	Progress string `json:"progress,omitempty"`
	// Took is how long it has taken, in milliseconds.
	Took int64 `json:"took_ms"`
}

// SwitchoverFailedError says why the primary did not change.
type SwitchoverFailedError struct {
	Database string
	Result   SwitchoverResult
}

// Error returns the engine's message.
func (e *SwitchoverFailedError) Error() string {
	return fmt.Sprintf("switch database %q over to %s: %s (%s)", e.Database, e.Result.To, e.Result.Message, e.Result.Reason)
}

// Switcher is implemented by a Backend whose node has databases.
type Switcher interface {
	// Switchover begins a switchover, or returns how the one with that ID goes. It waits until the end of it, but not longer
	// than ctx lasts, which is no error. It fails with *Error and ReasonNoSuchDatabase when the node has no voting part in it.
	Switchover(ctx context.Context, database string, r SwitchoverRequest) (SwitchoverResult, error)
	// SwitchoverCheck returns what would be in the way of a switchover to a node now, and changes nothing. It fails like Switchover.
	SwitchoverCheck(ctx context.Context, database, to string) (SwitchoverCheck, error)
}

// SwitchoverCheck is what a switchover would begin with.
type SwitchoverCheck struct {
	// From is the primary now, "" when there is none or nobody knows; To is the one that it would be.
	From string `json:"from,omitempty"`
	To   string `json:"to"`
	// Queue is how many transactions To has to apply before, MostQueue how many it may have, 0 when that does not matter.
	Queue     int `json:"queue"`
	MostQueue int `json:"most_queue,omitempty"`
	// Transactions describes, for people, those at the primary that have been under way for long and would be lost.
	Transactions []string `json:"transactions,omitempty"`
	// Reason and Message say why it would be refused, as in SwitchoverResult; "" when it would be done.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Switchover makes another member the primary and waits for the end of it. Progress, which may be nil, is called with what is
// going on. It fails with *SwitchoverFailedError when the primary did not change, and with *Error and ReasonNoSuchDatabase
// when the node that was asked has no voting part in the database. Only the operator may.
func (c *Client) Switchover(ctx context.Context, database string, r SwitchoverRequest, progress func(SwitchoverResult)) (SwitchoverResult, error) {
	for {
		var out SwitchoverResult
		if err := c.call(ctx, http.MethodPost, "/v1/databases/"+url.PathEscape(database)+"/switchover", r, &out); err != nil {
			return out, err
		}
		switch {
		case out.Done && out.Reason == "":
			return out, nil
		case out.Done:
			return out, &SwitchoverFailedError{Database: database, Result: out}
		case progress != nil:
			progress(out)
		}
	}
}

// SwitchoverCheck asks what would be in the way of making a node the primary, and changes nothing. It fails like Switchover. Only
// the operator may. An agent that does not know the question refuses it: it is another request than the order to do it.
func (c *Client) SwitchoverCheck(ctx context.Context, database, to string) (SwitchoverCheck, error) {
	var out SwitchoverCheck
	err := c.call(ctx, http.MethodGet, "/v1/databases/"+url.PathEscape(database)+"/switchover?to="+url.QueryEscape(to), nil, &out)
	return out, err
}

func (r SwitchoverRequest) validate(database string) error {
	ps := append(spec.ValidateName("database", database), spec.ValidateName("to", r.To)...)
	if r.ID == "" || len(r.ID) > 64 {
		ps = append(ps, spec.Problem{Field: "id", Message: "has not from 1 to 64 characters"})
	}
	if p := time.Duration(r.Patience) * time.Millisecond; r.Patience < 0 || r.Patience > MaxSwitchoverPatience.Milliseconds() {
		ps = append(ps, spec.Problem{Field: "patience_ms", Message: fmt.Sprintf("%s is not from 0 to %s", p, MaxSwitchoverPatience)})
	}
	return ps.Err()
}

func (h *handler) switchover(s Switcher) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
		var request SwitchoverRequest
		if !read(w, r, &request) {
			return
		}
		database := r.PathValue("name")
		if err := request.validate(database); err != nil {
			fail(w, &Error{StatusCode: http.StatusBadRequest, Reason: trust.ReasonMalformed, Message: err.Error()})
			return
		}
		if request.Patience == 0 {
			request.Patience = DefaultSwitchoverPatience.Milliseconds()
		}
		ctx, cancel := context.WithTimeout(r.Context(), switchoverWait)
		defer cancel()
		result, err := s.Switchover(ctx, database, request)
		var known *Error
		if err != nil && !errors.As(err, &known) {
			err = fmt.Errorf("switch over: %w", err)
		}
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, result)
	}
}

func (h *handler) switchoverCheck(s Switcher) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
		database, to := r.PathValue("name"), r.URL.Query().Get("to")
		if err := append(spec.ValidateName("database", database), spec.ValidateName("to", to)...).Err(); err != nil {
			fail(w, &Error{StatusCode: http.StatusBadRequest, Reason: trust.ReasonMalformed, Message: err.Error()})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), switchoverWait)
		defer cancel()
		check, err := s.SwitchoverCheck(ctx, database, to)
		var known *Error
		if err != nil && !errors.As(err, &known) {
			err = fmt.Errorf("look what a switchover would find: %w", err)
		}
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, check)
	}
}
