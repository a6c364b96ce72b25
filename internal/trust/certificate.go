package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	"time"
)

// operatorValidity is how long before and after its making an operator's certificate is valid. It is made anew for every
// client; an hour each way survives clocks that disagree.
const operatorValidity = time.Hour

// proofExtension is the certificate extension that carries a node's proof. 2.25 is the arc of self-assigned numbers.
func proofExtension() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 25, 1096043631, 1} }

// operatorOrganisation marks a certificate as an operator's, so that nothing else that the signing key might ever sign is
// taken for one.
const operatorOrganisation = "Atoll operator"

// nodeCertificate returns a certificate of the identity that carries its proof. Its dates bound nothing: who is believed
// is decided by the proof and by the store.
func nodeCertificate(id *Identity, proof Proof) (*tls.Certificate, error) {
	value, err := json.Marshal(proof)
	if err != nil {
		return nil, fmt.Errorf("encode proof: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "atoll node"},
		NotBefore:    time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC),
		// RFC 5280, 4.1.2.5: "no well-defined expiration date".
		NotAfter:        time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		ExtraExtensions: []pkix.Extension{{Id: proofExtension(), Value: value}},
	}
	signer := id.secret.signer()
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("make node certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}, nil
}

// operatorCertificate returns a certificate for a key of its own, issued by the signing key for the named cluster.
func operatorCertificate(k *SigningKey, cluster string, now time.Time) (*tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make operator certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make operator certificate: %w", err)
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "atoll signing key"}}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{operatorOrganisation}, CommonName: cluster},
		NotBefore:    now.Add(-operatorValidity),
		NotAfter:     now.Add(operatorValidity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, k.secret.signer())
	if err != nil {
		return nil, fmt.Errorf("make operator certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

// verifyNode returns the member that a certificate is of: the proof that it carries is valid and names the very key that
// the connection was made with.
func (r Root) verifyNode(cert *x509.Certificate) (Member, error) {
	const subject = "certificate"
	proof, ok, err := proofOf(cert)
	if err != nil {
		return Member{}, err
	}
	if !ok {
		return Member{}, refuse(ReasonMalformed, subject, "carries no proof of membership; is this an Atoll agent?")
	}
	m, err := r.VerifyProof(proof)
	if err != nil {
		return Member{}, err
	}
	key, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok || publicKeyFrom(key) != m.Identity {
		return Member{}, refuse(ReasonBadSignature, subject, fmt.Sprintf("carries the proof of node %q, but is of another key", m.Node))
	}
	return m, nil
}

// verifyOperator checks that the signing key issued the certificate for this cluster and that its time is now.
func (r Root) verifyOperator(cert *x509.Certificate, now time.Time) error {
	const subject = "operator certificate"
	issuer := &x509.Certificate{PublicKeyAlgorithm: x509.Ed25519, PublicKey: ed25519.PublicKey(r.Key[:])}
	if err := issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return refuse(ReasonBadSignature, subject, "is not issued by this cluster's signing key; use the key that the cluster was made with")
	}
	if len(cert.Subject.Organization) != 1 || cert.Subject.Organization[0] != operatorOrganisation {
		return refuse(ReasonMalformed, subject, "is not an operator's")
	}
	if cert.Subject.CommonName != r.Cluster {
		return wrongCluster(subject, cert.Subject.CommonName, r.Cluster)
	}
	// It is made when it is first used, so whoever made it believes that it is about this time.
	made := cert.NotBefore.Add(operatorValidity)
	clocks := func(reason Reason, direction string) error {
		return refuse(reason, subject, fmt.Sprintf(
			"was made at %s by the operator's clock, but the clock of this node says %s: the operator's is %s %s; set the clock right that is wrong, a difference of up to %s does no harm",
			stamp(made), stamp(now), now.Sub(made).Abs().Round(time.Second), direction, operatorValidity))
	}
	switch {
	case now.After(cert.NotAfter):
		return clocks(ReasonExpired, "behind")
	case now.Before(cert.NotBefore):
		return clocks(ReasonNotYetValid, "ahead")
	default:
		return nil
	}
}

// proofOf returns the proof that a certificate carries, unverified, and whether it carries one.
func proofOf(cert *x509.Certificate) (Proof, bool, error) {
	for _, e := range cert.Extensions {
		if !e.Id.Equal(proofExtension()) {
			continue
		}
		var p Proof
		if err := json.Unmarshal(e.Value, &p); err != nil {
			return Proof{}, false, refuse(ReasonMalformed, "certificate", "its proof of membership cannot be read")
		}
		return p, true, nil
	}
	return Proof{}, false, nil
}
