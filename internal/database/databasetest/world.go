//go:build linux

package databasetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// The database's accounts and the application's. The passwords are looked for in what a server leaves behind.
const (
	schema      = "shop_1"
	user        = "shop"
	password    = `Very'secret"\ 1`
	newPassword = "Another$secret-2"
)

// world is three machines with a member each.
type world struct {
	engine  Engine
	lab     *bare.Lab
	members []*member
}

// member is a machine, the driver on it and what the driver is to make.
type member struct {
	*bare.Machine
	Sys    *system
	Driver database.Driver
	want   *database.Member
}

func newWorld(t *testing.T, e Engine) *world {
	t.Helper()
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	lab, err := bare.New(t.Context(), fmt.Sprintf("db%d", os.Getpid()), bare.Options{Progress: func(text string) { t.Log(text) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	w := &world{engine: e, lab: lab}
	for i, name := range []string{"hk1", "hk2", "sg1"} {
		machine, err := lab.Add(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		n := &member{Machine: machine, Sys: &system{machine: machine}}
		n.Driver = e.New(n.Sys, machinetest.Logger(t, name), n.Dial)
		n.want = &database.Member{
			Database: "app", Group: "3f0a1b5e-7c56-4c55-9d7e-0a6c8f1f2b3c", Node: name, ID: uint32(1001 + i), Weight: 50, //nolint:gosec // three
			Address: netip.AddrPortFrom(machine.Address, e.Port),
			Schemas: []string{schema, "other"}, Users: map[string]database.User{user: {Password: password, Version: 1, Schemas: []string{schema}}},
			Secrets: database.Secrets{Replication: "Replication_0123456789-abcdefghijklmnopqrst", Router: "Router_0123456789-abcdefghijklmnopqrstuvwxy"},
		}
		w.members = append(w.members, n)
	}
	for _, n := range w.members {
		for _, other := range w.members {
			if other != n {
				n.want.Peers = append(n.want.Peers, database.Peer{Node: other.Name, Address: other.want.Address})
			}
		}
	}
	return w
}

// all does something at each of some members, at the same time.
func all(t *testing.T, what string, members []*member, do func(*member) error) {
	t.Helper()
	var group sync.WaitGroup
	errs := make([]error, len(members))
	for i, n := range members {
		group.Go(func() {
			if err := do(n); err != nil {
				errs[i] = fmt.Errorf("%s at %s: %w", what, n.Name, err)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func (n *member) apply(t *testing.T) {
	t.Helper()
	if err := n.Driver.Apply(t.Context(), n.want); err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
}

func (n *member) status(ctx context.Context) (database.Status, error) { return n.Driver.Status(ctx) }

// statusWithin is how long a status may take, as the contract promises. A machine that is busy with other tests is forgiven a look or two.
const (
	statusWithin = 2500 * time.Millisecond
	statusLooks  = 3
)

// mustStatus returns the member's status and fails the test when that takes too long, again and again.
func (n *member) mustStatus(t *testing.T) database.Status {
	t.Helper()
	for look := 1; ; look++ {
		from := time.Now()
		st, err := n.Driver.Status(t.Context())
		took := time.Since(from)
		if took > statusWithin && look < statusLooks {
			continue
		}
		if took > statusWithin {
			t.Errorf("%s: its status took %s, want %s at most", n.Name, took, statusWithin)
		}
		if err != nil {
			t.Fatalf("%s: %v", n.Name, err)
		}
		return st
	}
}

// show makes a server write down all that it is told, until it starts again.
func (w *world) show(t *testing.T, n *member) {
	t.Helper()
	if err := w.engine.Show(t.Context(), n.Dial); err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
}

// position returns what the member has.
func (n *member) position(t *testing.T) string {
	t.Helper()
	p, err := n.Driver.Position(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
	return p
}

// in makes the member join and waits until it is up to date, as an agent does: a server that has copied everything has to join
// once more.
func (n *member) in(ctx context.Context) error {
	_, err := await.Attempt(ctx, 2*time.Minute, func(ctx context.Context) error {
		st, err := n.status(ctx)
		if err != nil || st.State == spec.MemberOnline {
			return err
		}
		if st.State != spec.MemberStranded {
			return fmt.Errorf("%s is %s", n.Name, st.State)
		}
		if err := n.Driver.Join(ctx); err != nil {
			return err
		}
		return fmt.Errorf("%s is not online yet", n.Name)
	})
	return err
}

// primary returns the member that takes writes, once there is one and all members that are up agree.
func (w *world) primary(t *testing.T, among []*member) *member {
	t.Helper()
	var out *member
	await.NoError(t, "there is one primary", time.Minute, func(ctx context.Context) error {
		out = nil
		for _, n := range among {
			st, err := n.status(ctx)
			if err != nil {
				return err
			}
			if st.Writable {
				if out != nil {
					t.Errorf("both %s and %s take writes", out.Name, n.Name)
				}
				out = n
			}
		}
		if out == nil {
			return errors.New("nobody takes writes")
		}
		for _, n := range among {
			if st, err := n.status(ctx); err != nil || st.Primary != out.Name {
				return fmt.Errorf("%s takes %q for the primary, not %s (%w)", n.Name, st.Primary, out.Name, err)
			}
		}
		return nil
	})
	return out
}

// others returns the members but one.
func (w *world) others(than *member) []*member {
	var out []*member
	for _, n := range w.members {
		if n != than {
			out = append(out, n)
		}
	}
	return out
}

// equal waits until all members have the same data.
func (w *world) equal(t *testing.T) {
	t.Helper()
	await.NoError(t, "all members have the same data", time.Minute, func(ctx context.Context) error {
		first, err := w.members[0].Driver.Position(ctx)
		if err != nil {
			return err
		}
		for _, n := range w.members[1:] {
			p, err := n.Driver.Position(ctx)
			if err != nil {
				return err
			}
			if order, err := n.Driver.Compare(ctx, p, first); err != nil || order != database.Equal {
				return fmt.Errorf("%s is %s of %s (%w)", n.Name, order, w.members[0].Name, err)
			}
		}
		return nil
	})
	// What a client has given up waiting for may be written at any moment.
	await.NoError(t, "all members have the same rows", time.Minute, func(ctx context.Context) error {
		var want []int
		for i, n := range w.members {
			rows, err := w.rows(ctx, n)
			if err == nil && i > 0 && fmt.Sprint(rows) != fmt.Sprint(want) {
				err = fmt.Errorf("%s has %d rows, and %s has %d", n.Name, len(rows), w.members[0].Name, len(want))
			}
			if err != nil {
				return err
			}
			want = rows
		}
		return nil
	})
}

// lastWords logs what the servers have said, when the test has failed.
func (w *world) lastWords(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, n := range w.members {
		out, err := n.Run(context.WithoutCancel(t.Context()), "journalctl", "--no-pager", "--output=short-precise", "--lines=60", "--unit="+w.engine.Unit)
		t.Logf("%s (%v):\n%s", n.Name, err, out)
	}
}

// signal sends a signal to the server's main process.
func (n *member) signal(t *testing.T, e Engine, s syscall.Signal) {
	t.Helper()
	if _, err := n.Run(t.Context(), "systemctl", "kill", "--kill-whom=main", fmt.Sprintf("--signal=%d", int(s)), e.Unit); err != nil {
		t.Fatal(err)
	}
}

// pid returns the server's process id on its machine.
func (n *member) pid(t *testing.T, e Engine) int {
	t.Helper()
	st, err := n.Sys.Units().Status(t.Context(), e.Unit)
	if err != nil {
		t.Fatal(err)
	}
	return st.MainPID
}
