package edge

import (
	"context"
	"errors"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Vendor is what an actor asks of the vendor for one load balancer. Every method returns before its context ends, and fails with a
// *Failure.
type Vendor interface {
	// Pools returns those of the pools that exist, by their ids, in as few requests as the vendor allows.
	Pools(ctx context.Context, ids []string) (map[string]Pool, error)
	// SetRemoved removes endpoints of a pool (true) or gives them back, by their names, and keeps a record of that at the vendor.
	// What is as wanted already, and endpoints that the operator has disabled, are left alone.
	SetRemoved(ctx context.Context, pool string, removed map[string]bool) (Pool, error)
	// SuspendDrain makes sessions leave a removed endpoint at once, or lets them drain again. It does nothing for a load balancer
	// without sessions.
	SuspendDrain(ctx context.Context, suspend bool) error
}

// Open returns a Vendor that acts with a token. It sends nothing yet.
type Open func(removal spec.QuickRemoval, token string) (Vendor, error)

// Reasons of a Failure and of the condition EdgeReady, in one word.
const (
	// ReasonRateLimited is that the vendor refuses all requests for a time.
	ReasonRateLimited = "RateLimited"
	// ReasonTokenRefused is that the token is wrong, expired, disabled or revoked.
	ReasonTokenRefused = "TokenRefused"
	// ReasonPermissionMissing is that the token may not do what is needed.
	ReasonPermissionMissing = "PermissionMissing"
	// ReasonUnreachable is that no answer came, or that the vendor failed.
	ReasonUnreachable = "Unreachable"
	// ReasonRefused is that the vendor does not take the request.
	ReasonRefused = "Refused"
	// ReasonMissing is that the vendor does not have what the load balancer's object names.
	ReasonMissing = "EndpointMissing"
	// ReasonHidden is that a node does not answer the others in public.
	ReasonHidden = "PublicSilent"
	// ReasonLast is that a dead node's endpoint is the last one.
	ReasonLast = "LastEndpoint"
	// ReasonToken is that the token for this node cannot be opened.
	ReasonToken = "TokenUnreadable"
)

// Failure is why something was not done at the vendor.
type Failure struct {
	// Reason is one of the reasons above.
	Reason string
	// After is how long the vendor wants not to be asked, 0 when it did not say.
	After time.Duration
	// Err says what happened; it holds no secret.
	Err error
}

// Error returns what happened.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns what happened.
func (f *Failure) Unwrap() error { return f.Err }

// failureOf returns the Failure that err is; anything else may pass.
func failureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return &Failure{Reason: f.Reason, After: f.After, Err: err}
	}
	return &Failure{Reason: ReasonUnreachable, Err: err}
}

// pause is how long to leave the vendor alone after this failure, the tries-th in a row.
func (f *Failure) pause(tries int) time.Duration {
	switch f.Reason {
	case ReasonRateLimited:
		if f.After > 0 {
			return f.After
		}
		return blocked
	case ReasonUnreachable:
		return max(min(retryFirst<<min(tries, 10), retryMost), f.After)
	}
	return max(retryRefused, f.After)
}

// remedied says what happened and what the operator can do.
func (f *Failure) remedied() string {
	text := f.Error()
	if f.Reason == ReasonTokenRefused || f.Reason == ReasonPermissionMissing {
		text += "; give quick_removal a good api_token and another api_token_version, and apply"
	}
	return text
}
