package trust

import "errors"

// Reason is one word for programs that says why something was refused.
type Reason string

// The reasons of a refusal.
const (
	// ReasonMalformed is for what cannot be read at all.
	ReasonMalformed Reason = "Malformed"
	// ReasonBadSignature is for what the expected key did not sign, or what was changed after signing.
	ReasonBadSignature Reason = "BadSignature"
	// ReasonInvalid is for an object that was signed well but says something that cannot be.
	ReasonInvalid Reason = "Invalid"
	// ReasonUnknownWireVersion is for what a newer Atoll made and this one does not understand.
	ReasonUnknownWireVersion Reason = "UnknownWireVersion"
	// ReasonWrongCluster is for what belongs to another cluster.
	ReasonWrongCluster Reason = "WrongCluster"
	// ReasonWrongNode is for what belongs to another node, for example a ticket used under another name.
	ReasonWrongNode Reason = "WrongNode"
	// ReasonExpired is for a ticket or certificate whose time is over.
	ReasonExpired Reason = "Expired"
	// ReasonNotYetValid is for a ticket or certificate from the future, which is a wrong clock.
	ReasonNotYetValid Reason = "NotYetValid"
	// ReasonReplayed is for a ticket from before its node was removed and made again.
	ReasonReplayed Reason = "Replayed"
	// ReasonRevoked is for a node that the operator has removed.
	ReasonRevoked Reason = "Revoked"
	// ReasonSecondIdentity is for an identity under the name of a node that already has another.
	ReasonSecondIdentity Reason = "SecondIdentity"
	// ReasonUnknownMember is for a status of a node that is not admitted.
	ReasonUnknownMember Reason = "UnknownMember"
	// ReasonNotAllowed is for a caller who is known but may not do this.
	ReasonNotAllowed Reason = "NotAllowed"
	// ReasonStorage is for what could not be written to disk; nothing is wrong with the thing itself.
	ReasonStorage Reason = "Storage"
)

// Refusal is the error of everything in this package that is not believed. Message says what is wrong and what to do.
type Refusal struct {
	Reason  Reason
	Subject string
	Message string
}

// Error returns subject and message.
func (r *Refusal) Error() string { return r.Subject + ": " + r.Message }

// ReasonOf returns the reason of the Refusal in err's chain, or "" when there is none.
func ReasonOf(err error) Reason {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func refuse(reason Reason, subject, message string) *Refusal {
	return &Refusal{Reason: reason, Subject: subject, Message: message}
}
