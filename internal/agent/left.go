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
	// Left lists what was left, the latest last.
	Left []leaving `json:"left"`
}

// loadLeft returns what the node has left so far.
func loadLeft(s state) (leftRecord, error) {
	var r leftRecord
	if _, err := s.readJSON(leftFile, &r); err != nil {
		return leftRecord{}, err
	}
	return r, nil
}

// leaving is one departure. While it is going on it stands in a file of its own, the marker, so that a damaged memory of
// earlier departures cannot be mistaken for a node that stays.
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

// add remembers one more and says whether that is news.
func (l *leftRecord) add(one leaving) bool {
	if slices.ContainsFunc(l.Left, func(known leaving) bool {
		return known.SigningKey == one.SigningKey && known.Cluster == one.Cluster && known.Ticket == one.Ticket
	}) {
		return false
	}
	l.Left = append(l.Left, one)
	if len(l.Left) > maxLeft {
		l.Left = slices.Delete(l.Left, 0, len(l.Left)-maxLeft)
	}
	return true
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
