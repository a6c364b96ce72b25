package spec

import "time"

// Recovery is the operator's decision to end the outage of a database, whose name is the object's name, without having heard
// all of its members. It names what is given up.
type Recovery struct {
	// Incarnation is the life of the group that the decision begins. It is void for every other one, so that it cannot be
	// obeyed a second time.
	Incarnation uint64 `json:"incarnation"`
	// AcceptLossFrom are the members whose data is given up as far as no other has it.
	AcceptLossFrom []string `json:"accept_loss_from"`
	// Reason is for people: one line.
	Reason string `json:"reason,omitempty"`
	// Since is when the operator said so.
	Since time.Time `json:"since"`
}

// Kind returns KindRecovery.
func (Recovery) Kind() Kind { return KindRecovery }

// Validate implements Body.
func (r Recovery) Validate() Problems {
	var ps Problems
	if r.Incarnation < 2 {
		ps.add("incarnation", "", "is %d; the first life of a group needs no recovery", r.Incarnation)
	}
	if len(r.AcceptLossFrom) == 0 {
		ps.add("accept_loss_from", "name the members whose data is given up", "is empty")
	}
	for _, node := range r.AcceptLossFrom {
		ps = append(ps, ValidateName("accept_loss_from", node)...)
	}
	ps = append(ps, validateReason(r.Reason)...)
	if r.Since.IsZero() {
		ps.add("since", "", "is missing")
	}
	return ps
}
