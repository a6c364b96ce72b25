package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
)

// fetch returns what a page answers.
func fetch(t *testing.T, address string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// TestUI looks at a cluster in which a node dies, and interrupts the program.
func TestUI(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, identity := (&agent{status: cut()}).serve(t, key, "hk1")
	write(t, "terraform.tfstate", stateWith(t, resource("atoll_node", node("hk1", endpoint, identity))))
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	from, to := io.Pipe()
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(ctx, cli.Environment{
			Args: []string{"ui", "--json"}, Stdin: strings.NewReader(""), Stdout: to, Stderr: &stderr, Getenv: func(name string) string { return o.env[name] },
		})
		_ = to.Close()
	}()
	var said struct{ URL string }
	if err := json.NewDecoder(from).Decode(&said); err != nil {
		t.Fatalf("%v; it ended with %d: %s", err, <-ended, stderr.String())
	}
	status, page := fetch(t, said.URL)
	if status != http.StatusOK || !strings.Contains(page, "Cluster web is DEGRADED") || !strings.Contains(page, "hk1 to sg1: via hk2 68.4 ms, 2 % lost") {
		t.Errorf("got %d: %s", status, page)
	}
	if status, script := fetch(t, said.URL+"page.js"); status != http.StatusOK || !strings.Contains(script, "EventSource") {
		t.Errorf("got %d: %s", status, script)
	}
	address, err := url.Parse(said.URL)
	if err != nil {
		t.Fatal(err)
	}
	if address.Hostname() != "127.0.0.1" || len(address.Path) < 20 {
		t.Errorf("the page is at %s, which others could guess", said.URL)
	}
	for _, guess := range []string{"/", "/map.json", "/events", "/AAAAAAAAAAAAAAAAAAAAAAAAAA/"} {
		if status, _ := fetch(t, "http://"+address.Host+guess); status != http.StatusNotFound {
			t.Errorf("%s: got %d without the secret", guess, status)
		}
	}
	// Somebody who looks on does not keep the program from ending.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, said.URL+"events", nil)
	if err != nil {
		t.Fatal(err)
	}
	watching, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watching.Body.Close() }()
	interrupt()
	select {
	case code := <-ended:
		if code != cli.Healthy {
			t.Errorf("exit code %d: %s", code, stderr.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on after it was interrupted")
	}
}

func TestUIRefuses(t *testing.T) {
	o := newOperator(t)
	if r := o.run(t, "ui", "--endpoint", closedEndpoint(t), "--cluster", "web"); r.code != cli.Failed || !strings.Contains(r.stderr, "ATOLL_SIGNING_KEY") {
		t.Errorf("without a key: exit code %d: %s", r.code, r.stderr)
	}
	o.withKey(t)
	for want, args := range map[string][]string{
		"the page has no login":                 {"--listen", "0.0.0.0:8000"},
		"is reached from elsewhere":             {"--listen", "192.0.2.1:8000"},
		"is no address and port":                {"--listen", "localhost"},
		"more than once a second":               {"--interval", "10ms"},
		"unknown command":                       {"extra"},
		"no Terraform state with an atoll_node": {},
		"address already in use":                {"--listen", taken(t), "--endpoint", closedEndpoint(t), "--cluster", "web"},
	} {
		if r := o.run(t, append([]string{"ui"}, args...)...); r.code != cli.Failed || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: exit code %d, %q, want an error with %q", args, r.code, r.stderr, want)
		}
	}
}

// taken returns an address that somebody else listens on.
func taken(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}
