//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/load"
)

// crew is a load balancer whose nodes do their part. The token is not in the configuration.
const crew = `
resource "atoll_load_balancer" "site" {
  hostname = "www.example.com"
  zone     = "example.com"
  nodes    = local.nodes
  port     = 8080
  steering = "random"
  monitor  = { interval = 60, timeout = 2, retries = 0 }

  application_check = { type = "http" }
  quick_removal     = { api_token = var.removal_token }
  local_proxy       = { port = 80, tls = {} }
}
`

// newCrew brings up a site whose nodes serve the hostname together.
func newCrew(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.apply(t)
	for _, n := range everyNode {
		s.serve(t, n)
	}
	if err := s.Work.Write("balancer.tf", crew); err != nil {
		t.Fatal(err)
	}
	s.apply(t)
	s.wantNoChange(t)
	s.wantHealth(t, true, everyNode...)
	return s
}

// ask runs a load at the edge for a moment, by HTTPS when secure, and returns what visitors saw.
func (s *site) ask(ctx context.Context, secure bool, d time.Duration) (*load.Report, error) {
	p := load.Plan{
		URL: lab.EdgeURL, Host: hostname, Rate: 50, Duration: d, Timeout: 5 * time.Second, Dial: s.Network().OperatorNamespace().Connect,
	}
	if secure {
		pool, err := s.EdgeAuthority().Pool()
		if err != nil {
			return nil, err
		}
		p.URL, p.TLS = lab.SecureEdgeURL, &tls.Config{RootCAs: pool, ServerName: hostname, MinVersion: tls.VersionTLS12}
	}
	return load.Run(ctx, p)
}

// wantServed waits until exactly these nodes serve the hostname, and without a failure.
func (s *site) wantServed(t *testing.T, secure bool, nodes ...string) {
	t.Helper()
	s.eventually(t, fmt.Sprintf("%v serve (https: %v)", nodes, secure), time.Minute, func(ctx context.Context) error {
		r, err := s.ask(ctx, secure, 500*time.Millisecond)
		if err != nil {
			return err
		}
		if r.Failed != 0 || len(r.Nodes) != len(nodes) {
			return fmt.Errorf("answered %v, failures %v", r.Nodes, r.Failures)
		}
		for _, n := range nodes {
			if r.Nodes[n] == 0 {
				return fmt.Errorf("answered %v", r.Nodes)
			}
		}
		return nil
	})
}

// enabled returns whether the account has a node's endpoint enabled.
func (s *site) enabled(node string) bool {
	for _, p := range s.Cloudflare().Account().Pools {
		for _, o := range p.Origins {
			if o.Name == node {
				return o.Enabled
			}
		}
	}
	return false
}

// wantEnabled waits until a node's endpoint is enabled or disabled, and returns how long that took.
func (s *site) wantEnabled(t *testing.T, node string, want bool, within time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	s.eventually(t, fmt.Sprintf("%s is enabled=%v", node, want), within, func(context.Context) error {
		if s.enabled(node) != want {
			return fmt.Errorf("it is not, after %v", time.Since(began))
		}
		return nil
	})
	return time.Since(began)
}

// TestBalancerCrew lets real nodes do their part in a load balancer: take a dead one out, pass requests on for one whose application
// is down, step aside for maintenance, and serve HTTPS by certificates of the Origin CA.
func TestBalancerCrew(t *testing.T) {
	t.Parallel()
	onceForAllEngines(t)
	s := newCrew(t)

	t.Run("by HTTP and HTTPS", func(t *testing.T) {
		s.wantServed(t, false, everyNode...)
		s.wantServed(t, true, everyNode...)
	})

	t.Run("a dead node is taken out at once", func(t *testing.T) {
		stop := s.visit(t)
		s.eventually(t, "some visits", time.Minute, after(3*time.Second))
		if err := s.Kill(t.Context(), "sg1"); err != nil {
			t.Fatal(err)
		}
		if took := s.wantEnabled(t, "sg1", false, 30*time.Second); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		s.wantServed(t, false, "hk1", "hk2")
		if r := stop(); r.Failed > 30 || r.Moved == 0 {
			t.Errorf("%d of %d requests failed, %d sessions moved", r.Failed, r.Requests, r.Moved)
		}
		if err := s.PowerOn(t.Context(), "sg1"); err != nil {
			t.Fatal(err)
		}
		s.serve(t, "sg1")
		s.wantEnabled(t, "sg1", true, 2*time.Minute)
		s.wantServed(t, false, everyNode...)
		s.wantNoChange(t)
	})

	t.Run("an application that is down is served by another node", func(t *testing.T) {
		stop := s.visit(t)
		s.eventually(t, "some visits", time.Minute, after(2*time.Second))
		if _, err := s.Exec(t.Context(), "hk1", "systemctl", "stop", "www"); err != nil {
			t.Fatal(err)
		}
		s.wantServed(t, false, "hk2", "sg1")
		// A local network points at the node's own proxy.
		s.eventually(t, "the proxy of hk1 answers from elsewhere", time.Minute, func(ctx context.Context) error {
			out, err := s.Exec(ctx, "hk1", "sh", "-c", `perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new("127.0.0.1:80") or die $!; print $s "GET / HTTP/1.0\r\nHost: `+hostname+`\r\n\r\n"; print <$s>'`)
			if err != nil || !bytes.Contains(out, []byte("hk2")) && !bytes.Contains(out, []byte("sg1")) {
				return fmt.Errorf("got %q: %w", out, err)
			}
			return nil
		})
		if r := stop(); r.Failed > 10 {
			t.Errorf("%d of %d requests failed: %v", r.Failed, r.Requests, r.Failures)
		}
		s.serve(t, "hk1")
		s.wantServed(t, false, everyNode...)
	})

	t.Run("maintenance fails nobody", func(t *testing.T) {
		if _, err := s.Atoll(t.Context(), "maintenance", "enter", "hk2", "--reason", "a new disk"); err != nil {
			t.Fatal(err)
		}
		s.wantServed(t, false, "hk1", "sg1")
		s.wantNoChange(t)
		if _, err := s.Atoll(t.Context(), "maintenance", "leave", "hk2"); err != nil {
			t.Fatal(err)
		}
		s.wantServed(t, false, everyNode...)
	})

	s.mustRun(t, "destroy", "-auto-approve")
	account := s.Cloudflare().Account()
	if left := len(account.LoadBalancers) + len(account.Pools) + len(account.Monitors) + len(account.Certificates); left != 0 {
		t.Errorf("after destroy the account still has %+v", account)
	}
}
