package cli_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// addressed is the cluster with addresses for all nodes but fr1, and a firewall before hk2 that forgets sg1.
func addressed(t *testing.T) openCluster {
	t.Helper()
	c := newOpenCluster(t)
	key, err := trust.SigningKeyFromEnvironment(func(name string) string { return c.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	peers := []string{"hk1", "fr1", "us1"}
	for name, n := range c.store.Snapshot().Nodes {
		n.Provider = n.Site
		if name != "fr1" {
			n.Addresses = []string{name + ".example.com"}
		}
		if name == "hk2" {
			n.Firewall = &spec.Firewall{Inbound: []spec.FirewallRule{{Protocol: "tcp", Peers: peers}, {Protocol: "udp", Peers: peers}}}
		}
		object, err := spec.NewObject("web", name, 2, 2, n)
		if err != nil {
			t.Fatal(err)
		}
		e, err := trust.SignObject(key, object)
		if err != nil {
			t.Fatal(err)
		}
		c.store.Merge([]store.Record{store.ObjectRecord(e)})
	}
	return c
}

func TestAnalyze(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	c := addressed(t)
	write(t, "terraform.tfstate", stateWith(t, resource("atoll_node", node("hk1", c.endpoint, c.identity))))
	r := c.run(t, "analyze")
	t.Chdir(home)
	golden(t, "analyze.golden", r.stdout)
	if r.code != cli.Degraded {
		t.Errorf("a firewall that keeps two nodes apart: exit code %d, %s", r.code, r.stderr)
	}
}

func TestAnalyzeLosses(t *testing.T) {
	c := addressed(t)
	ask := func(args ...string) (code int, stdout, stderr string) {
		r := c.run(t, append([]string{"analyze", "--endpoint", c.endpoint, "--cluster", "web"}, args...)...)
		return r.code, r.stdout, r.stderr
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"fr1"}, cli.Healthy, "without fr1 nothing of cluster web stops (fr1)"},
		{[]string{"node/hk1", "sg1"}, cli.Degraded, "without node/hk1, sg1 (hk1, sg1) this stops:\n  - database/app\n  - loadbalancer/www.example.com"},
		{[]string{"site/hk", "provider/sg", "fr1", "us1"}, cli.Degraded, "cluster/web (its mesh)"},
		{[]string{"site/xx"}, cli.Failed, `cluster "web" has no site "xx"; it has fr, hk, sg, us`},
		{[]string{"edge/cloudflare"}, cli.Failed, "nothing that can be lost"},
	} {
		code, stdout, stderr := ask(tt.args...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%q: exit code %d, %q, %q; want %d, %q", tt.args, code, stdout, stderr, tt.code, tt.want)
		}
	}
	_, stdout, _ := ask("provider/hk", "--json")
	var lost struct {
		Nodes []string
		Stops []spec.Ref
	}
	if err := json.Unmarshal([]byte(stdout), &lost); err != nil || len(lost.Nodes) != 2 || len(lost.Stops) != 1 {
		t.Errorf("%v: got %s", err, stdout)
	}
	_, stdout, _ = ask("--json")
	var all struct {
		Cluster  string
		Findings []struct{ Severity, Problem string }
		Losses   map[string][]string
	}
	if err := json.Unmarshal([]byte(stdout), &all); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if diff := cmp.Diff([]string{"loadbalancer/www.example.com"}, all.Losses["edge/cloudflare"]); diff != "" || all.Findings[0].Problem != "blocked" {
		t.Errorf("got %s", stdout)
	}
}
