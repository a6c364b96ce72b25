//go:build linux

package routertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
)

// NewDriver makes the driver under test on a machine, as a new start of the agent has it.
type NewDriver func(t testing.TB, sys host.System, m *bare.Machine) router.Driver

// Run runs every conformance test. Unit is the service that the driver keeps for a database.
func Run(t *testing.T, newDriver NewDriver, unit func(database string) string) {
	w := newWorld(t)
	s := &suite{world: w, newDriver: newDriver, unit: unit}
	s.driver = newDriver(t, w.sys, w.app)
	s.untouched = s.traces(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"NothingYet", s.nothingYet},
		{"Serves", s.serves},
		{"LoopbackOnly", s.loopbackOnly},
		{"Secrets", s.secrets},
		{"Idempotent", s.idempotent},
		{"RefusedConfiguration", s.refusedConfiguration},
		{"PortOfAnotherProgram", s.portOfAnother},
		{"SecondDatabase", s.secondDatabase},
		{"Repair", s.repair},
		{"AgentsAway", s.agentsAway},
		{"Switchover", s.switchover},
		{"MembersChange", s.membersChange},
		{"PrimaryDies", s.primaryDies},
		{"MajorityLost", s.majorityLost},
		{"FullOutage", s.fullOutage},
		{"NothingLeft", s.nothingLeft},
	} {
		if !t.Run(test.name, test.run) {
			s.explain(t)
			return // each goes on from where the one before it has left the nodes
		}
	}
}

// explain says what a failed test leaves behind.
func (s *suite) explain(t *testing.T) {
	t.Helper()
	t.Log(s.run(t, "sh", "-c", `journalctl --no-pager -o cat -u "$0" | grep -v skipping | tail -n 60`, s.unit(s.Database)))
	for _, server := range s.Servers {
		r, err := server.Role(t.Context())
		said, _ := server.Run(t.Context(), "journalctl", "--no-pager", "-n", "30", "-o", "cat", "-u", "mysql-group")
		t.Logf("%s at %s says %+v, %v\n%s", server.Name, server.Address, r, err, said)
	}
}

type suite struct {
	*world
	newDriver NewDriver
	driver    router.Driver
	unit      func(string) string
	untouched string
}

func (s *suite) apply(t *testing.T, c *router.Config) {
	t.Helper()
	if err := s.driver.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) status(ctx context.Context, t *testing.T) router.Status {
	t.Helper()
	began := time.Now()
	st, err := s.driver.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 1200*time.Millisecond { // nothing else on this machine may make a test fail
		t.Errorf("status took %s", took)
	}
	return st
}

func (s *suite) pid(t *testing.T) int {
	t.Helper()
	st, err := s.sys.Units().Status(t.Context(), s.unit(s.Database))
	if err != nil {
		t.Fatal(err)
	}
	return st.MainPID
}

// traces is everything on the node that a driver may make. systemd itself leaves the lock that it takes to make users up.
func (s *suite) traces(t *testing.T) string {
	t.Helper()
	return s.run(t, "sh", "-c", `find /etc /run/credentials /run/systemd/system /var/lib -not -path '/var/lib/systemd/*' -not -name .pwd.lock -printf '%p %y\n' 2>/dev/null | sort
find /run -maxdepth 1 -name 'atoll*' | sort
systemctl list-units --all --no-legend --plain 'atoll-*' | cut -d' ' -f1 | sort
ss -Hltn | awk '{print $4}' | sort`)
}

func (s *suite) nothingYet(t *testing.T) {
	if st := s.status(t.Context(), t); st.Running || len(st.Writers) != 0 {
		t.Errorf("before the first Apply: %+v", st)
	}
	for _, c := range []*router.Config{nil, {}} {
		s.apply(t, c)
	}
	if diff := cmp.Diff(s.untouched, s.traces(t)); diff != "" {
		t.Errorf("nothing to do, and yet (-before +after):\n%s", diff)
	}
}

// awaitWriter waits until new connections for writes reach a member, and returns how long that took.
func (s *suite) awaitWriter(t *testing.T, node string, within time.Duration) time.Duration {
	t.Helper()
	return await.NoError(t, "writes reach "+node, within, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		at, err := s.writeOnce(ctx, t.Name())
		if err == nil && at != node {
			err = fmt.Errorf("they reach %s", at)
		}
		return err
	})
}

// awaitStatus waits until the driver says that connections for writes are led to a node.
func (s *suite) awaitStatus(t *testing.T, node string) {
	t.Helper()
	await.NoError(t, fmt.Sprintf("the driver says that writes go to %q", node), 5*time.Second, func(ctx context.Context) error {
		st := s.status(ctx, t)
		if !st.Running || st.Writers[s.Database] != node || (node == "") != (st.Problem != "") {
			return fmt.Errorf("it says %+v", st)
		}
		return nil
	})
}

func (s *suite) serves(t *testing.T) {
	began := time.Now()
	s.apply(t, s.config())
	s.awaitWriter(t, "db1", 10*time.Second)
	t.Logf("serves after %s", time.Since(began).Round(10*time.Millisecond))
	s.awaitStatus(t, "db1")
	s.awaitReaders(t, "db2", "db3")
}

// awaitReaders waits until connections for reads lead to exactly these members.
func (s *suite) awaitReaders(t *testing.T, nodes ...string) {
	t.Helper()
	await.NoError(t, fmt.Sprintf("reads reach %v", nodes), 10*time.Second, func(ctx context.Context) error {
		got, err := s.readers(ctx, 6)
		if err == nil && !slices.Equal(got, nodes) {
			err = fmt.Errorf("they reach %v", got)
		}
		return err
	})
}

func (s *suite) loopbackOnly(t *testing.T) {
	for _, port := range []int{writePort, readPort} {
		c, err := s.connect(t.Context(), fmt.Sprintf("[::1]:%d", port))
		if err != nil {
			t.Errorf("port %d at ::1: %v", port, err)
		} else {
			c.close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if conn, err := s.Servers[0].Dial(ctx, "tcp", fmt.Sprintf("%s:%d", s.app.Address, port)); err == nil {
			t.Errorf("another machine reaches port %d", port)
			_ = conn.Close()
		}
		cancel()
	}
}

// secrets looks for the password wherever others could.
func (s *suite) secrets(t *testing.T) {
	password := s.config().Databases[0].Password
	if out := s.run(t, "sh", "-c", `cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n'; journalctl --no-pager -o cat`); strings.Contains(out, password) {
		t.Error("the password is in an argument, an environment or the journal")
	}
	// As somebody else on the machine, who has no more than that.
	open := s.run(t, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", `
grep -rlaF -e "$0" /etc /run /var /tmp 2>/dev/null
find /etc/atoll /run/atoll* /run/credentials -type f \( -name '*key*' -o -name '*secret*' \) -readable 2>/dev/null
true`, password)
	if open != "" {
		t.Errorf("others may read %s", open)
	}
	user := s.run(t, "sh", "-c", `stat -c %u /proc/"$0"`, fmt.Sprint(s.pid(t)))
	if strings.TrimSpace(user) == "0" {
		t.Error("the router runs as root")
	}
}

// state is what Apply must not touch when there is nothing to do.
func (s *suite) state(t *testing.T) string {
	t.Helper()
	return s.run(t, "sh", "-c", `find /etc/atoll /etc/systemd/system -type f -printf '%p %T@ %m %i\n' | sort; systemctl show -p MainPID -p ActiveEnterTimestampMonotonic "$0"`, s.unit(s.Database))
}

func (s *suite) idempotent(t *testing.T) {
	before := s.state(t)
	s.apply(t, s.config())
	s.driver = s.newDriver(t, s.sys, s.app)
	s.apply(t, s.config())
	if diff := cmp.Diff(before, s.state(t)); diff != "" {
		t.Errorf("the same again changed something (-before +after):\n%s", diff)
	}
	s.awaitStatus(t, "db1")
}

// hold connects for writes and returns a function that says whether the connection still works.
func (s *suite) hold(t *testing.T) func() error {
	t.Helper()
	c, err := s.connect(t.Context(), fmt.Sprintf("127.0.0.1:%d", writePort))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	if err := write(t.Context(), c, "held"); err != nil {
		t.Fatal(err)
	}
	return func() error { return write(t.Context(), c, "held") }
}

func (s *suite) refusedConfiguration(t *testing.T) {
	still := s.hold(t)
	before := s.state(t)
	for name, spoil := range map[string]func(*router.Config, *router.Database){
		"a line too many":  func(_ *router.Config, d *router.Database) { d.User = "router\n[routing:evil]" },
		"one port for two": func(_ *router.Config, d *router.Database) { d.ReadPort = d.WritePort },
		"no port":          func(_ *router.Config, d *router.Database) { d.WritePort = 70000 },
		"no members":       func(_ *router.Config, d *router.Database) { d.Members = nil },
		"a folder above": func(c *router.Config, d *router.Database) {
			other := *d
			other.Name = "../../tmp"
			c.Databases = append(c.Databases, other)
		},
		"no password": func(_ *router.Config, d *router.Database) { d.Password = "" },
	} {
		bad := s.config()
		spoil(bad, &bad.Databases[0])
		var invalid *router.InvalidError
		if err := s.driver.Apply(t.Context(), bad); !errors.As(err, &invalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if diff := cmp.Diff(before, s.state(t)); diff != "" {
		t.Errorf("a refused configuration changed something (-before +after):\n%s", diff)
	}
	if err := still(); err != nil {
		t.Errorf("a connection was interrupted: %v", err)
	}
	s.apply(t, s.config())
	s.awaitStatus(t, "db1")
}

func (s *suite) portOfAnother(t *testing.T) {
	still := s.hold(t)
	before := s.state(t)
	other, err := s.app.Listen(t.Context(), "tcp", "127.0.0.1:6456")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	moved := s.config()
	moved.Databases[0].WritePort = 6456
	for range 2 {
		var taken *router.PortTakenError
		if err := s.driver.Apply(t.Context(), moved); !errors.As(err, &taken) || taken.Port != 6456 {
			t.Errorf("got %v", err)
		}
	}
	if diff := cmp.Diff(before, s.state(t)); diff != "" {
		t.Errorf("it changed something (-before +after):\n%s", diff)
	}
	if err := still(); err != nil {
		t.Errorf("a connection was interrupted: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	s.apply(t, moved)
	await.NoError(t, "writes go through the new port", 10*time.Second, func(ctx context.Context) error {
		c, err := s.connect(ctx, "127.0.0.1:6456")
		if err != nil {
			return err
		}
		defer c.close()
		return write(ctx, c, t.Name())
	})
	if c, err := s.connect(t.Context(), fmt.Sprintf("127.0.0.1:%d", writePort)); err == nil {
		c.close()
		t.Error("the old port still leads to the database")
	}
	s.apply(t, s.config())
	s.awaitWriter(t, "db1", 10*time.Second)
}

// secondDatabase comes and goes without a word to those who use the first.
func (s *suite) secondDatabase(t *testing.T) {
	still := s.hold(t)
	both := s.config()
	other := both.Databases[0]
	other.Name, other.WritePort, other.ReadPort = second, 6466, 6467
	both.Databases = append(both.Databases, other)
	s.apply(t, both)
	await.NoError(t, "the driver says that both lead to the primary", 10*time.Second, func(ctx context.Context) error {
		want := map[string]string{"app": "db1", second: "db1"}
		if st := s.status(ctx, t); !cmp.Equal(st.Writers, want) || !st.Running {
			return fmt.Errorf("it says %+v", st)
		}
		return nil
	})
	s.apply(t, s.config())
	if c, err := s.connect(t.Context(), "127.0.0.1:6466"); err == nil {
		c.close()
		t.Error("the port of a removed database still leads to it")
	}
	if err := still(); err != nil {
		t.Errorf("a connection to the first database was interrupted: %v", err)
	}
}

// repair has the router die, and its files go.
func (s *suite) repair(t *testing.T) {
	s.run(t, "systemctl", "kill", "--kill-whom=all", "--signal=KILL", s.unit(s.Database))
	took := s.awaitWriter(t, "db1", 10*time.Second)
	t.Logf("serves again %s after its death, without the agent", took.Round(10*time.Millisecond))
	s.run(t, "systemctl", "stop", s.unit(s.Database))
	if st := s.status(t.Context(), t); st.Running || st.Problem == "" {
		t.Errorf("after its end: %+v", st)
	}
	s.run(t, "sh", "-c", "find /etc/atoll -type f -delete")
	s.apply(t, s.config())
	s.awaitWriter(t, "db1", 10*time.Second)
}

func (s *suite) nothingLeft(t *testing.T) {
	for range 2 {
		s.apply(t, nil)
	}
	if diff := cmp.Diff(s.untouched, s.traces(t)); diff != "" {
		t.Errorf("left on the machine (-untouched +after):\n%s", diff)
	}
	if pid := s.pid(t); pid != 0 {
		t.Errorf("it still runs as process %d", pid)
	}
	if st := s.status(t.Context(), t); st.Running || len(st.Writers) != 0 {
		t.Errorf("status is %+v", st)
	}
}
