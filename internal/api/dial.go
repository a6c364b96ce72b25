package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	// headStart is how long an endpoint has before the next one is tried beside it.
	headStart = 500 * time.Millisecond
	// dialTimeout bounds the connection to one endpoint, the TLS handshake included.
	dialTimeout = 5 * time.Second
	// keptPatience is how long a connection that was kept from an earlier request may be silent.
	keptPatience = 3 * time.Second
)

// dialer connects to the first of a target's endpoints that answers as it should.
type dialer struct {
	target Target
	config func() (*tls.Config, error)
}

type dialed struct {
	endpoint string
	conn     *tls.Conn
	err      error
}

// dial tries the endpoints in order, each with a head start on the next, and keeps the first that proves to be the target.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	if len(d.target.Endpoints) == 0 {
		return nil, &dialError{unreachable: true, errs: []error{errors.New("it has no known address")}}
	}
	config, err := d.config()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, len(d.target.Endpoints))
	next, open := 0, 0
	start := func() {
		endpoint := d.target.Endpoints[next]
		next++
		open++
		go func() {
			conn, err := d.connect(ctx, endpoint, config)
			results <- dialed{endpoint, conn, err}
		}()
	}
	start()
	timer := time.NewTicker(headStart)
	defer timer.Stop()
	failed := &dialError{unreachable: true}
	for {
		select {
		case <-timer.C:
			if next < len(d.target.Endpoints) {
				start()
			}
		case r := <-results:
			open--
			if r.err == nil {
				go discard(results, open)
				return r.conn, nil
			}
			failed.add(r.endpoint, r.err)
			if next < len(d.target.Endpoints) {
				start()
				timer.Reset(headStart)
			} else if open == 0 {
				return nil, failed
			}
		}
	}
}

// withTicket adds the check of the target's ticket to a client's configuration.
func (t Target) withTicket(config *tls.Config, root trust.Root) *tls.Config {
	if config == nil || t.Ticket == "" {
		return config
	}
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		// A node's certificate has no time.
		caller, err := root.CallerFromState(state, time.Time{})
		if err == nil && caller.Member != nil && caller.Member.Ticket.ID == t.Ticket {
			return nil
		}
		return &trust.Refusal{
			Reason: trust.ReasonReplayed, Subject: "certificate",
			Message: fmt.Sprintf("the agent that answers as node %q joined with another ticket: is the machine that was replaced still running there? Stop it, or wait until the new one has started", t.Node),
		}
	}
	return config
}

// discard closes the connections that came second.
func discard(results <-chan dialed, open int) {
	for range open {
		if r := <-results; r.conn != nil {
			_ = r.conn.Close()
		}
	}
}

func (d *dialer) connect(ctx context.Context, endpoint string, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dial := d.target.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	raw, err := dial(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, ignoreClosed(raw.Close()))
	}
	return conn, nil
}

// dialError is what kept every endpoint from being used.
type dialError struct {
	// unreachable tells that no endpoint answered as an agent, rather than as the wrong one.
	unreachable bool
	errs        []error
}

func (e *dialError) add(endpoint string, err error) {
	if trust.ReasonOf(err) != "" {
		e.unreachable = false
	}
	e.errs = append(e.errs, fmt.Errorf("%s: %w", endpoint, err))
}

// Error joins what each endpoint said.
func (e *dialError) Error() string { return errors.Join(e.errs...).Error() }

// Unwrap returns the endpoints' errors.
func (e *dialError) Unwrap() []error {
	if e.unreachable {
		return append([]error{ErrUnreachable}, e.errs...)
	}
	return e.errs
}

// staleError is a failure on a connection that was kept from an earlier request.
type staleError struct{ err error }

func (e *staleError) Error() string   { return e.err.Error() }
func (e *staleError) Unwrap() []error { return []error{ErrUnreachable, e.err} }

// transportError sorts what went wrong below HTTP.
func transportError(err error, kept bool) error {
	var dial *dialError
	var op *net.OpError
	switch {
	case errors.As(err, &dial):
		return dial
	case kept:
		return &staleError{err}
	case errors.As(err, &op) && op.Op == "remote error":
		// In TLS 1.3 a server judges the caller's certificate after the caller has finished its part.
		return &Error{
			Reason:  trust.ReasonNotAllowed,
			Message: fmt.Sprintf("the agent does not believe this caller (%v): the signing key must be the one that the cluster was made with", op.Err),
		}
	default:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
}

// watchKept returns a context that notices whether its request got a kept connection, and that gives up early if such a
// connection stays silent: the path that it was made on may be gone without a word, and a new one may find another.
func watchKept(ctx context.Context, giveUp context.CancelFunc) (context.Context, *atomic.Bool) {
	var kept atomic.Bool
	silence := time.AfterFunc(keptPatience, giveUp)
	silence.Stop()
	trace := &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			kept.Store(i.Reused)
			if i.Reused {
				silence.Reset(keptPatience)
			}
		},
		GotFirstResponseByte: func() { silence.Stop() },
	}
	return httptrace.WithClientTrace(ctx, trace), &kept
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
