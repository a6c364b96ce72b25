package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Certifier is implemented by a Backend whose node can serve HTTPS.
type Certifier interface {
	// CertificateRequest returns a signing request of the node's key for a load balancer, which is made when there is none. The
	// request is valid.
	CertificateRequest(ctx context.Context, r CertificateRequest) (CertificateRequestAnswer, error)
}

// maxHostnames bounds the hostnames of one certificate: as many as Cloudflare signs.
const maxHostnames = 100

// CertificateRequest asks a node for a signing request of the key that it serves HTTPS with for a load balancer.
type CertificateRequest struct {
	// LoadBalancer is the hostname that the key is for; the node makes it when it has none yet.
	LoadBalancer string `json:"load_balancer"`
	// Hostnames are what the certificate is to be valid for.
	Hostnames []string `json:"hostnames"`
}

// CertificateRequestAnswer is the node's answer. The key itself stays on the node.
type CertificateRequestAnswer struct {
	// Request is the signing request (PKCS#10) in PEM.
	Request string `json:"request"`
}

// CertificateRequest lets the node make a key, unless it has one, and returns a signing request of it. Only the operator may. The
// same key comes again until the load balancer, or the node's place in it, is gone.
func (c *Client) CertificateRequest(ctx context.Context, r CertificateRequest) (CertificateRequestAnswer, error) {
	var out CertificateRequestAnswer
	err := c.call(ctx, http.MethodPost, "/v1/certificate-request", r, &out)
	return out, err
}

// validate returns what is wrong with a request, nil when nothing.
func (r CertificateRequest) validate() error {
	ps := spec.ValidateHost("load_balancer", r.LoadBalancer)
	if len(r.Hostnames) == 0 || len(r.Hostnames) > maxHostnames {
		ps = append(ps, spec.Problem{Field: "hostnames", Message: fmt.Sprintf("%d are not from 1 to %d", len(r.Hostnames), maxHostnames)})
	}
	for _, name := range r.Hostnames {
		ps = append(ps, spec.ValidateHost("hostnames", strings.TrimPrefix(name, "*."))...)
		if _, err := netip.ParseAddr(name); err == nil {
			ps = append(ps, spec.Problem{Field: "hostnames", Message: fmt.Sprintf("%q is an address, and certificates are for names", name)})
		}
	}
	return ps.Err()
}

func (h *handler) certificateRequest(c Certifier) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
		var request CertificateRequest
		if !read(w, r, &request) {
			return
		}
		if err := request.validate(); err != nil {
			fail(w, &Error{StatusCode: http.StatusBadRequest, Reason: trust.ReasonMalformed, Message: err.Error()})
			return
		}
		answer, err := c.CertificateRequest(r.Context(), request)
		if err != nil {
			fail(w, fmt.Errorf("make a certificate request: %w", err))
			return
		}
		reply(w, answer)
	}
}
