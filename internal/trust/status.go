package trust

import (
	"fmt"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// SignStatus signs what a node reports of itself.
func SignStatus(id *Identity, s spec.Status) (Envelope, error) {
	s.Wire = spec.WireVersion
	return seal(PayloadStatus, s, id.secret)
}

// VerifyStatus returns the status of an envelope that the node's identity signed.
func VerifyStatus(node string, key PublicKey, e Envelope) (spec.Status, error) {
	subject := fmt.Sprintf("status of node %q", node)
	var s spec.Status
	payload, err := open(e, PayloadStatus, subject, key)
	if err != nil {
		return spec.Status{}, err
	}
	if err := decode(payload, subject, &s); err != nil {
		return spec.Status{}, err
	}
	if s.Node != node {
		return spec.Status{}, refuse(ReasonWrongNode, subject, fmt.Sprintf("is a status of node %q", clip(s.Node)))
	}
	return s, nil
}

// StatusNode returns the node that a status claims to be of, without believing it: who must have signed it is known only
// then.
func StatusNode(e Envelope) (string, error) {
	payload, err := peek(e, PayloadStatus, "status")
	if err != nil {
		return "", err
	}
	var s spec.Status
	if err := decode(payload, "status", &s); err != nil {
		return "", err
	}
	return s.Node, nil
}
