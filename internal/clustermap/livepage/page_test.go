package livepage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
	"github.com/atollhq/terraform-provider-atoll/internal/clustermap/livepage"
)

// cluster is a cluster of two nodes that a test changes while it is watched.
type cluster struct {
	mu      sync.Mutex
	broken  string
	trouble error
	looks   atomic.Int64
}

func (c *cluster) change(broken string, trouble error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken, c.trouble = broken, trouble
}

func (c *cluster) observe(context.Context) (clustermap.Map, error) {
	c.looks.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trouble != nil {
		return clustermap.Map{}, c.trouble
	}
	s := api.ClusterStatus{Cluster: "web", Seen: "sg1", At: time.Now(), Healthy: true, Nodes: map[string]api.NodeView{
		"sg1": {State: api.NodeReady, Provider: "linode", Site: "singapore"},
		"hk1": {State: api.NodeReady, Provider: "own", Site: "hongkong"},
	}}
	if c.broken != "" {
		s.Healthy, s.Reasons = false, []string{c.broken}
		s.Nodes["hk1"] = api.NodeView{State: api.NodeDown, Provider: "own", Site: "hongkong", Message: c.broken}
	}
	return clustermap.New(s), nil
}

func serve(t *testing.T, c *cluster, o livepage.Options) string {
	t.Helper()
	o.Source = c.observe
	server := httptest.NewServer(livepage.New(o))
	t.Cleanup(server.Close)
	return server.URL
}

// listenAgain serves a page at an address where one was served before.
func listenAgain(t *testing.T, address string, page http.Handler) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(page)
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
}

func get(t *testing.T, url, host string) (status int, body string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data), resp.Header
}

func TestPageWithoutScripts(t *testing.T) {
	c := &cluster{}
	c.change("hk1 is gone & <away>", nil)
	status, body, _ := get(t, serve(t, c, livepage.Options{})+"/", "")
	for _, want := range []string{"<title>Cluster web is DEGRADED</title>", `http-equiv="refresh"`, "<svg ", "hk1 is gone &amp; &lt;away&gt;"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if status != http.StatusOK || strings.Contains(body, "<?xml") {
		t.Errorf("got %d: %.300s", status, body)
	}
}

func TestMapAsFile(t *testing.T) {
	c := &cluster{}
	url := serve(t, c, livepage.Options{Interval: time.Nanosecond})
	_, text, _ := get(t, url+"/map.json", "")
	var m clustermap.Map
	if err := json.Unmarshal([]byte(text), &m); err != nil || m.Cluster != "web" || len(m.Nodes) != 2 {
		t.Errorf("got %v, %s", err, text)
	}
	_, picture, header := get(t, url+"/map.svg", "")
	if !strings.HasPrefix(picture, "<?xml") || header.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("got %v: %.100s", header, picture)
	}
	c.change("", errors.New("no node answers"))
	for _, name := range []string{"/map.json", "/map.svg"} {
		if status, text, _ := get(t, url+name, ""); status != http.StatusBadGateway || !strings.Contains(text, "no node answers") {
			t.Errorf("%s: got %d %s", name, status, text)
		}
	}
}

func TestWhoMayCall(t *testing.T) {
	url := serve(t, &cluster{}, livepage.Options{})
	for host, want := range map[string]int{
		"10.66.0.1:7470":      http.StatusOK,
		"10.66.0.1":           http.StatusOK,
		"[fd00::1]:7470":      http.StatusOK,
		"localhost:7470":      http.StatusOK,
		"evil.example:7470":   http.StatusMisdirectedRequest,
		"10.66.0.1.nip.io":    http.StatusMisdirectedRequest,
		"localhost.evil.test": http.StatusMisdirectedRequest,
	} {
		if got, text, _ := get(t, url+"/map.json", host); got != want || want != http.StatusOK && strings.Contains(text, "sg1") {
			t.Errorf("called as %s: got %d, want %d: %s", host, got, want, text)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %s", resp.Status)
	}
}

// watch opens the stream of events and returns a reader of what they carry.
func watch(t *testing.T, url string) (status int, next func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return resp.StatusCode, func() string {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return data
			}
		}
		t.Fatalf("the stream has ended: %v", lines.Err())
		return ""
	}
}

func TestEvents(t *testing.T) {
	c := &cluster{}
	_, next := watch(t, serve(t, c, livepage.Options{Interval: 10 * time.Millisecond}))
	until := func(what string) {
		t.Helper()
		for !strings.Contains(next(), what) { //nolint:revive // reads on
		}
	}
	until(`"title":"Cluster web is healthy","healthy":true`)
	c.change("hk1 is gone", nil)
	until(`"title":"Cluster web is DEGRADED","healthy":false`)
	c.change("", errors.New("no node answers"))
	until(`"trouble":"no node answers"`)
	c.change("", nil)
	until(`"healthy":true`)
}

func TestManyWatchers(t *testing.T) {
	c := &cluster{}
	url := serve(t, c, livepage.Options{Interval: time.Hour, Watchers: 3})
	for range 3 {
		if status, next := watch(t, url); status != http.StatusOK || next() == "" {
			t.Fatalf("got %d", status)
		}
	}
	if status, text, header := get(t, url+"/events", ""); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("the fourth got %d %s", status, text)
	}
	if n := c.looks.Load(); n != 1 {
		t.Errorf("%d looks at the cluster for three who watch at once", n)
	}
}
