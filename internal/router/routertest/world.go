//go:build linux

package routertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/mysqlgroup"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/router/rolecheck"
)

// The ports of the test's router, and where members' agents answer.
const (
	writePort = 6446
	readPort  = 6447
	checkPort = 7481
	// second is what a second database is called.
	second = "zoo"
)

// world is a group of three servers and the machine whose router is tried.
type world struct {
	*mysqlgroup.Group

	app   *bare.Machine
	sys   host.System
	roles []*roles
	// whole is the test that everything lasts as long as.
	whole testing.TB
}

// newWorld boots everything.
func newWorld(t testing.TB) *world {
	t.Helper()
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	began := time.Now()
	lab, err := bare.New(t.Context(), fmt.Sprintf("router%d", os.Getpid()), bare.Options{Progress: func(doing string) { t.Log(doing) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	w := &world{whole: t}
	if w.app, err = lab.Add(t.Context(), "web1"); err != nil {
		t.Fatal(err)
	}
	if w.sys, err = w.app.System(); err != nil {
		t.Fatal(err)
	}
	w.Group, err = mysqlgroup.New(t.Context(), lab, mysqlgroup.Options{
		Members: 3, Settings: map[string]string{"loose_group_replication_member_expel_timeout": "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range w.Servers {
		w.roles = append(w.roles, answer(t, s))
	}
	t.Logf("three servers are up after %s", time.Since(began).Round(time.Second))
	return w
}

// config is the router of the test's group.
func (w *world) config() *router.Config {
	d := router.Database{
		Name: w.Database, Group: w.Name, Node: w.app.Name, WritePort: writePort, ReadPort: readPort,
		User: mysqlgroup.RouterUser, Password: mysqlgroup.RouterPassword,
	}
	for _, s := range w.Servers {
		d.Members = append(d.Members, router.Member{
			Node: s.Name, Address: netip.AddrPortFrom(s.Address, mysqlgroup.Port), Check: netip.AddrPortFrom(s.Address, checkPort),
		})
	}
	return &router.Config{Databases: []router.Database{d}}
}

// roles is what a member's agent does for routers: it looks at the server and answers for it.
type roles struct {
	state atomic.Int32
	// silent has it know nothing.
	silent atomic.Bool
	// stop ends it, and returns when nobody listens any more.
	stop func()
}

// look is how often it looks at the server.
const look = 100 * time.Millisecond

// answer starts the answers for a server, until the test ends or the machine loses its power.
func answer(t testing.TB, s *mysqlgroup.Server) *roles {
	t.Helper()
	l, err := s.Listen(t.Context(), "tcp", netip.AddrPortFrom(s.Address, checkPort).String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &roles{}
	go r.watch(ctx, s)
	server := rolecheck.Server{State: func(string) rolecheck.State {
		if r.silent.Load() {
			return rolecheck.Unknown
		}
		return rolecheck.State(r.state.Load())
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	}()
	r.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(r.stop)
	return r
}

func (r *roles) watch(ctx context.Context, s *mysqlgroup.Server) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		is, err := s.Role(asking)
		cancel()
		state := rolecheck.None
		switch {
		case err != nil || is.State != "ONLINE":
		case is.Writable():
			state = rolecheck.Writer
		case is.Role == "SECONDARY":
			state = rolecheck.Reader
		}
		r.state.Store(int32(state)) //nolint:gosec // one of three
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// client is an application on the router's node that keeps one connection.
type client struct {
	conn *sql.Conn
	db   *sql.DB
}

func (c *client) close() {
	_ = c.conn.Close() // it may be cut already
	_ = c.db.Close()
}

// connect connects an application to a local port.
func (w *world) connect(ctx context.Context, address string) (*client, error) {
	return w.connectBy(ctx, address, w.app.Dial, "preferred")
}

// connectBy is connect by a way to dial, and with or without TLS.
func (w *world) connectBy(ctx context.Context, address string, dial func(ctx context.Context, network, address string) (net.Conn, error), tls string) (*client, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName, c.Net, c.Addr = mysqlgroup.User, mysqlgroup.Password, mysqlgroup.Schema, "tcp", address
	c.TLSConfig, c.Timeout, c.Logger = tls, 2*time.Second, &mysql.NopLogger{}
	c.DialFunc = dial
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &client{conn, db}, nil
}

// where returns the server at the other end of a connection.
func (w *world) where(ctx context.Context, c *client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var host string
	if err := c.conn.QueryRowContext(ctx, "SELECT @@report_host").Scan(&host); err != nil {
		return "", err
	}
	for _, s := range w.Servers {
		if s.Address.String() == host {
			return s.Name, nil
		}
	}
	return "", fmt.Errorf("%s is no server of the test", host)
}

// write writes one row.
func write(ctx context.Context, c *client, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := c.conn.ExecContext(ctx, "INSERT INTO t (text) VALUES (?)", text)
	return err
}

// writeOnce connects, writes one row, and returns where it went.
func (w *world) writeOnce(ctx context.Context, text string) (string, error) {
	c, err := w.connect(ctx, fmt.Sprintf("127.0.0.1:%d", writePort))
	if err != nil {
		return "", err
	}
	defer c.close()
	if err := write(ctx, c, text); err != nil {
		return "", err
	}
	return w.where(ctx, c)
}

// readers returns where n connections for reads lead.
func (w *world) readers(ctx context.Context, n int) ([]string, error) {
	var out []string
	for range n {
		c, err := w.connect(ctx, fmt.Sprintf("127.0.0.1:%d", readPort))
		if err != nil {
			return nil, err
		}
		node, err := w.where(ctx, c)
		c.close()
		if err != nil {
			return nil, err
		}
		out = append(out, node)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// primary returns the server that takes writes.
func (w *world) primary(t *testing.T) *mysqlgroup.Server {
	t.Helper()
	s, err := w.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs a command on the router's node.
func (w *world) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := w.sys.Run(t.Context(), host.Command{Name: name, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Stdout)
}
