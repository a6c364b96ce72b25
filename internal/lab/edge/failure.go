package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
)

// The vendor's statuses of what went wrong between it and an endpoint.
const (
	statusEmptyAnswer = 520 // the endpoint cut the connection, or answered no HTTP
	statusRefused     = 521 // it refuses connections
	statusTimeout     = 522 // no connection in time, or a request was not acknowledged
	statusUnreachable = 523 // there is no route to it
	statusNoAnswer    = 524 // connected, but no answer in time
	statusNoTLS       = 525 // connected, but no agreement on TLS
	statusUntrusted   = 526 // the endpoint's certificate is not one to trust
	statusOriginDNS   = 530 // shown together with error 1016
)

// The vendor's codes in the body of an answer.
const (
	codeNotServed = 1001 // nobody answers for the hostname
	codeOriginDNS = 1016
)

// dialError is a failure before anything was sent.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// errNowhere means that a load balancer has no endpoint left, and its fallback pool is disabled as well.
var errNowhere = errors.New("no pool is enabled and healthy, and the fallback pool is disabled")

// statusOf is the vendor's status for a failure.
func statusOf(err error) int {
	var dial dialError
	var secure tlsError
	var timeout net.Error
	isTimeout := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &timeout) && timeout.Timeout()
	switch {
	case errors.Is(err, errNowhere), errors.Is(err, errUnknownHost), errors.Is(err, errProxiedHost):
		return statusOriginDNS
	case errors.As(err, &secure) && untrusted(err):
		return statusUntrusted
	case errors.As(err, &secure):
		return statusNoTLS
	case errors.As(err, &dial) && isTimeout, errors.Is(err, syscall.ETIMEDOUT):
		return statusTimeout
	case errors.As(err, &dial) && (errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)):
		return statusUnreachable
	case errors.As(err, &dial):
		return statusRefused
	case isTimeout:
		return statusNoAnswer
	}
	return statusEmptyAnswer
}

// mayRetry says whether the vendor tries another endpoint: after 521, 522, 523, 525 and 526.
func mayRetry(err error) bool {
	switch statusOf(err) {
	case statusRefused, statusTimeout, statusUnreachable, statusNoTLS, statusUntrusted:
		return true
	}
	return false
}

// refuse answers as the vendor does to a program: a line of text, with the code that a browser would see in a page.
func refuse(w http.ResponseWriter, status, code int) {
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Set("Cache-Control", "private, max-age=0, no-store, no-cache, must-revalidate")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "error code: %d", code) // the client may be gone already
}
