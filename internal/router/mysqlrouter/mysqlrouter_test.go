package mysqlrouter_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/router/mysqlrouter"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fakeNode is a machine in memory with just enough of MySQL Router for the driver.
type fakeNode struct {
	*hosttest.Host

	// listens is what ss says, by line.
	listens []string
}

const unit = "atoll-mysqlrouter-app.service"

func newFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	n := &fakeNode{Host: hosttest.New()}
	n.Handle("ss", func(host.Command) (host.Output, error) {
		return host.Output{Stdout: []byte(strings.Join(n.listens, "\n") + "\n")}, nil
	})
	n.HandleStart(unit, func() {
		n.listens = append(n.listens, "LISTEN 0 1024 127.0.0.1:6446 0.0.0.0:*", "LISTEN 0 1024 127.0.0.1:6447 0.0.0.0:*")
		text, _ := n.ReadFile("/etc/atoll/mysqlrouter/app/state.json")
		n.Append("/run/atoll-mysqlrouter-app/state.json", string(text))
	})
	if _, err := n.WriteFile("/proc/1/net/if_inet6", []byte("00000000000000000000000000000001 01 80 10 80       lo\n"), 0o444); err != nil {
		t.Fatal(err)
	}
	return n
}

// driver returns what a new start of the agent has.
func driver(sys host.System) router.Driver {
	return mysqlrouter.NewWith(sys, slog.New(slog.DiscardHandler), mysqlrouter.Options{Settle: 100 * time.Millisecond})
}

func database(name string, port int, members ...string) router.Database {
	d := router.Database{
		Name: name, Group: "7d2f4c1e-0b8a-4e3f-9a6d-1c5b8e7f9a01", Node: "hk1", WritePort: port, ReadPort: port + 1,
		User: "atoll_router", Password: "password of " + name,
	}
	for _, m := range members {
		node, address, _ := strings.Cut(m, "=")
		d.Members = append(d.Members, router.Member{Node: node, Address: netip.MustParseAddrPort(address)})
	}
	return d
}

func app() router.Database {
	return database("app", 6446, "hk1=10.66.0.1:3306", "hk2=10.66.0.2:3306", "sg1=[fd00::3]:3306")
}

func config(databases ...router.Database) *router.Config { return &router.Config{Databases: databases} }

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
	d := driver(n.Host)
	apply := func(c *router.Config) {
		t.Helper()
		if err := d.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	apply(config(app()))
	n.golden(t, "one")
	before := n.Text()
	apply(config(app()))
	d = driver(n.Host)
	apply(config(app()))
	if diff := cmp.Diff(before, n.Text()); diff != "" {
		t.Errorf("the same again changed something (-before +after):\n%s", diff)
	}
	apply(config(app(), database("log", 6456, "sg1=10.66.0.3:3306")))
	n.golden(t, "two")
	apply(config(database("log", 6456, "sg1=10.66.0.3:3306")))
	apply(nil)
	apply(nil)
	n.golden(t, "nothing")
}

var starts = regexp.MustCompile(`unit ` + unit + ` .* starts=(\d+)`)

// started returns how often Router was started.
func (n *fakeNode) started(t *testing.T) string {
	t.Helper()
	m := starts.FindStringSubmatch(n.Text())
	if m == nil {
		t.Fatal("there is no unit")
	}
	return m[1]
}

// TestRestart starts a router that is stuck again, and none that is not there.
func TestRestart(t *testing.T) {
	n := newFakeNode(t)
	d := driver(n.Host)
	again, can := d.(router.Restarter)
	if !can {
		t.Fatal("it cannot be started again")
	}
	if err := again.Restart(t.Context(), "app"); err != nil {
		t.Errorf("there is none yet: %v", err)
	}
	if err := d.Apply(t.Context(), config(app())); err != nil {
		t.Fatal(err)
	}
	if err := again.Restart(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	if got := n.started(t); got != "2" {
		t.Errorf("it was started %s times, want twice", got)
	}
}

// TestRestarts says which changes interrupt connections.
func TestRestarts(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*router.Database)
		want   string
	}{
		"one member less":        {func(d *router.Database) { d.Members = d.Members[1:] }, "1"},
		"one member more":        {func(d *router.Database) { d.Members = append(d.Members, app().Members[0]) }, "1"},
		"all members others":     {func(d *router.Database) { d.Members = database("x", 1, "a=10.66.0.9:3306").Members }, "2"},
		"another password":       {func(d *router.Database) { d.Password = "another" }, "2"},
		"another port":           {func(d *router.Database) { d.ReadPort = 6500 }, "2"},
		"another group":          {func(d *router.Database) { d.Group = "8d2f4c1e-0b8a-4e3f-9a6d-1c5b8e7f9a01" }, "2"},
		"another role's address": {func(d *router.Database) { d.Members[0].Check = netip.MustParseAddrPort("10.66.0.1:7481") }, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNode(t)
			if err := driver(n.Host).Apply(t.Context(), config(app())); err != nil {
				t.Fatal(err)
			}
			changed := app()
			tt.change(&changed)
			if err := driver(n.Host).Apply(t.Context(), config(changed)); err != nil {
				t.Fatal(err)
			}
			if got := n.started(t); got != tt.want {
				t.Errorf("it was started %s times, want %s", got, tt.want)
			}
		})
	}
}

// TestApplyAfterCrash stops the agent at every change it makes and starts it again: the node must always end up the same.
func TestApplyAfterCrash(t *testing.T) {
	errCrash := errors.New("crash")
	changed := app()
	changed.Password, changed.ReadPort = "another", 6500
	want := newFakeNode(t)
	for _, d := range []router.Database{app(), changed} {
		if err := driver(want.Host).Apply(t.Context(), config(d)); err != nil {
			t.Fatal(err)
		}
	}
	counted := regexp.MustCompile(`starts=\d+`)
	finished := 0
	for at := range 12 {
		n := newFakeNode(t)
		if err := driver(n.Host).Apply(t.Context(), config(app())); err != nil {
			t.Fatal(err)
		}
		err := driver(&crashingSystem{Host: n.Host, left: at, err: errCrash}).Apply(t.Context(), config(changed))
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatalf("crash at change %d: %v", at, err)
		}
		if err == nil {
			finished++
		}
		if err := driver(n.Host).Apply(t.Context(), config(changed)); err != nil {
			t.Fatalf("after a crash at change %d: %v", at, err)
		}
		if n.started(t) != "2" {
			t.Errorf("crash at change %d: started %s times", at, n.started(t))
		}
		if diff := cmp.Diff(counted.ReplaceAllString(want.Text(), ""), counted.ReplaceAllString(n.Text(), "")); diff != "" {
			t.Errorf("crash at change %d (-want +got):\n%s", at, diff)
		}
	}
	if finished == 0 || finished > 9 {
		t.Errorf("%d of 12 were no crashes: the test does not see the changes", finished)
	}
}

// crashingSystem is a machine whose agent dies after so many changes.
type crashingSystem struct {
	*hosttest.Host
	left int
	err  error
}

func (c *crashingSystem) WriteFile(name string, data []byte, mode fs.FileMode) (bool, error) {
	if c.left == 0 {
		return false, c.err
	}
	c.left--
	return c.Host.WriteFile(name, data, mode)
}

// TestRouterEnds gives the driver a Router that does not take a new configuration.
func TestRouterEnds(t *testing.T) {
	n := newFakeNode(t)
	d := driver(n.Host)
	if err := d.Apply(t.Context(), config(app())); err != nil {
		t.Fatal(err)
	}
	before := n.Text()
	n.Handle("journalctl", func(host.Command) (host.Output, error) {
		return host.Output{Stdout: []byte("Error: no such plugin\n")}, nil
	})
	n.HandleStart(unit, func() {
		if text, _ := n.ReadFile("/etc/atoll/mysqlrouter/app/mysqlrouter.conf"); strings.Contains(string(text), "6500") {
			n.Kill(unit)
		}
	})
	changed := app()
	changed.ReadPort = 6500
	for range 3 {
		if err := d.Apply(t.Context(), config(changed)); err == nil || !strings.Contains(err.Error(), "no such plugin") {
			t.Errorf("got %v", err)
		}
	}
	// One attempt, and back.
	if diff := cmp.Diff(strings.ReplaceAll(before, "starts=1", "starts=3"), n.Text()); diff != "" {
		t.Errorf("the old configuration is not back (-before +after):\n%s", diff)
	}
}

func TestPortOfAnother(t *testing.T) {
	n := newFakeNode(t)
	n.listens = []string{"LISTEN 0 128 10.66.0.1:6446 0.0.0.0:*", "LISTEN 0 128 *:6457 *:*"}
	err := driver(n.Host).Apply(t.Context(), config(app(), database("log", 6456, "sg1=10.66.0.3:3306")))
	var taken *router.PortTakenError
	if !errors.As(err, &taken) || *taken != (router.PortTakenError{Database: "log", Port: 6457, At: "*:6457"}) {
		t.Errorf("got %v", err)
	}
	if got := n.started(t); got != "1" {
		t.Errorf("the other database's router was started %s times", got)
	}
}

func TestPlan(t *testing.T) {
	n := newFakeNode(t)
	before := n.Text()
	plan := host.NewPlan(n.Host)
	if err := driver(plan).Apply(t.Context(), config(app())); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, n.Text()); diff != "" {
		t.Errorf("the plan changed the node:\n%s", diff)
	}
	var got strings.Builder
	for _, change := range plan.Changes() {
		fmt.Fprintln(&got, change)
	}
	want := `create /etc/atoll/mysqlrouter/app/mysqlrouter.conf
create /etc/atoll/mysqlrouter/app/keyring
create /etc/atoll/mysqlrouter/app/master.key
create /etc/atoll/mysqlrouter/app/state.json
create /etc/systemd/system/atoll-mysqlrouter-app.service
enable atoll-mysqlrouter-app.service
start atoll-mysqlrouter-app.service
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("planned changes (-want +got):\n%s", diff)
	}
}
