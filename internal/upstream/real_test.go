package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/upstream"
)

// program returns where one of Debian's servers is, which is on the PATH of root alone.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(candidate); err == nil {
			return found
		}
	}
	t.Skipf("NOT TESTED WITH THE REAL %s: it is not installed (internal/tools/need packages does)", name)
	return ""
}

// free is an address where nobody listens. Linux has 2²⁴ of them on the loopback, so that nobody else comes upon the port, either,
// before the server does.
func free(t *testing.T) string {
	t.Helper()
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 16+rand.IntN(200), rand.IntN(256), 1+rand.IntN(254))
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// serve runs a server in the foreground until the test ends, from when it takes connections at the address.
func serve(t *testing.T, address, log, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		var d net.Dialer
		if conn, err := d.DialContext(t.Context(), "tcp", address); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			said, _ := os.ReadFile(log)
			t.Fatalf("%s ended: %v\n%s", name, err, said)
		case <-deadline:
			said, _ := os.ReadFile(log)
			t.Fatalf("%s takes no connection at %s\n%s", name, address, said)
		case <-tick.C:
		}
	}
}

// check lets a server look at a configuration.
func check(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "[warn]") || strings.Contains(string(out), ":warn]") {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// backend is an application on a node. It answers with the node's name and the path as it came.
type backend struct {
	*httptest.Server
	node upstream.Node
	// connections counts those that were made to it, closing the requests that asked for no further ones.
	connections, closing atomic.Int64
}

func backends(t *testing.T, names ...string) (map[string]*backend, []upstream.Node) {
	t.Helper()
	all := map[string]*backend{}
	var nodes []upstream.Node
	for _, name := range names {
		b := &backend{}
		b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Close || r.ProtoMinor == 0 {
				b.closing.Add(1)
			}
			w.Header().Set("Node", name)
			w.Header().Set("Host-Asked", r.Host)
			w.Header().Set("Path", r.RequestURI)
			w.Header().Set("For", r.Header.Get("X-Forwarded-For"))
			w.Header().Set("Proto", r.Header.Get("X-Forwarded-Proto"))
		}))
		b.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				b.connections.Add(1)
			}
		}
		b.Start()
		t.Cleanup(b.Close)
		tcp, ok := b.Listener.Addr().(*net.TCPAddr)
		if !ok {
			t.Fatal("not TCP")
		}
		b.node = upstream.Node{Name: name, Host: tcp.IP.String(), Port: tcp.Port, Weight: 1}
		all[name] = b
		nodes = append(nodes, b.node)
	}
	return all, nodes
}

// visitor asks a load balancer.
type visitor struct {
	t       *testing.T
	address string
}

// answer is what a visitor gets.
type answer struct {
	code   int
	status string
	header http.Header
}

// node is the node that answered, "" for the load balancer itself.
func (a answer) node() string { return a.header.Get("Node") }

// get asks for a path with headers and demands an answer.
func (v visitor) get(path string, header ...string) answer {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.address+path, http.NoBody)
	if err != nil {
		v.t.Fatal(err)
	}
	req.Host = "www.example.com"
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		v.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Status, resp.Header}
}

// stays asks several times and demands the same node each time.
func (v visitor) stays(node, path string, header ...string) {
	v.t.Helper()
	for range 8 {
		if got := v.get(path, header...); got.code != http.StatusOK || got.node() != node {
			v.t.Fatalf("%s %q: %s from %q, want it from %s", path, header, got.status, got.node(), node)
		}
	}
}

// spread asks several times and returns how often which node answered; "" for an error of the load balancer's own.
func (v visitor) spread(path string, header ...string) map[string]int {
	v.t.Helper()
	nodes := map[string]int{}
	for range 20 {
		got := v.get(path, header...)
		nodes[got.node()]++
		if got.code != http.StatusOK {
			v.t.Errorf("%s: %s", path, got.status)
		}
	}
	return nodes
}

// write puts a server's configuration into its folder.
func write(t *testing.T, dir, text string) string {
	t.Helper()
	file := filepath.Join(dir, "server.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
