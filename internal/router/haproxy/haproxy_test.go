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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/router/haproxy"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	unit   = "atoll-dbproxy-app.service"
	config = "/etc/atoll/dbproxy/app/haproxy.cfg"
)

// fakeNode is a machine in memory with just enough of one HAProxy for the driver.
type fakeNode struct {
	*hosttest.Host

	mu sync.Mutex
	// mark and servers are what HAProxy runs with, "backend/name address agent:port" by "backend/name".
	mark    string
	servers map[string]string
	// commands are those that changed something.
	commands []string
	// stubborn makes HAProxy find no configuration good, deaf refuse new servers.
	stubborn, deaf bool
}

var (
	markLine   = regexp.MustCompile(`(?m)^\tdescription (\S+)$`)
	serverLine = regexp.MustCompile(`(?m)^\tserver (\S+) (\S+) .*agent-addr (\S+) agent-port (\S+) agent-send app/(writer|reader)/`)
)

func newFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	n := &fakeNode{Host: hosttest.New()}
	n.Handle("haproxy", func(c host.Command) (host.Output, error) {
		if n.stubborn {
			return host.Output{}, hosttest.Fail(c, 1, "[ALERT] unknown keyword")
		}
		return host.Output{}, nil
	})
	n.HandleStart(unit, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		text, _ := n.ReadFile(config)
		n.mark, n.servers = markLine.FindStringSubmatch(string(text))[1], map[string]string{}
		for _, m := range serverLine.FindAllStringSubmatch(string(text), -1) {
			n.servers[m[5]+"s/"+m[1]] = m[2] + " " + m[3] + ":" + m[4]
		}
	})
	if _, err := n.WriteFile("/proc/1/net/if_inet6", []byte("00000000000000000000000000000001 01 80 10 80       lo\n"), 0o444); err != nil {
		t.Fatal(err)
	}
	return n
}

// driver returns what a new start of the agent has.
func (n *fakeNode) driver(sys host.System) router.Driver {
	return haproxy.NewWith(sys, slog.New(slog.DiscardHandler), haproxy.Options{Settle: 100 * time.Millisecond, Dial: n.dial})
}

// dial is HAProxy's socket.
func (n *fakeNode) dial(ctx context.Context, _, address string) (net.Conn, error) {
	st, err := n.Units().Status(ctx, unit)
	if err != nil || !st.Active || address != haproxy.SocketPath("app") {
		return nil, fs.ErrNotExist
	}
	client, server := net.Pipe()
	go func() {
		defer func() { _ = server.Close() }()
		command, _ := bufio.NewReader(server).ReadString('\n')
		_, _ = io.WriteString(server, n.answer(strings.TrimSpace(command)))
	}()
	return client, nil
}

func (n *fakeNode) answer(command string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	words := strings.Fields(command)
	switch {
	case command == "show info":
		return "Name: HAProxy\ndescription: " + n.mark + "\n"
	case command == "show servers state":
		out := "1\n# be_id be_name srv_id srv_name srv_addr srv_port srv_agent_addr srv_agent_port\n"
		for at, s := range n.servers {
			backend, name, _ := strings.Cut(at, "/")
			address, agent, _ := strings.Cut(s, " ")
			split := func(text string) string {
				i := strings.LastIndex(text, ":")
				return strings.Trim(text[:i], "[]") + " " + text[i+1:]
			}
			out += fmt.Sprintf("3 %s 1 %s %s %s\n", backend, name, split(address), split(agent))
		}
		return out
	case n.deaf:
		return "No such command.\n"
	}
	n.commands = append(n.commands, command)
	switch words[0] + " " + words[1] {
	case "add server":
		value := func(key string) string { return words[slices.Index(words, key)+1] }
		n.servers[words[2]] = words[3] + " " + value("agent-addr") + ":" + value("agent-port")
		return "New server registered.\n"
	case "del server":
		delete(n.servers, words[2])
		return "Server deleted.\n"
	}
	return "\n"
}

func database(members ...string) router.Database {
	d := router.Database{
		Name: "app", Group: "7d2f4c1e-0b8a-4e3f-9a6d-1c5b8e7f9a01", Node: "hk1", WritePort: 6446, ReadPort: 6447,
		User: "atoll_router", Password: "the password",
	}
	for _, m := range members {
		node, address, _ := strings.Cut(m, "=")
		ip := netip.MustParseAddr(address)
		d.Members = append(d.Members, router.Member{Node: node, Address: netip.AddrPortFrom(ip, 3306), Check: netip.AddrPortFrom(ip, 7481)})
	}
	return d
}

func one(d router.Database) *router.Config { return &router.Config{Databases: []router.Database{d}} }

func three() router.Database { return database("hk1=10.66.0.1", "hk2=10.66.0.2", "sg1=fd00::3") }

func (n *fakeNode) golden(t *testing.T, name string) {
	t.Helper()
	got := n.Text()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil { //nolint:gosec // as the repository's folders are
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
	n := newFakeNode(t)
	d := n.driver(n.Host)
	apply := func(c *router.Config) {
		t.Helper()
		if err := d.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	apply(one(three()))
	n.golden(t, "one")
	before := n.Text()
	apply(one(three()))
	d = n.driver(n.Host)
	apply(one(three()))
	if diff := cmp.Diff(before, n.Text()); diff != "" || len(n.commands) > 0 {
		t.Errorf("the same again changed something: %v (-before +after):\n%s", n.commands, diff)
	}
	apply(nil)
	apply(nil)
	n.golden(t, "nothing")
}

// TestMembersChange has HAProxy go on with other members, by commands alone.
func TestMembersChange(t *testing.T) {
	n := newFakeNode(t)
	if err := n.driver(n.Host).Apply(t.Context(), one(three())); err != nil {
		t.Fatal(err)
	}
	if err := n.driver(n.Host).Apply(t.Context(), one(database("hk2=10.66.0.2", "sg1=fd00::3", "us1=10.66.0.4"))); err != nil {
		t.Fatal(err)
	}
	if text := n.Text(); !strings.Contains(text, "starts=1") || strings.Contains(text, "hk1") || !strings.Contains(text, "server us1 10.66.0.4:3306") {
		t.Errorf("the node is\n%s", text)
	}
	options := " check inter 2s fastinter 1s downinter 1s fall 3 rise 1 agent-check agent-inter 500ms agent-addr 10.66.0.4 agent-port 7481 agent-send "
	want := []string{
		"add server readers/us1 10.66.0.4:3306" + options + "app/reader/ on-marked-down shutdown-sessions",
		"add server writers/us1 10.66.0.4:3306" + options + "app/writer/ on-marked-down shutdown-sessions",
		"del server readers/hk1", "del server writers/hk1",
		"disable agent readers/hk1", "disable agent writers/hk1", "disable health readers/hk1", "disable health writers/hk1",
		"disable server readers/hk1", "disable server writers/hk1",
		"enable agent readers/us1", "enable agent writers/us1", "enable health readers/us1", "enable health writers/us1",
		"shutdown sessions server readers/hk1", "shutdown sessions server writers/hk1",
	}
	slices.Sort(n.commands)
	if diff := cmp.Diff(want, n.commands); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

// TestApplyAfterCrash stops the agent at every change it makes and starts it again: the node must always end up the same.
func TestApplyAfterCrash(t *testing.T) {
	errCrash := errors.New("crash")
	changed := database("hk2=10.66.0.2", "us1=10.66.0.4")
	changed.ReadPort = 6500
	finished := 0
	for at := range 8 {
		n := newFakeNode(t)
		if err := n.driver(n.Host).Apply(t.Context(), one(three())); err != nil {
			t.Fatal(err)
		}
		err := n.driver(&crashingSystem{Host: n.Host, left: at, err: errCrash}).Apply(t.Context(), one(changed))
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatalf("crash at change %d: %v", at, err)
		}
		if err == nil {
			finished++
		}
		if err := n.driver(n.Host).Apply(t.Context(), one(changed)); err != nil {
			t.Fatalf("after a crash at change %d: %v", at, err)
		}
		text, _ := n.ReadFile(config)
		if n.mark != markLine.FindStringSubmatch(string(text))[1] || len(n.servers) != 4 || strings.Contains(n.Text(), "next.cfg") || !strings.Contains(n.Text(), "starts=2") {
			t.Errorf("crash at change %d: serves %s with %v; the node is\n%s", at, n.mark, n.servers, n.Text())
		}
	}
	if finished == 0 || finished > 6 {
		t.Errorf("%d of 8 were no crashes: the test does not see the changes", finished)
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
	moved := three()
	moved.ReadPort = 6500
	bare := three()
	bare.Members[1].Check = netip.AddrPort{}
	for name, tt := range map[string]struct {
		make   func(*fakeNode)
		change router.Database
		want   string
	}{
		"refuses the configuration": {func(n *fakeNode) { n.stubborn = true }, moved, "unknown keyword"},
		"takes no commands":         {func(n *fakeNode) { n.deaf = true }, database("hk1=10.66.0.1"), "No such command."},
		"cannot know a role":        {func(*fakeNode) {}, bare, "where member hk2 says its role is missing"},
		"its port is taken": {func(n *fakeNode) {
			n.Handle("ss", func(host.Command) (host.Output, error) {
				return host.Output{Stdout: []byte("LISTEN 0 128 [::]:6500 [::]:*\n")}, nil
			})
		}, moved, "another program listens on [::]:6500"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNode(t)
			d := n.driver(n.Host)
			if err := d.Apply(t.Context(), one(three())); err != nil {
				t.Fatal(err)
			}
			mark := n.mark
			tt.make(n)
			for range 2 {
				if err := d.Apply(t.Context(), one(tt.change)); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want an error with %q", err, tt.want)
				}
			}
			if n.mark != mark || len(n.servers) != 6 || !strings.Contains(n.Text(), "starts=1") {
				t.Errorf("serves %s with %v", n.mark, n.servers)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	n := newFakeNode(t)
	before := n.Text()
	plan := host.NewPlan(n.Host)
	if err := n.driver(plan).Apply(t.Context(), one(three())); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, n.Text()); diff != "" {
		t.Errorf("the plan changed the node:\n%s", diff)
	}
	want := []string{"create " + config, "create /etc/systemd/system/" + unit, "enable " + unit, "start " + unit}
	if diff := cmp.Diff(want, plan.Changes()); diff != "" {
		t.Errorf("planned changes (-want +got):\n%s", diff)
	}
}
