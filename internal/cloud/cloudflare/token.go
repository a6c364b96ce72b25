package cloudflare

import (
	"context"
	"errors"

	"github.com/cloudflare/cloudflare-go/v7/accounts"
	"github.com/cloudflare/cloudflare-go/v7/user"
)

// TokenStatus is whether a token is good.
type TokenStatus string

// The states of a token.
const (
	TokenActive   TokenStatus = "active"
	TokenDisabled TokenStatus = "disabled"
	TokenExpired  TokenStatus = "expired"
	// TokenUnknown means that the API knows of no such token.
	TokenUnknown TokenStatus = "unknown"
)

// VerifyToken returns the state of the client's token, ErrUnauthorized when there is no such token. It needs no permission. A token
// that belongs to an account and not to a user is only known when the account is given.
func (c *Client) VerifyToken(ctx context.Context, account string) (TokenStatus, error) {
	answer, err := call(ctx, "verify the API token", func(ctx context.Context) (*user.TokenVerifyResponse, error) {
		return c.tokens.Verify(ctx)
	})
	if err == nil {
		return TokenStatus(answer.Status), nil
	}
	if account == "" || !errors.Is(err, ErrUnauthorized) {
		return "", err
	}
	var p accounts.TokenVerifyParams
	p.AccountID.Value = account
	owned, err := call(ctx, "verify the API token", func(ctx context.Context) (*accounts.TokenVerifyResponse, error) {
		return c.owned.Verify(ctx, p)
	})
	if err != nil {
		return "", err
	}
	return TokenStatus(owned.Status), nil
}

// Explain returns err, more precise when it can be: the API says the same of a token that lacks a permission as of one that is
// wrong, expired or disabled, and only asking about the token itself tells them apart.
func (c *Client) Explain(ctx context.Context, account string, err error) error {
	failure, ok := asError(err)
	if !ok || !errors.Is(failure.Kind, ErrForbidden) {
		return err
	}
	status, verifyErr := c.VerifyToken(ctx, account)
	switch {
	case verifyErr == nil && status == TokenActive, verifyErr != nil && !errors.Is(verifyErr, ErrUnauthorized):
		return err
	case verifyErr == nil:
		explained := *failure
		explained.Kind, explained.Permission, explained.Token = ErrUnauthorized, Permission{}, status
		return &explained
	case account == "":
		// It may be an account's own token, which cannot be asked about without knowing the account.
		explained := *failure
		explained.Token = TokenUnknown
		return &explained
	default:
		explained := *failure
		explained.Kind, explained.Permission, explained.Token = ErrUnauthorized, Permission{}, TokenUnknown
		return &explained
	}
}
