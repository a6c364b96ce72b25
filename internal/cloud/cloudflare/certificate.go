package cloudflare

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudflare/cloudflare-go/v7/origin_ca_certificates"
)

// Certificate is one of the vendor's Origin CA: the vendor's edge trusts it when it connects to an endpoint, browsers do not.
type Certificate struct {
	// ID names the certificate where it is read and revoked.
	ID        string
	Hostnames []string
	// PEM is the certificate.
	PEM string
	// Expires is when it is not valid any more, by the certificate itself.
	Expires time.Time
	// Days is the validity that it was issued with.
	Days int
}

// CertificateRequest is what a certificate is issued for.
type CertificateRequest struct {
	// CSR is the signing request in PEM, whose key is one of elliptic curves.
	CSR       string
	Hostnames []string
	// Days is one of CertificateValidities.
	Days int
	// Known are the ids of certificates that the caller has already: none of them is one whose answer was lost.
	Known []string
}

// CertificateValidities lists how long certificates may be valid, in days
// (developers.cloudflare.com/api/resources/origin_ca_certificates).
func CertificateValidities() []int { return []int{7, 30, 90, 365, 730, 1095, 5475} }

// requestType is the vendor's word for keys of elliptic curves.
const requestType = "origin-ecc"

// certificateWire is a request as the API takes it.
type certificateWire struct {
	CSR       string   `json:"csr"`
	Hostnames []string `json:"hostnames"`
	Type      string   `json:"request_type"`
	Days      int      `json:"requested_validity"`
}

// CreateCertificate issues a certificate for hostnames of zone. A certificate whose answer was lost is found again among those of
// the zone by the key of the request, so that none is left that nobody knows.
func (c *Client) CreateCertificate(ctx context.Context, zone string, r CertificateRequest) (Certificate, error) {
	key, err := requestKey(r.CSR)
	if err != nil {
		return Certificate{}, fmt.Errorf("create certificate: %w", err)
	}
	began := time.Now()
	made, _, err := once(ctx, c, func(ctx context.Context) (Certificate, bool, error) {
		found, err := c.certificatesOf(ctx, zone, key, r, began)
		n := slices.IndexFunc(found, func(one Certificate) bool { return one.Days == r.Days })
		if err != nil || n < 0 {
			return Certificate{}, false, err
		}
		return found[n], true, nil
	}, func(ctx context.Context) (Certificate, error) {
		made, err := call(ctx, "create certificate", func(ctx context.Context) (*origin_ca_certificates.OriginCACertificate, error) {
			return c.certificates.New(ctx, origin_ca_certificates.OriginCACertificateNewParams{}, body(certificateWire{
				CSR: r.CSR, Hostnames: r.Hostnames, Type: requestType, Days: r.Days,
			}))
		})
		if err != nil {
			return Certificate{}, err
		}
		return certificateFromAPI(made)
	})
	return made, lacking(err, PermissionCertificates(true))
}

// FindCertificates returns the certificates of the zone that were issued for the key and the hostnames of a request, of whatever
// validity, and that are good still: neither expired, nor revoked, nor known to the caller. The one that is valid longest is first.
func (c *Client) FindCertificates(ctx context.Context, zone string, r CertificateRequest) ([]Certificate, error) {
	key, err := requestKey(r.CSR)
	if err != nil {
		return nil, fmt.Errorf("find certificates: %w", err)
	}
	found, err := c.certificatesOf(ctx, zone, key, r, time.Time{})
	if err != nil {
		return nil, lacking(err, PermissionCertificates(true))
	}
	now := time.Now()
	return slices.DeleteFunc(found, func(one Certificate) bool { return !one.Expires.After(now) }), nil
}

// issuedBefore is how much earlier than this machine's clock says a certificate may have been issued that was asked for just now:
// the authority's clock may be slower, and it dates certificates back.
const issuedBefore = 15 * time.Minute

// certificatesPerPage is the most that the API gives at once.
const certificatesPerPage = 50

// certificatesOf returns the certificates of a key that were issued for the hostnames of a request since, and are not revoked. The one
// that is valid longest is first.
func (c *Client) certificatesOf(ctx context.Context, zone string, key []byte, r CertificateRequest, since time.Time) ([]Certificate, error) {
	list, err := pagesOf(ctx, "list certificates", certificatesPerPage, func(ctx context.Context, n float64) ([]origin_ca_certificates.OriginCACertificate, error) {
		var p origin_ca_certificates.OriginCACertificateListParams
		p.ZoneID.Value, p.ZoneID.Present = zone, true
		p.Page.Value, p.Page.Present = n, true
		p.PerPage.Value, p.PerPage.Present = certificatesPerPage, true
		page, err := c.certificates.List(ctx, p)
		if err != nil {
			return nil, err
		}
		return page.Result, nil
	})
	if err != nil {
		return nil, err
	}
	var found []Certificate
	for i := range list {
		one, err := certificateFromAPI(&list[i])
		if err != nil || slices.Contains(r.Known, one.ID) || isRevoked(&list[i]) {
			continue // not every one was made here
		}
		parsed, err := parseCertificate(one.PEM)
		if err != nil || parsed.NotBefore.Before(since.Add(-issuedBefore)) || !sameNames(one.Hostnames, r.Hostnames) {
			continue
		}
		of, err := x509.MarshalPKIXPublicKey(parsed.PublicKey)
		if err == nil && slices.Equal(of, key) {
			found = append(found, one)
		}
	}
	slices.SortStableFunc(found, func(a, b Certificate) int { return b.Expires.Compare(a.Expires) })
	return found, nil
}

// isRevoked tells whether a certificate of a list is one that was revoked: the API has a time for that, which the library's type of
// lists has not. Whether lists have revoked ones at all is written nowhere.
func isRevoked(in *origin_ca_certificates.OriginCACertificate) bool {
	var more struct {
		RevokedAt string `json:"revoked_at"`
	}
	err := json.Unmarshal([]byte(in.JSON.RawJSON()), &more)
	return err != nil || more.RevokedAt != "" && !strings.HasPrefix(more.RevokedAt, "0001-01-01")
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// RevokeCertificate revokes a certificate. That it does not exist, or is revoked already, is no error.
func (c *Client) RevokeCertificate(ctx context.Context, id string) error {
	return remove(ctx, "revoke certificate "+id, func(ctx context.Context) (*origin_ca_certificates.OriginCACertificateDeleteResponse, error) {
		return c.certificates.Delete(ctx, id)
	})
}

func certificateFromAPI(in *origin_ca_certificates.OriginCACertificate) (Certificate, error) {
	out := Certificate{ID: in.ID, Hostnames: in.Hostnames, PEM: in.Certificate, Days: int(in.RequestedValidity)}
	parsed, err := parseCertificate(in.Certificate)
	if err != nil {
		return out, fmt.Errorf("certificate %s: %w", in.ID, err)
	}
	// The vendor's own field has had several forms.
	out.Expires = parsed.NotAfter
	return out, nil
}

var (
	errNoCertificate = errors.New("what the API calls a certificate is none in PEM")
	errNoRequest     = errors.New("the signing request is none in PEM")
)

func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errNoCertificate
	}
	return x509.ParseCertificate(block.Bytes)
}

// requestKey returns the public key of a signing request.
func requestKey(text string) ([]byte, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errNoRequest
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	return x509.MarshalPKIXPublicKey(r.PublicKey)
}
