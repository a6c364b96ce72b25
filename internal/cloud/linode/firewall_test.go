package linode_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// from makes networks of texts.
func from(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func access(protocol string, port int, networks ...string) linode.Access {
	return linode.Access{Protocol: protocol, First: port, Last: port, From: from(networks...), Service: fmt.Sprintf("s%d", port)}
}

func rules(t *testing.T, all ...linode.Access) linode.FirewallRules {
	t.Helper()
	r, err := linode.NewFirewallRules(all)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checked has every request of the cloud's client, and every answer, pass the vendor's published contract.
func checked(t *testing.T, c *cloud) *cloud {
	t.Helper()
	watched := httptest.NewServer(contracttest.Watched(t, contracttest.Linode)(c.Server))
	t.Cleanup(watched.Close)
	var err error
	c.client, err = linode.New(linode.Config{
		Token: "right", URL: watched.URL, Pause: time.Millisecond, Poll: time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const pings = "icmp from 0.0.0.0/0, ::/0"

func TestFirewallRules(t *testing.T) {
	t.Parallel()
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprintf("198.51.%d.%d/32", i/250, i%250)
	}
	var twenty []linode.Access
	for i := range 20 {
		twenty = append(twenty, access("tcp", 1000+2*i, "0.0.0.0/0"))
	}
	tests := []struct {
		name string
		give []linode.Access
		want []string
	}{
		{"nothing", nil, []string{pings}},
		{"ports of the same networks share a rule", []linode.Access{
			access("tcp", 655, "192.0.2.2/32", "2001:db8::2/128"), access("udp", 655, "192.0.2.2/32", "2001:db8::2/128"),
			access("tcp", 7443, "192.0.2.2/32", "2001:db8::2/128", "203.0.113.0/24"), access("tcp", 22, "203.0.113.0/24"),
		}, []string{pings, "tcp 22, 7443 from 203.0.113.0/24", "tcp 655, 7443 from 192.0.2.2, 2001:db8::2", "udp 655 from 192.0.2.2, 2001:db8::2"}},
		{
			"neighbours are a range",
			[]linode.Access{access("tcp", 80, "0.0.0.0/0"), access("tcp", 81, "0.0.0.0/0"), access("tcp", 83, "0.0.0.0/0")},
			[]string{pings, "tcp 80-81, 83 from 0.0.0.0/0"},
		},
		{
			"what is open to more goes without saying",
			[]linode.Access{access("tcp", 80, "0.0.0.0/0"), access("tcp", 80, "192.0.2.2/32"), access("tcp", 22, "192.0.2.2/32")},
			[]string{pings, "tcp 22 from 192.0.2.2", "tcp 80 from 0.0.0.0/0"},
		},
		{"a family each", []linode.Access{access("tcp", 80, "0.0.0.0/0"), access("tcp", 80, "2001:db8::/32")}, []string{pings, "tcp 80 from 0.0.0.0/0, 2001:db8::/32"}},
		{"more addresses than a rule has", []linode.Access{access("tcp", 655, many...)}, nil},
		{"more ports than a rule has", twenty, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := checked(t, newCloud(t, nil))
			r := rules(t, tt.give...)
			if diff := cmp.Diff(tt.want, r.Lines()); tt.want != nil && diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			made, err := c.client.CreateFirewall(t.Context(), linode.NewFirewall{Label: "web-sg1", Mark: "atoll:web/sg1", Rules: r})
			if err != nil {
				t.Fatal(err)
			}
			// What comes back from the API means the same, however it is split into rules.
			if !made.Rules.Equal(r) || !made.Enabled {
				t.Errorf("got %+v of %v", made, r.Lines())
			}
		})
	}
}

func TestTooManyRules(t *testing.T) {
	t.Parallel()
	var all []linode.Access
	for i := range 25 {
		all = append(all, access("tcp", 1000+2*i, fmt.Sprintf("192.0.2.%d/32", i)))
	}
	_, err := linode.NewFirewallRules(all)
	var many *linode.TooManyRulesError
	if !errors.As(err, &many) || many.Rules != 26 || !strings.Contains(err.Error(), "25 at most") {
		t.Errorf("error %v, want 26 rules", err)
	}
	if _, err := linode.NewFirewallRules(all[:24]); err != nil {
		t.Errorf("24 rules beside that for ICMP: %v", err)
	}
}

// TestFirewallLife makes a firewall, finds it again, changes it, puts it before instances of both generations, and deletes it.
func TestFirewallLife(t *testing.T) {
	t.Parallel()
	for _, generation := range linode.Generations() {
		t.Run(string(generation), func(t *testing.T) {
			t.Parallel()
			ctx, c := t.Context(), checked(t, newCloud(t, nil))
			first, second := rules(t, access("tcp", 22, "203.0.113.0/24")), rules(t, access("tcp", 443, "0.0.0.0/0", "::/0"))
			in := linode.NewFirewall{Label: "web-sg1", Mark: "atoll:web/sg1", Rules: first}
			made, err := c.client.CreateFirewall(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := c.client.CreateFirewall(ctx, in); err != nil || again.ID != made.ID {
				t.Errorf("again: %+v, %v, want the same", again, err)
			}
			in.Mark = "atoll:web/other"
			if _, err := c.client.CreateFirewall(ctx, in); !errors.Is(err, linode.ErrConflict) || !strings.Contains(err.Error(), "lacks the tag") {
				t.Errorf("of somebody else: %v", err)
			}
			marked, err := c.client.MarkedFirewalls(ctx, "atoll:web/")
			if err != nil || len(marked) != 1 || marked[0].ID != made.ID {
				t.Errorf("marked: %+v, %v", marked, err)
			}
			if err := c.client.SetFirewallRules(ctx, made.ID, second); err != nil {
				t.Fatal(err)
			}
			w := wanted()
			w.Generation = generation
			inst, _, err := c.client.CreateInstance(ctx, w)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time it is there already
				if err := c.client.GuardInstance(ctx, made.ID, inst); err != nil {
					t.Fatal(err)
				}
			}
			now, err := c.client.Firewall(ctx, made.ID)
			if err != nil || !now.Rules.Equal(second) || !slices.Equal(now.Instances, []int{inst.ID}) {
				t.Errorf("got %+v, %v", now, err)
			}
			for range 2 {
				if err := c.client.DeleteFirewall(ctx, made.ID); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.client.Firewall(ctx, made.ID); !errors.Is(err, linode.ErrNotFound) {
				t.Errorf("after its end: %v", err)
			}
		})
	}
}

// TestFirewallAnswersLost loses the answer of every request that changes something: nothing is made twice and nothing is left.
func TestFirewallAnswersLost(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), newCloud(t, nil)
	const firewalls = "/networking/firewalls"
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		c.Inject(emulated.Fault{Method: method, PathPrefix: firewalls, LoseAnswer: true})
	}
	in := linode.NewFirewall{Label: "web-sg1", Mark: "atoll:web/sg1", Rules: rules(t)}
	made, err := c.client.CreateFirewall(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.client.SetFirewallRules(ctx, made.ID, rules(t, access("tcp", 22, "0.0.0.0/0"))); err != nil {
		t.Fatal(err)
	}
	inst, _, err := c.client.CreateInstance(ctx, wanted())
	if err != nil {
		t.Fatal(err)
	}
	c.Inject(emulated.Fault{Method: http.MethodPost, PathPrefix: firewalls, LoseAnswer: true})
	if err := c.client.GuardInstance(ctx, made.ID, inst); err != nil {
		t.Fatal(err)
	}
	if list, err := c.client.MarkedFirewalls(ctx, "atoll:"); err != nil || len(list) != 1 || !slices.Equal(list[0].Instances, []int{inst.ID}) {
		t.Errorf("firewalls %+v, %v", list, err)
	}
	if err := c.client.DeleteFirewall(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if c.PendingFaults() != 0 {
		t.Error("not every answer was lost")
	}
}
