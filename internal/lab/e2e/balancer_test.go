//go:build linux

package e2e_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/load"
)

// hostname is what the nodes serve together.
const hostname = "www.example.com"

// balancer is what the stack gets beside the reference topology. Sites are regions of Cloudflare's choice here, so any of
// them may get a request.
const balancer = `
resource "atoll_load_balancer" "site" {
  hostname = "www.example.com"
  zone     = "example.com"
  nodes    = local.nodes
  port     = 8080
  steering = "random"
  monitor  = { interval = 10, timeout = 2, retries = 0 }

  node_settings = {
    %s
  }
}
`

// application is the program that the nodes serve: it says which node it is on. The nodes have perl.
const application = `use IO::Socket::INET; $SIG{CHLD} = "IGNORE"; ` +
	`my $l = IO::Socket::INET->new(LocalPort => 8080, Listen => 512, ReuseAddr => 1) or die; ` +
	`while (my $c = $l->accept) { if (!fork) { while (<$c>) { last if /^\r?$/ } ` +
	`chomp(my $h = qx(hostname)); print $c "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " . length($h) . "\r\n\r\n$h"; exit } close $c }`

// serve starts the application on a node, which may be booting.
func (s *site) serve(t *testing.T, node string) {
	t.Helper()
	program := base64.StdEncoding.EncodeToString([]byte(application))
	// As a file, because systemd would look for variables of its own in the program.
	// The firewall of the image opens the cluster's own ports only. A machine that was adopted has none.
	open := "{ ! nft list table inet atoll_base >/dev/null 2>&1 || nft insert rule inet atoll_base input tcp dport 8080 accept; }"
	start := open + " && echo " + program + " | base64 -d >/srv/www.pl && systemd-run --quiet --collect --unit=www perl /srv/www.pl"
	s.eventually(t, "the application runs on "+node, time.Minute, func(ctx context.Context) error {
		_, err := s.Exec(ctx, node, "sh", "-c", start)
		return err
	})
}

// wantHealth waits until the edge thinks so of nodes.
func (s *site) wantHealth(t *testing.T, healthy bool, nodes ...string) {
	t.Helper()
	s.eventually(t, fmt.Sprintf("the edge finds %v healthy=%v", nodes, healthy), time.Minute, func(context.Context) error {
		found := map[string]string{}
		for _, h := range s.Describe().Edge.Hostnames {
			for _, p := range h.Endpoints {
				found[p.Name] = p.Health
			}
		}
		for _, n := range nodes {
			if (found[n] == "healthy") != healthy {
				return fmt.Errorf("%s is %q, of %v", n, found[n], found)
			}
		}
		return nil
	})
}

// someVisits is how many requests at least are made in three seconds of visits; a machine that has other things to do makes fewer than are asked for.
const someVisits = 100

// visit makes a load of 50 requests a second by 30 visitors with cookies until stop is called, which returns what they saw.
func (s *site) visit(t *testing.T) (stop func() *load.Report) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *load.Report, 1)
	go func() {
		defer close(done)
		r, err := load.Run(ctx, load.Plan{
			URL: lab.EdgeURL, Host: hostname, Rate: 50, Sessions: 30, Timeout: 25 * time.Second, Dial: s.Network().OperatorNamespace().Connect,
		})
		if err != nil {
			t.Error(err)
			return
		}
		done <- r
	}()
	return func() *load.Report {
		t.Helper()
		cancel()
		r := <-done
		if r == nil {
			t.Fatal("no load")
		}
		var text strings.Builder
		if err := r.WriteText(&text); err != nil {
			t.Error(err)
		}
		t.Log(text.String())
		return r
	}
}

// TestBalancer serves a hostname from three sites by Terraform, and takes a node out under load: as planned, and by force.
func TestBalancer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	write := func(settings string) {
		t.Helper()
		if err := s.Work.Write("balancer.tf", fmt.Sprintf(balancer, settings)); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	s.apply(t)
	s.wantNoChange(t)
	for _, n := range everyNode {
		s.serve(t, n)
	}
	s.wantHealth(t, true, everyNode...)
	served := map[string]bool{}
	s.eventually(t, "every node serves", time.Minute, func(ctx context.Context) error {
		r, err := load.Run(ctx, load.Plan{
			URL: lab.EdgeURL, Host: hostname, Rate: 50, Duration: 200 * time.Millisecond, Timeout: 5 * time.Second, Dial: s.Network().OperatorNamespace().Connect,
		})
		if err != nil {
			return err
		}
		for n := range r.Nodes {
			served[n] = true
		}
		if len(served) < len(everyNode) {
			return fmt.Errorf("only %v answered, failures %v", served, r.Failures)
		}
		return nil
	})

	t.Run("a planned drain fails nobody", func(t *testing.T) {
		stop := s.visit(t)
		write(`sg1 = { enabled = false }`)
		s.apply(t)
		s.eventually(t, "some visits later", time.Minute, after(3*time.Second))
		r := stop()
		if r.Failed != 0 || r.Moved != 0 || r.Requests < someVisits {
			t.Errorf("%d of %d requests failed, %d sessions moved", r.Failed, r.Requests, r.Moved)
		}
		stop = s.visit(t)
		s.eventually(t, "some new visitors", time.Minute, after(3*time.Second))
		if r := stop(); r.Failed != 0 || r.Nodes["sg1"] != 0 || r.Requests < someVisits {
			t.Errorf("%d of %d new visitors' requests failed, %d came to the node that drains", r.Failed, r.Requests, r.Nodes["sg1"])
		}
		write("")
		s.apply(t)
		s.wantHealth(t, true, everyNode...)
	})

	if furtherEngine() {
		t.Log("left to the first engine: a dead node is left by the monitor")
	} else {
		t.Run("a dead node is left by the monitor", func(t *testing.T) {
			stop := s.visit(t)
			s.eventually(t, "some visits", time.Minute, after(3*time.Second))
			if err := s.Kill(t.Context(), "sg1"); err != nil {
				t.Fatal(err)
			}
			s.wantHealth(t, false, "sg1")
			s.wantHealth(t, true, "hk1", "hk2")
			calm := s.visit(t)
			s.eventually(t, "some visits by others", time.Minute, after(3*time.Second))
			if r := calm(); r.Failed != 0 || r.Nodes["sg1"] != 0 {
				t.Errorf("once the edge knows: %d failed, %d at the dead node", r.Failed, r.Nodes["sg1"])
			}
			// Connections that were not made are made elsewhere; requests that had arrived are lost.
			if r := stop(); r.Failed > 30 || r.Moved == 0 {
				t.Errorf("%d of %d requests failed, %d sessions moved", r.Failed, r.Requests, r.Moved)
			}
			if err := s.PowerOn(t.Context(), "sg1"); err != nil {
				t.Fatal(err)
			}
			s.serve(t, "sg1")
			s.wantHealth(t, true, everyNode...)
		})
	}

	s.wantNoChange(t)
	s.mustRun(t, "destroy", "-auto-approve")
	account := s.Cloudflare().Account()
	if left := len(account.LoadBalancers) + len(account.Pools) + len(account.Monitors) + len(account.Records); left != 0 {
		t.Errorf("after destroy the account still has %+v", account)
	}
}

// after is a condition that holds once that much time has passed.
func after(d time.Duration) func(context.Context) error {
	from := time.Now()
	return func(context.Context) error {
		if rest := d - time.Since(from); rest > 0 {
			return fmt.Errorf("%v to go: %w", rest, os.ErrDeadlineExceeded)
		}
		return nil
	}
}
