package api

import (
	"context"
	"net/http"
)

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
