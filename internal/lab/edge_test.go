//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// webServer is the program of a web server that answers everything with the machine's name. The machines have perl.
const webServer = `use IO::Socket::INET; $SIG{CHLD} = "IGNORE"; ` +
	`my $l = IO::Socket::INET->new(LocalPort => 8080, Listen => 128, ReuseAddr => 1) or die; ` +
	`while (my $c = $l->accept) { if (!fork) { while (<$c>) { last if /^\r?$/ } ` +
	`chomp(my $h = qx(hostname)); print $c "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " . length($h) . "\r\n\r\n$h"; exit } close $c }`

// front is the operator's view of the lab's Cloudflare account and edge.
type front struct {
	t   *testing.T
	lab *lab.Lab
	env map[string]string
	web *http.Client
}

func newFront(t *testing.T, l *lab.Lab) *front {
	t.Helper()
	f := &front{t: t, lab: l, env: map[string]string{}}
	for _, v := range l.Environment() {
		name, value, _ := strings.Cut(v, "=")
		f.env[name] = value
	}
	f.web = &http.Client{Transport: &http.Transport{DialContext: l.Network().OperatorNamespace().Dial, DisableKeepAlives: true}}
	return f
}

// ask sends a request and returns status and body.
func (f *front) ask(ctx context.Context, method, url, host, token string, body any) (int, string) {
	f.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(data))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Host = host
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := f.web.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// create makes an object of the account and returns its identifier.
func (f *front) create(path string, body map[string]any) string {
	f.t.Helper()
	status, text := f.ask(f.t.Context(), http.MethodPost, f.env["CLOUDFLARE_BASE_URL"]+path, "", f.env["CLOUDFLARE_API_TOKEN"], body)
	var answer struct{ Result struct{ ID string } }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK {
		f.t.Fatalf("POST %s: status %d %s, %v", path, status, text, err)
	}
	return answer.Result.ID
}

// get asks the edge for a hostname.
func (f *front) get(host string) (int, string) {
	f.t.Helper()
	return f.ask(f.t.Context(), http.MethodGet, f.env["ATOLL_LAB_EDGE"], host, "", nil)
}

// health is what the lab says of an endpoint of the hostname.
func (f *front) health(host, endpoint string) string {
	for _, h := range f.lab.Describe().Edge.Hostnames {
		for _, p := range h.Endpoints {
			if h.Name == host && p.Name == endpoint {
				return p.Health
			}
		}
	}
	return ""
}

// TestEdge serves a hostname from the two machines of the reference topology, cuts one off and switches the other off.
func TestEdge(t *testing.T) {
	const host = "www.lab.example"
	l := start(t, lab.Options{Name: "edge", Zones: []string{"lab.example"}})
	f := newFront(t, l)
	if status, text := f.get(host); status != http.StatusConflict || text != "error code: 1001" {
		t.Errorf("a name that nobody serves: status %d %q", status, text)
	}
	var origins []map[string]any
	for _, n := range l.Nodes() {
		// As a file, because systemd would look for variables of its own in the program.
		exec(t, l, n.Name, "sh", "-c", "echo "+base64.StdEncoding.EncodeToString([]byte(webServer))+" | base64 -d >/srv/www.pl && "+
			"systemd-run --quiet --property=Restart=always perl /srv/www.pl && "+
			"nft add element inet atoll_base open_tcp '{ 8080 }'")
		origins = append(origins, map[string]any{"name": n.Name, "address": n.IPv4, "port": 8080})
	}
	const account = "/accounts/" + cloudflare.AccountID + "/load_balancers"
	monitor := f.create(account+"/monitors", map[string]any{"type": "http", "port": 8080, "path": "/", "interval": 10, "timeout": 1, "retries": 0})
	pool := f.create(account+"/pools", map[string]any{"name": "hk", "monitor": monitor, "origins": origins})
	f.create("/zones/"+cloudflare.ZoneID("lab.example")+"/load_balancers", map[string]any{
		"name": host, "proxied": true, "default_pools": []string{pool}, "fallback_pool": pool,
	})
	for _, name := range []string{"hk1", "hk2"} {
		await.True(t, name+" is healthy", patience, func() bool { return f.health(host, name) == "healthy" })
	}
	seen := map[string]bool{}
	await.True(t, "both machines serve", patience, func() bool {
		status, text := f.get(host)
		if status != http.StatusOK {
			t.Fatalf("status %d %s", status, text)
		}
		seen[strings.TrimSpace(text)] = true
		return seen["hk1"] && seen["hk2"]
	})

	// What the edge cannot reach it does not use, though everybody else does.
	if err := l.Cut(t.Context(), network.Edge, "hk1", false); err != nil {
		t.Fatal(err)
	}
	await.True(t, "hk1 is cut off", patience, func() bool { return f.health(host, "hk1") == cloudflare.TCPTimeout })
	for range 10 {
		if status, text := f.get(host); status != http.StatusOK || strings.TrimSpace(text) != "hk2" {
			t.Fatalf("status %d %q", status, text)
		}
	}
	if err := l.Heal(t.Context(), network.Edge, "hk1"); err != nil {
		t.Fatal(err)
	}
	await.True(t, "hk1 is back", patience, func() bool { return f.health(host, "hk1") == "healthy" })
	if err := l.Kill(t.Context(), "hk2"); err != nil {
		t.Fatal(err)
	}
	await.True(t, "hk2 is dead", patience, func() bool { return f.health(host, "hk2") == cloudflare.TCPTimeout })
	if status, text := f.get(host); status != http.StatusOK || strings.TrimSpace(text) != "hk1" {
		t.Errorf("status %d %q", status, text)
	}

	// The token for the nodes changes load balancers with their pools, and nothing else.
	pools, records := lab.CloudflareURL+account+"/pools/"+pool, lab.CloudflareURL+"/zones/"+cloudflare.ZoneID("lab.example")+"/dns_records"
	token := f.env["ATOLL_LAB_POOLS_TOKEN"]
	if status, text := f.ask(t.Context(), http.MethodPatch, pools, "", token, map[string]any{"description": "x"}); status != http.StatusOK {
		t.Errorf("change a pool: status %d %s", status, text)
	}
	if status, _ := f.ask(t.Context(), http.MethodGet, records, "", token, nil); status != http.StatusForbidden {
		t.Errorf("list DNS records: status %d", status)
	}
	d := l.Describe().Edge
	if d.URL != lab.EdgeURL || len(d.Zones) != 1 || d.Zones[0] != "lab.example" || len(d.Hostnames) != 1 || len(d.Hostnames[0].Endpoints) != 2 {
		t.Errorf("description %+v", d)
	}
}
