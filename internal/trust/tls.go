package trust

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"
)

// Caller is who is at the other end of a verified connection: the operator, or the node of Member.
type Caller struct {
	Operator bool
	Node     string
	Identity PublicKey
	// Member is what the caller's proof says, nil for the operator.
	Member *Member
}

// ServerTLS returns the configuration of an agent's server: TLS 1.3, with a certificate demanded from every caller, who
// must be the operator or hold a valid proof of this cluster. Proof is asked for at each handshake.
//
// A valid proof is not yet admission, and an operator's certificate may be from another time: both are decided where they
// can be answered with a reason, by the API handler.
func ServerTLS(id *Identity, proof func() Proof, root Root) (*tls.Config, error) {
	certificates := &certificateCache{id: id, proof: proof}
	if _, err := certificates.get(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificates.get() },
		VerifyConnection: func(state tls.ConnectionState) error {
			cert, err := leaf(state)
			if err == nil {
				// By its own account it is always the right time.
				_, err = root.CallerFromState(state, cert.NotBefore)
			}
			return err
		},
	}, nil
}

// CallerFromState returns who is at the other end of a connection that was accepted with ServerTLS for r, or a Refusal:
// ReasonExpired or ReasonNotYetValid when now is not within the time of an operator's certificate, since a clock is wrong or
// the connection has outlived it.
func (r Root) CallerFromState(state tls.ConnectionState, now time.Time) (Caller, error) {
	cert, err := leaf(state)
	if err != nil {
		return Caller{}, err
	}
	if _, isNode, err := proofOf(cert); err != nil {
		return Caller{}, err
	} else if !isNode {
		if err := r.verifyOperator(cert, now); err != nil {
			return Caller{}, err
		}
		return Caller{Operator: true}, nil
	}
	m, err := r.verifyNode(cert)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Node: m.Node, Identity: m.Identity, Member: &m}, nil
}

// NodeClientTLS returns the configuration with which a node calls another agent of its cluster: it shows its proof, and
// demands one. WantNode "" accepts any node; a pin accepts that identity only.
func NodeClientTLS(id *Identity, proof Proof, root Root, wantNode string, pin *PublicKey) (*tls.Config, error) {
	cert, err := nodeCertificate(id, proof)
	if err != nil {
		return nil, err
	}
	return clientTLS(cert, root, wantNode, pin), nil
}

// OperatorClientTLS returns the configuration with which the provider and the CLI call an agent: a certificate issued by
// the signing key, valid for an hour before and after now, and the same demands as NodeClientTLS.
func OperatorClientTLS(k *SigningKey, root Root, wantNode string, pin *PublicKey, now time.Time) (*tls.Config, error) {
	if k.Public() != root.Key {
		return nil, refuse(ReasonBadSignature, "signing key", fmt.Sprintf("is %s, but cluster %q was made with %s", k.Public().Fingerprint(), root.Cluster, root.Key.Fingerprint()))
	}
	cert, err := operatorCertificate(k, root.Cluster, now)
	if err != nil {
		return nil, err
	}
	return clientTLS(cert, root, wantNode, pin), nil
}

func clientTLS(cert *tls.Certificate, root Root, wantNode string, pin *PublicKey) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{*cert},
		NextProtos:   []string{"http/1.1"},
		// Names and authorities of the public Internet have no say here; VerifyConnection does all of the checking.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return root.verifyServer(state, wantNode, pin)
		},
	}
}

func (r Root) verifyServer(state tls.ConnectionState, wantNode string, pin *PublicKey) error {
	cert, err := leaf(state)
	if err != nil {
		return err
	}
	m, err := r.verifyNode(cert)
	if err != nil {
		return err
	}
	if wantNode != "" && m.Node != wantNode {
		return refuse(ReasonWrongNode, "certificate", fmt.Sprintf("node %q answers where %q was expected; check the address", m.Node, wantNode))
	}
	if pin != nil && m.Identity != *pin {
		return refuse(ReasonSecondIdentity, "certificate", fmt.Sprintf("node %q answers with identity %s, but %s is known; was the machine rebuilt, or is this another one?",
			m.Node, m.Identity.Fingerprint(), pin.Fingerprint()))
	}
	return nil
}

func leaf(state tls.ConnectionState) (*x509.Certificate, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, refuse(ReasonMalformed, "connection", "shows no certificate")
	}
	return state.PeerCertificates[0], nil
}

// certificateCache makes a node's certificate anew only when its proof has changed.
type certificateCache struct {
	id    *Identity
	proof func() Proof

	mu   sync.Mutex
	of   string
	cert *tls.Certificate
}

func (c *certificateCache) get() (*tls.Certificate, error) {
	proof := c.proof()
	of := proof.Ticket.Payload + "." + proof.Claim.Payload
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cert != nil && c.of == of {
		return c.cert, nil
	}
	cert, err := nodeCertificate(c.id, proof)
	if err != nil {
		return nil, err
	}
	c.of, c.cert = of, cert
	return cert, nil
}
