package cloudflare_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// signingRequest makes a key and asks for a certificate of it.
func signingRequest(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"www." + domain}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// TestCertificate issues one whose answer is lost, checks whom it convinces, and revokes it twice.
func TestCertificate(t *testing.T) {
	t.Parallel()
	c, ctx := newCloud(t, nil), t.Context()
	request := cloudflare.CertificateRequest{CSR: signingRequest(t), Hostnames: []string{"www." + domain}, Days: 30}
	c.Inject(emulated.Fault{Method: http.MethodPost, Path: "/certificates", LoseAnswer: true})
	made, err := c.client.CreateCertificate(ctx, c.zone, request)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(made.PEM))
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Verify(x509.VerifyOptions{DNSName: "www." + domain, Roots: c.Account().OriginCA.Pool()}); err != nil {
		t.Error(err)
	}
	if left := time.Until(made.Expires); left < 29*24*time.Hour || left > 31*24*time.Hour {
		t.Errorf("it expires at %v", made.Expires)
	}
	if n := len(c.Account().Certificates); n != 1 {
		t.Errorf("%d certificates were issued", n)
	}
	// The same key again, while the first one is known: that is another one.
	request.Known = []string{made.ID}
	again, err := c.client.CreateCertificate(ctx, c.zone, request)
	if err != nil || again.ID == made.ID {
		t.Errorf("got %s again, error %v", again.ID, err)
	}
	if err := c.client.RevokeCertificate(ctx, again.ID); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := c.client.RevokeCertificate(ctx, made.ID); err != nil {
			t.Error(err)
		}
	}
	if n := len(c.Account().Certificates); n != 0 {
		t.Errorf("%d certificates are left", n)
	}
}

// TestFindCertificates looks for the certificates of a key, also where the list has those that are revoked: neither is such a one found,
// nor taken for one whose answer was lost.
func TestFindCertificates(t *testing.T) {
	t.Parallel()
	for _, listed := range []bool{false, true} {
		t.Run(fmt.Sprintf("revoked ones are listed %v", listed), func(t *testing.T) {
			t.Parallel()
			c, ctx := newCloud(t, nil), t.Context()
			c.ListRevoked = listed
			request := cloudflare.CertificateRequest{CSR: signingRequest(t), Hostnames: []string{"www." + domain}, Days: 30}
			issue := func(days int, known ...string) cloudflare.Certificate {
				t.Helper()
				request.Days, request.Known = days, known
				made, err := c.client.CreateCertificate(ctx, c.zone, request)
				if err != nil {
					t.Fatal(err)
				}
				return made
			}
			first := issue(30)
			long, second := issue(365, first.ID), issue(30, first.ID)
			for _, csr := range []string{signingRequest(t), request.CSR} {
				// Another key's, and another hostname's of the same key.
				other := cloudflare.CertificateRequest{CSR: csr, Hostnames: []string{"www." + domain, "app." + domain}, Days: 30}
				if _, err := c.client.CreateCertificate(ctx, c.zone, other); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.client.RevokeCertificate(ctx, first.ID); err != nil {
				t.Fatal(err)
			}
			find := func(known ...string) []string {
				t.Helper()
				request.Known = known
				found, err := c.client.FindCertificates(ctx, c.zone, request)
				if err != nil {
					t.Fatal(err)
				}
				out := []string{}
				for _, one := range found {
					out = append(out, fmt.Sprint(one.ID, " ", one.Days))
				}
				return out
			}
			if diff := cmp.Diff([]string{long.ID + " 365", second.ID + " 30"}, find()); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{long.ID + " 365"}, find(second.ID)); diff != "" {
				t.Errorf("found beside what is known (-want +got):\n%s", diff)
			}
			if err := c.client.RevokeCertificate(ctx, second.ID); err != nil {
				t.Fatal(err)
			}
			c.Inject(emulated.Fault{Method: http.MethodPost, Path: "/certificates", LoseAnswer: true})
			if third := issue(30); third.ID == first.ID || third.ID == second.ID || third.ID == long.ID {
				t.Errorf("got %s, which is not new", third.ID)
			}
		})
	}
}

func TestCertificateRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		token  emulated.Token
		change func(*cloudflare.CertificateRequest)
		want   error
	}{
		{"no permission", emulated.Token{Permissions: []string{emulated.ZoneRead}}, nil, cloudflare.ErrForbidden},
		{
			"somebody else's hostname",
			emulated.Token{Permissions: []string{emulated.SSLWrite}},
			func(r *cloudflare.CertificateRequest) { r.Hostnames = []string{"www.example.org"} }, cloudflare.ErrInvalid,
		},
		{
			"a validity that is not offered",
			emulated.Token{Permissions: []string{emulated.SSLWrite}},
			func(r *cloudflare.CertificateRequest) { r.Days = 31 }, cloudflare.ErrInvalid,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, func(cfg *cloudflare.Config) { cfg.Token = "other" })
			c.Tokens = map[string]emulated.Token{"other": tt.token}
			request := cloudflare.CertificateRequest{CSR: signingRequest(t), Hostnames: []string{"www." + domain}, Days: 30}
			if tt.change != nil {
				tt.change(&request)
			}
			_, err := c.client.CreateCertificate(t.Context(), c.zone, request)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			var denied *cloudflare.Error
			if errors.As(err, &denied) && errors.Is(tt.want, cloudflare.ErrForbidden) && denied.Permission != cloudflare.PermissionCertificates(true) {
				t.Errorf("it names the permission %v", denied.Permission)
			}
		})
	}
}
