package haproxy_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/balancer/haproxy"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fakeNode is a machine in memory with just enough of HAProxy for the driver.
type fakeNode struct {
	*hosttest.Host

	mu sync.Mutex
	// serves is the description in the configuration that HAProxy has read, "" while it does not run.
	serves string
	// deaf makes HAProxy go on with what it has when it is told to read again, stubborn makes it refuse what it is shown.
	deaf, stubborn bool
	// loud is what it answers when it is told to read again.
	loud string
}

var description = regexp.MustCompile(`(?m)^\tdescription (\S+)$`)

func newFakeNode() *fakeNode {
	n := &fakeNode{Host: hosttest.New()}
	n.HandleStart(haproxy.UnitName, n.read)
	n.Handle("haproxy", func(c host.Command) (host.Output, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.stubborn {
			return host.Output{}, hosttest.Fail(c, 1, "[ALERT] unknown keyword")
		}
		return host.Output{}, nil
	})
	return n
}

// read is what HAProxy does at its start and when it is told to read again.
func (n *fakeNode) read() {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, err := n.ReadFile(haproxy.ConfigPath)
	if m := description.FindSubmatch(text); err == nil && m != nil && !n.deaf {
		n.serves = string(m[1])
	}
}

// driver returns what a new start of the agent has.
func (n *fakeNode) driver(sys host.System) balancer.Driver {
	return haproxy.NewWith(sys, slog.New(slog.DiscardHandler), haproxy.Options{Settle: 100 * time.Millisecond, Dial: n.dial})
}

// dial is HAProxy's sockets.
func (n *fakeNode) dial(ctx context.Context, _ string) (net.Conn, error) {
	st, err := n.Units().Status(ctx, haproxy.UnitName)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil || !st.Active || n.serves == "" {
		return nil, fs.ErrNotExist
	}
	client, server := net.Pipe()
	go func() {
		defer func() { _ = server.Close() }()
		command, _ := bufio.NewReader(server).ReadString('\n')
		answer := n.loud
		switch command {
		case "reload\n":
			n.read()
		case "show info\n":
			n.mu.Lock()
			answer = "Name: HAProxy\nnode: hk-1\ndescription: " + n.serves + "\n\n"
			n.mu.Unlock()
		}
		_, _ = io.WriteString(server, answer)
	}()
	return client, nil
}

func service(hostname string, port, tlsPort int) balancer.Service {
	s := balancer.Service{
		Hostname: hostname, Port: port, TLSPort: tlsPort, Check: spec.ApplicationCheck{Type: spec.CheckTCP}.WithDefaults(),
		Servers: []balancer.Server{
			{Node: "hk-1", Address: netip.MustParseAddrPort("127.0.0.1:8080")},
			{Node: "sg-2", Address: netip.MustParseAddrPort("10.66.0.2:8080")},
			{Node: "us-3", Address: netip.MustParseAddrPort("10.66.0.3:8081")},
		},
	}
	if tlsPort != 0 {
		s.Certificate = "certificate and key of " + hostname + "\n"
	}
	return s
}

func config(services ...balancer.Service) *balancer.Config {
	return &balancer.Config{Services: services}
}

// three is what has everything: shared ports, checks of every type, what must be quoted.
func three() *balancer.Config {
	api := service("api.example.com", 80, 443)
	api.Hosts = []string{"Origin.example.com"}
	api.Check = spec.ApplicationCheck{Type: spec.CheckHTTP, Path: "/well?for=50% of #1", Port: 8090, HostHeader: `"x" $HOME`, Status: 204, Interval: 5, Timeout: 3}.WithDefaults()
	cron := service("cron.example.com", 8000, 0)
	cron.Check = spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/bin/true"}, Port: 9}.WithDefaults()
	return config(api, cron, service("www.example.com", 80, 443))
}

func (n *fakeNode) golden(t *testing.T, name string) {
	t.Helper()
	got := n.Text()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it with -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestApply(t *testing.T) {
	n := newFakeNode()
	if _, err := n.WriteFile("/proc/net/if_inet6", nil, 0o444); err != nil {
		t.Fatal(err)
	}
	d := n.driver(n.Host)
	apply := func(c *balancer.Config) {
		t.Helper()
		if err := d.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	apply(config(service("www.example.com", 80, 0)))
	n.golden(t, "one")
	apply(three())
	n.golden(t, "three")
	before := n.Text()
	apply(three())
	d = n.driver(n.Host)
	apply(three())
	if diff := cmp.Diff(before, n.Text()); diff != "" {
		t.Errorf("the same again changed something (-before +after):\n%s", diff)
	}
	apply(nil)
	apply(nil)
	n.golden(t, "nothing")
}

// TestApplyAfterCrash stops the agent at every change it makes and starts it again: the node must always end up the same.
func TestApplyAfterCrash(t *testing.T) {
	errCrash := errors.New("crash")
	changed := service("www.example.com", 80, 443)
	changed.Certificate = "a new one\n"
	finished := 0
	for at := range 20 {
		n := newFakeNode()
		if err := n.driver(n.Host).Apply(t.Context(), config(service("www.example.com", 80, 443))); err != nil {
			t.Fatal(err)
		}
		err := n.driver(&crashingSystem{Host: n.Host, left: at, err: errCrash}).Apply(t.Context(), config(changed))
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatalf("crash at change %d: %v", at, err)
		}
		if err == nil {
			finished++
		}
		if err := n.driver(n.Host).Apply(t.Context(), config(changed)); err != nil {
			t.Fatalf("after a crash at change %d: %v", at, err)
		}
		text, _ := n.ReadFile(haproxy.ConfigPath)
		if m := description.FindSubmatch(text); m == nil || string(m[1]) != n.serves {
			t.Errorf("crash at change %d: HAProxy serves %q", at, n.serves)
		}
		if names, err := n.ReadDir(haproxy.BundleDir); err != nil || len(names) != 1 || !strings.Contains(string(text), names[0]) {
			t.Errorf("crash at change %d: certificates %v, %v", at, names, err)
		}
		if strings.Contains(n.Text(), "next.cfg") {
			t.Errorf("crash at change %d: a file is left", at)
		}
	}
	if finished == 0 || finished > 16 {
		t.Errorf("%d of 20 were no crashes: the test does not see the changes", finished)
	}
}

// crashingSystem is a machine whose agent dies after so many changes.
type crashingSystem struct {
	*hosttest.Host
	left int
	err  error
}

func (c *crashingSystem) step() error {
	if c.left == 0 {
		return c.err
	}
	c.left--
	return nil
}

func (c *crashingSystem) WriteFile(name string, data []byte, mode fs.FileMode) (bool, error) {
	if err := c.step(); err != nil {
		return false, err
	}
	return c.Host.WriteFile(name, data, mode)
}

func (c *crashingSystem) Remove(name string) (bool, error) {
	if err := c.step(); err != nil {
		return false, err
	}
	return c.Host.Remove(name)
}

// TestFailures gives the driver a HAProxy that does not do what it is told: what was there before must stay.
func TestFailures(t *testing.T) {
	tests := []struct {
		name string
		make func(*fakeNode)
		want string
	}{
		{"refuses the configuration", func(n *fakeNode) { n.stubborn = true }, "unknown keyword"},
		{"goes on with the old one", func(n *fakeNode) { n.deaf = true }, "does not serve its new configuration"},
		{"is deaf, and says why", func(n *fakeNode) {
			n.deaf = true
			n.Handle("journalctl", func(host.Command) (host.Output, error) {
				return host.Output{Stdout: []byte("cannot bind socket\nexiting\n")}, nil
			})
		}, "cannot bind socket / exiting"},
		{"says at once what is wrong", func(n *fakeNode) {
			n.deaf, n.loud = true, "Success=0\n--\n[ALERT] cannot bind socket\n[ALERT] exiting\n"
		}, "[ALERT] cannot bind socket / [ALERT] exiting"},
		{"its port is taken", func(n *fakeNode) {
			n.Handle("ss", func(host.Command) (host.Output, error) {
				return host.Output{Stdout: []byte("LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 128 [::]:81 [::]:*\n")}, nil
			})
		}, "port 81 is in use by another program at [::]:81"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newFakeNode()
			d := n.driver(n.Host)
			if err := d.Apply(t.Context(), config(service("www.example.com", 80, 0))); err != nil {
				t.Fatal(err)
			}
			before, _ := n.ReadFile(haproxy.ConfigPath)
			serves := n.serves
			tt.make(n)
			err := d.Apply(t.Context(), config(service("www.example.com", 81, 0)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if after, _ := n.ReadFile(haproxy.ConfigPath); string(after) != string(before) || n.serves != serves {
				t.Errorf("serves %s, was %s; the configuration is\n%s", n.serves, serves, after)
			}
		})
	}
}

func TestCheckThatWouldBreakTheConfiguration(t *testing.T) {
	n := newFakeNode()
	bad := service("www.example.com", 80, 0)
	bad.Check = spec.ApplicationCheck{Type: spec.CheckHTTP, Path: "/\nserver evil 192.0.2.1:80"}.WithDefaults()
	if err := n.driver(n.Host).Apply(t.Context(), config(bad)); err == nil || !strings.Contains(err.Error(), "control character") {
		t.Errorf("got %v", err)
	}
}

func TestPlan(t *testing.T) {
	n := newFakeNode()
	plan := host.NewPlan(n.Host)
	if err := n.driver(plan).Apply(t.Context(), config(service("www.example.com", 80, 443))); err != nil {
		t.Fatal(err)
	}
	if text := n.Text(); text != "" {
		t.Errorf("the plan changed the node:\n%s", text)
	}
	var got strings.Builder
	for _, change := range plan.Changes() {
		fmt.Fprintln(&got, regexp.MustCompile(`[0-9a-f]{16}`).ReplaceAllString(change, "(digest)"))
	}
	want := `create /etc/atoll/haproxy/certificates/www.example.com.(digest).pem
create /etc/atoll/haproxy/haproxy.cfg
create /etc/systemd/system/atoll-haproxy.service
enable atoll-haproxy.service
start atoll-haproxy.service
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("planned changes (-want +got):\n%s", diff)
	}
}
