package agent

import (
	"fmt"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// leftRecord is what an agent remembers of clusters that its node was removed from: first-boot data that cannot be deleted
// from its carrier must not bring the node back.
type leftRecord struct {
	// Pending is true from the decision to leave until everything is taken back; a restart in between continues.
	Pending bool `json:"pending"`
	// Left lists what was left, the latest last.
	Left []leaving `json:"left"`
}

type leaving struct {
	Cluster    string          `json:"cluster"`
	Node       string          `json:"node"`
	SigningKey trust.PublicKey `json:"signing_key"`
	// Ticket is the id of the ticket that the node was a member by.
	Ticket string `json:"ticket"`
	// Revoked is when the operator signed the node's removal: older tickets are void. Zero when the node was told to leave
	// without being removed.
	Revoked time.Time `json:"revoked,omitzero"`
	At      time.Time `json:"at"`
}

// maxLeft bounds the memory of left clusters; tickets expire long before.
const maxLeft = 50

func (l *leftRecord) add(one leaving) {
	l.Left = append(l.Left, one)
	if len(l.Left) > maxLeft {
		l.Left = slices.Delete(l.Left, 0, len(l.Left)-maxLeft)
	}
}

// check refuses a ticket that is from before its node was removed.
func (l leftRecord) check(root trust.Root, t trust.Ticket) error {
	for _, one := range l.Left {
		if one.SigningKey != root.Key || one.Cluster != root.Cluster || one.Node != t.Node {
			continue
		}
		if one.Ticket == t.ID || t.Issued.Before(one.Revoked) {
			return &trust.Refusal{
				Reason: trust.ReasonReplayed, Subject: fmt.Sprintf("ticket %s of node %q", t.ID, t.Node),
				Message: fmt.Sprintf("is from before this node was removed from cluster %q at %s; issue a new ticket to bring it back",
					one.Cluster, one.At.UTC().Format(time.RFC3339)),
			}
		}
	}
	return nil
}
