//go:build linux

package routertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/mysqlgroup"
)

// cut waits until a held connection is cut. A connection that only fails to write is not cut: an application would go on to use it.
func (s *suite) cut(t *testing.T, c *client) {
	t.Helper()
	await.NoError(t, "the connection to the old primary is cut", 5*time.Second, func(ctx context.Context) error {
		if _, err := s.where(ctx, c); err == nil {
			return errors.New("it still works")
		}
		return nil
	})
}

// agentsAway has the members' agents end and start again, all at once: the database does not need them.
func (s *suite) agentsAway(t *testing.T) {
	still := s.hold(t)
	goesOn := func(what string) {
		t.Helper()
		for began := time.Now(); time.Since(began) < 3*time.Second; {
			if err := still(); err != nil {
				t.Fatalf("%s: an open connection: %v", what, err)
			}
			if _, err := s.writeOnce(t.Context(), t.Name()); err != nil {
				t.Fatalf("%s: a new connection: %v", what, err)
			}
		}
	}
	for _, r := range s.roles {
		r.stop()
	}
	goesOn("while there are no agents")
	for i, server := range s.Servers {
		s.roles[i] = answer(s.whole, server)
		s.roles[i].silent.Store(true)
	}
	goesOn("while agents know nothing yet")
	for _, r := range s.roles {
		r.silent.Store(false)
	}
	s.awaitWriter(t, "db1", 5*time.Second)
	s.awaitReaders(t, "db2", "db3")
}

// switchover moves the primary while connections are held.
func (s *suite) switchover(t *testing.T) {
	pid := s.pid(t)
	for _, to := range []*mysqlgroup.Server{s.Servers[1], s.Servers[0]} {
		held, err := s.connect(t.Context(), fmt.Sprintf("127.0.0.1:%d", writePort))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := to.MakePrimary(t.Context()); err != nil {
			t.Fatal(err)
		}
		moved := time.Since(began)
		s.cut(t, held)
		cut := time.Since(began)
		held.close()
		s.awaitWriter(t, to.Name, 5*time.Second)
		t.Logf("to %s: done by the group after %s, old connection cut after %s, new one writes after %s",
			to.Name, moved.Round(time.Millisecond), cut.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		s.awaitStatus(t, to.Name)
	}
	s.awaitReaders(t, "db2", "db3")
	if got := s.pid(t); got != pid {
		t.Errorf("process %d was replaced by %d", pid, got)
	}
}

// membersChange takes a secondary out of the group and lets it in again.
func (s *suite) membersChange(t *testing.T) {
	still := s.hold(t)
	third := s.Servers[2]
	if err := third.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	fewer := s.config()
	fewer.Databases[0].Members = fewer.Databases[0].Members[:2]
	s.apply(t, fewer)
	s.awaitReaders(t, "db2")
	// The one that is left as a secondary goes, too: the primary serves reads then.
	if err := s.Servers[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitReaders(t, "db1")
	for _, server := range s.Servers[1:] {
		if err := server.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AwaitOnline(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	s.awaitReaders(t, "db2")
	if err := s.Tell(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	s.apply(t, s.config())
	s.awaitReaders(t, "db2", "db3")
	if err := still(); err != nil {
		t.Errorf("a connection was interrupted: %v", err)
	}
}

// primaryDies kills the primary's server, and lets it come back.
func (s *suite) primaryDies(t *testing.T) {
	pid := s.pid(t)
	victim := s.primary(t)
	held, err := s.connect(t.Context(), fmt.Sprintf("127.0.0.1:%d", writePort))
	if err != nil {
		t.Fatal(err)
	}
	defer held.close()
	began := time.Now()
	if err := victim.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.cut(t, held)
	cut := time.Since(began)
	s.awaitStatus(t, "")
	var next *mysqlgroup.Server
	await.NoError(t, "there is another primary", 20*time.Second, func(ctx context.Context) (err error) {
		next, err = s.Primary(ctx)
		return err
	})
	elected := time.Since(began)
	s.awaitWriter(t, next.Name, 5*time.Second)
	t.Logf("connection cut after %s, another primary after %s, new connections write there after %s",
		cut.Round(time.Millisecond), elected.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	s.awaitStatus(t, next.Name)
	if err := victim.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := victim.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitOnline(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	var secondaries []string
	for _, server := range s.Secondaries(t.Context()) {
		secondaries = append(secondaries, server.Name)
	}
	s.awaitReaders(t, secondaries...)
	if got := s.pid(t); got != pid {
		t.Errorf("process %d was replaced by %d", pid, got)
	}
}

// majorityLost kills the primary and another: writes must stop, reads go on at the one that is left.
func (s *suite) majorityLost(t *testing.T) {
	left := s.Secondaries(t.Context())[0]
	still := s.hold(t)
	for _, server := range s.Servers {
		if server != left {
			if err := server.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.awaitStatus(t, "")
	if err := still(); err == nil {
		t.Error("a write went through")
	}
	s.awaitReaders(t, left.Name)
	if _, err := s.writeOnce(t.Context(), t.Name()); err == nil {
		t.Error("a write went through")
	}
}

// fullOutage kills the last server as well, and begins the group again at another one.
func (s *suite) fullOutage(t *testing.T) {
	pid := s.pid(t)
	for _, server := range s.Servers {
		if err := server.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, server := range s.Servers {
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitStatus(t, "")
	if _, err := s.writeOnce(t.Context(), t.Name()); err == nil {
		t.Error("a write went through while there is no group")
	}
	if _, err := s.readers(t.Context(), 1); err == nil {
		t.Error("a read went through to a server outside of the group")
	}
	leader := s.Servers[2]
	if err := leader.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := s.awaitWriter(t, leader.Name, 10*time.Second)
	t.Logf("new connections write %s after the group has begun again", took.Round(time.Millisecond))
	s.awaitReaders(t, leader.Name)
	for _, server := range s.Servers[:2] {
		if err := server.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AwaitOnline(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	s.awaitReaders(t, "db1", "db2")
	s.awaitStatus(t, leader.Name)
	if got := s.pid(t); got != pid {
		t.Errorf("process %d was replaced by %d", pid, got)
	}
}
