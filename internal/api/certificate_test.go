package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func TestCertificateRequest(t *testing.T) {
	f := newFixture(t)
	addr, _ := f.serve("127.0.0.1:0")
	many := make([]string, 101)
	for i := range many {
		many[i] = "www.example.com"
	}
	tests := []struct {
		name string
		ask  api.CertificateRequest
		want string
	}{
		{"good", api.CertificateRequest{LoadBalancer: "www.example.com", Hostnames: []string{"www.example.com", "*.example.com"}}, ""},
		{"a path", api.CertificateRequest{LoadBalancer: "../identity", Hostnames: []string{"www.example.com"}}, "load_balancer"},
		{"no load balancer", api.CertificateRequest{Hostnames: []string{"www.example.com"}}, "load_balancer"},
		{"no hostname", api.CertificateRequest{LoadBalancer: "www.example.com"}, "hostnames"},
		{"too many", api.CertificateRequest{LoadBalancer: "www.example.com", Hostnames: many}, "hostnames"},
		{"an address", api.CertificateRequest{LoadBalancer: "www.example.com", Hostnames: []string{"192.0.2.1"}}, "certificates are for names"},
		{"a wildcard inside", api.CertificateRequest{LoadBalancer: "www.example.com", Hostnames: []string{"www.*.com"}}, "hostnames"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := f.operator(addr).CertificateRequest(t.Context(), tt.ask)
			var refused *api.Error
			switch {
			case tt.want == "" && (err != nil || got.Request != "request for www.example.com"):
				t.Errorf("got %+v, %v", got, err)
			case tt.want != "" && (!errors.As(err, &refused) || refused.StatusCode != http.StatusBadRequest || !strings.Contains(refused.Message, tt.want)):
				t.Errorf("got %+v, %v; want a refusal with %q", got, err, tt.want)
			}
		})
	}
	id, proof := f.machine("sg1", f.now())
	_, err := f.asNode(id, proof, addr).CertificateRequest(t.Context(), tests[0].ask)
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Reason != trust.ReasonNotAllowed {
		t.Errorf("asked by another node: %v", err)
	}
}
