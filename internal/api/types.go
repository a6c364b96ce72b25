package api

import (
	"errors"
	"fmt"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// WireHeader is the header in which both ends say which version of the wire form they speak.
const WireHeader = "Atoll-Wire"

// BootHeader is the header in which a node says which start of its agent calls (Info.BootID), so that one which is called
// under its own name can tell itself from another machine.
const BootHeader = "Atoll-Boot"

// MaxBody is the largest body of a request in bytes.
const MaxBody = 8 << 20

// The reasons of errors that the API adds to those of package trust.
const (
	// ReasonNotFound is for a path or method that does not exist.
	ReasonNotFound trust.Reason = "NotFound"
	// ReasonTooLarge is for a body above MaxBody.
	ReasonTooLarge trust.Reason = "TooLarge"
	// ReasonInternal is for what the agent could not do; its log says more.
	ReasonInternal trust.Reason = "Internal"
)

// ErrUnreachable is in the chain of an error when no endpoint of the node answered at all.
var ErrUnreachable = errors.New("unreachable")

// Info is what an agent says of itself.
type Info struct {
	Cluster    string           `json:"cluster"`
	Node       string           `json:"node"`
	Version    string           `json:"version"`
	Wire       int              `json:"wire"`
	Identity   trust.PublicKey  `json:"identity"`
	Joined     bool             `json:"joined"`
	Conditions []spec.Condition `json:"conditions,omitempty"`
	BootID     string           `json:"boot_id"`
}

// Health is what a node's health endpoint says to everybody.
type Health struct {
	Healthy bool `json:"healthy"`
	// State is one word, for example "waiting", "joining" or "joined".
	State string `json:"state"`
	// Waiting is what the node waits for, empty when for nothing.
	Waiting string `json:"waiting,omitempty"`
	// Parts holds "ok" or what is wrong for each part of the node.
	Parts map[string]string `json:"parts,omitempty"`
}

// Error is an agent's answer that it did not do what was asked.
type Error struct {
	// StatusCode is the HTTP status, 0 when the agent ended the connection because it does not believe the caller.
	StatusCode int          `json:"-"`
	Reason     trust.Reason `json:"reason"`
	Message    string       `json:"message"`
	// Records are the signed evidence for the refusal, for example the tombstone of a removed node.
	Records []store.Record `json:"records,omitempty"`
}

// Error returns the message and the reason.
func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Reason) }

type errorBody struct {
	Error *Error `json:"error"`
}

type recordsBody struct {
	Records []store.Record `json:"records"`
}

type outcomesBody struct {
	Outcomes []store.Outcome `json:"outcomes"`
}

type syncRequest struct {
	Digest store.Digest `json:"digest"`
}

type syncBody struct {
	Newer  []store.Record `json:"newer"`
	Wanted []store.Key    `json:"wanted"`
}
