package cloudflare

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Certificate is one that the Origin CA has issued. The vendor's document that the emulation is checked against does not have
// these operations; their shape is that of cloudflare-go v7.
type Certificate struct {
	// ID is the serial number as a decimal.
	ID          string    `json:"id"`
	CSR         string    `json:"csr"`
	Hostnames   []string  `json:"hostnames"`
	RequestType string    `json:"request_type"`
	Days        int       `json:"requested_validity"`
	PEM         string    `json:"certificate"`
	ExpiresOn   time.Time `json:"expires_on"`
	// RevokedAt is nil for one that is not revoked.
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

// CertificatesPath is where the operations of the Origin CA are.
const CertificatesPath = base + "/certificates"

// OriginCA is the authority that endpoints' certificates come from, and that the edge trusts.
type OriginCA struct {
	// PEM is the authority's own certificate, Key its private key (SEC 1).
	PEM string `json:"certificate"`
	Key string `json:"key"`
}

// caLife is how long the authority of an emulated account is valid: longer than what it issues.
const caLife = 20 * 365 * 24 * time.Hour

// The kinds of keys that certificates are issued for.
const (
	originECC = "origin-ecc"
	originRSA = "origin-rsa"
)

func newOriginCA(now time.Time) (OriginCA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return OriginCA{}, fmt.Errorf("make Origin CA: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{Organization: []string{AccountName}, CommonName: "Origin ECC Certificate Authority of the lab"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(caLife), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return OriginCA{}, fmt.Errorf("make Origin CA: %w", err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return OriginCA{}, fmt.Errorf("make Origin CA: %w", err)
	}
	return OriginCA{PEM: asPEM("CERTIFICATE", der), Key: asPEM("EC PRIVATE KEY", secret)}, nil
}

func asPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159)) // it never fails
	return n.Add(n, big.NewInt(1))
}

// open returns the authority's certificate and key.
func (ca OriginCA) open() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certificate, _ := pem.Decode([]byte(ca.PEM))
	secret, _ := pem.Decode([]byte(ca.Key))
	if certificate == nil || secret == nil {
		return nil, nil, fmt.Errorf("the account has no Origin CA")
	}
	parsed, err := x509.ParseCertificate(certificate.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(secret.Bytes)
	return parsed, key, err
}

// Pool returns the authority as what to trust.
func (ca OriginCA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca.PEM))
	return pool
}

func (s *Server) certificateRoutes() []route {
	return []route{
		{pattern: "GET /certificates", permission: SSLRead, do: s.listCertificates},
		{pattern: "POST /certificates", permission: SSLWrite, do: s.createCertificate},
		{pattern: "GET /certificates/{id}", permission: SSLRead, do: s.getCertificate},
		{pattern: "DELETE /certificates/{id}", permission: SSLWrite, do: s.revokeCertificate},
	}
}

// certificateRequest is the body of a request for one.
type certificateRequest struct {
	CSR         string   `json:"csr"`
	Hostnames   []string `json:"hostnames"`
	RequestType string   `json:"request_type"`
	Days        int      `json:"requested_validity"`
}

func (s *Server) createCertificate(c *call) (any, error) {
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	r, err := merge[certificateRequest](nil, fields)
	if err != nil {
		return nil, err
	}
	if r.Days == 0 {
		r.Days = 5475
	}
	csr, err := s.checkCertificate(c, r)
	if err != nil {
		return nil, err
	}
	return s.issue(r, csr)
}

func (s *Server) checkCertificate(c *call, r certificateRequest) (*x509.CertificateRequest, error) {
	bad := func(code int, format string, values ...any) (*x509.CertificateRequest, error) {
		return nil, fail(http.StatusBadRequest, code, fmt.Sprintf(format, values...))
	}
	block, _ := pem.Decode([]byte(r.CSR))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return bad(codeCSR, "The CSR could not be parsed")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		return bad(codeCSR, "The CSR could not be parsed")
	}
	_, ecc := csr.PublicKey.(*ecdsa.PublicKey)
	_, isRSA := csr.PublicKey.(*rsa.PublicKey)
	switch {
	case r.RequestType != originECC && r.RequestType != originRSA:
		return bad(codeCSR, "The request type %q is not supported", r.RequestType)
	case r.RequestType == originECC && !ecc, r.RequestType == originRSA && !isRSA:
		return bad(codeCSR, "The key of the CSR does not fit the request type %q", r.RequestType)
	case !slices.Contains([]int{7, 30, 90, 365, 730, 1095, 5475}, r.Days):
		return bad(codeCSR, "The requested validity %d is not supported", r.Days)
	case len(r.Hostnames) == 0:
		return bad(codeHostname, "The hostnames are missing")
	}
	for _, name := range r.Hostnames {
		plain := strings.TrimPrefix(name, "*.")
		if !slices.ContainsFunc(s.state.Zones, func(z Zone) bool { return z.holds(plain) && c.token.reaches(z.Name) }) {
			return bad(codeHostname, "Failed to validate requested hostname %s: This zone is either not part of your account, or you do not have access to it. "+
				"Please contact support if using a multi-user organization.", name)
		}
	}
	return csr, nil
}

func (s *Server) issue(r certificateRequest, csr *x509.CertificateRequest) (any, error) {
	authority, key, err := s.state.OriginCA.open()
	if err != nil {
		return nil, err
	}
	now := s.now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{Organization: []string{AccountName}, CommonName: "CloudFlare Origin Certificate"},
		// The vendor's begin a few minutes before they were asked for.
		NotBefore: now.Add(-5 * time.Minute), NotAfter: now.AddDate(0, 0, r.Days).Truncate(time.Second), DNSNames: r.Hostnames,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, csr.PublicKey, key)
	if err != nil {
		return nil, err
	}
	made := Certificate{
		ID: template.SerialNumber.String(), CSR: r.CSR, Hostnames: r.Hostnames, RequestType: r.RequestType, Days: r.Days,
		PEM: asPEM("CERTIFICATE", der), ExpiresOn: template.NotAfter,
	}
	s.state.Certificates = append(s.state.Certificates, made)
	return made, nil
}

// listCertificates shows those of a zone, which the request must name.
func (s *Server) listCertificates(c *call) (any, error) {
	id := c.URL.Query().Get("zone_id")
	zone, ok := find(s.state.Zones, func(z Zone) bool { return z.ID == id })
	if !ok || !c.token.reaches(zone.Name) {
		return nil, fail(http.StatusBadRequest, codeHostname, "The zone_id is missing or invalid")
	}
	var list []Certificate
	all := s.state.Certificates
	if s.ListRevoked {
		all = slices.Concat(s.state.Revoked, all)
	}
	for _, one := range all {
		if slices.ContainsFunc(one.Hostnames, func(name string) bool { return zone.holds(strings.TrimPrefix(name, "*.")) }) {
			list = append(list, one)
		}
	}
	return page(c, list, 20, 5, 50)
}

func (s *Server) findCertificate(c *call) (int, error) {
	n := slices.IndexFunc(s.state.Certificates, func(one Certificate) bool { return one.ID == c.PathValue("id") })
	if n < 0 {
		return 0, fail(http.StatusNotFound, codeNoCertificate, "Failed to read certificate from Database")
	}
	return n, nil
}

func (s *Server) getCertificate(c *call) (any, error) {
	n, err := s.findCertificate(c)
	if err != nil {
		return nil, err
	}
	return s.state.Certificates[n], nil
}

// revoked is the answer to a revocation.
type revoked struct {
	ID        string    `json:"id"`
	RevokedAt time.Time `json:"revoked_at"`
}

func (s *Server) revokeCertificate(c *call) (any, error) {
	n, err := s.findCertificate(c)
	if err != nil {
		return nil, err
	}
	gone, now := s.state.Certificates[n], s.now().UTC().Truncate(time.Second)
	gone.RevokedAt = &now
	s.state.Revoked = append(slices.Clone(s.state.Revoked), gone)
	s.state.Certificates = slices.Delete(slices.Clone(s.state.Certificates), n, n+1)
	return revoked{gone.ID, now}, nil
}

// MarshalJSON implements [json.Marshaler]: the authority's times have their own form.
func (c Certificate) MarshalJSON() ([]byte, error) {
	type plain Certificate
	return json.Marshal(struct {
		plain
		ExpiresOn string `json:"expires_on"`
	}{plain(c), c.ExpiresOn.UTC().Format(certificateTime)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *Certificate) UnmarshalJSON(data []byte) error {
	type plain Certificate
	in := struct {
		*plain
		ExpiresOn string `json:"expires_on"`
	}{plain: (*plain)(c)}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	var err error
	c.ExpiresOn, err = time.Parse(certificateTime, in.ExpiresOn)
	return err
}

// certificateTime is the form of expires_on in live answers.
const certificateTime = "2006-01-02 15:04:05 -0700 MST"
