package router

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Routes says where a node's local ports lead, by asking the server at the other end: what an application would meet. It keeps
// one connection for each database, which a router cuts after a failover as it does those of applications. The zero value is
// ready. It is safe for concurrent use.
type Routes struct {
	// Dial connects to an address of the node; nil means this machine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	pools map[string]pool
}

// pool is the one connection to a database's local port.
type pool struct {
	db *sql.DB
	// made is what it was made for.
	made mysql.Config
}

// patience is how long a route may take to answer, so that a driver's Status keeps its promise of one second.
const patience = 700 * time.Millisecond

// ErrReadOnly says that connections for writes lead to a server that takes none.
var ErrReadOnly = errors.New("the server there takes no writes")

// Writer returns the node that connections for writes are led to. It fails, within a second, when they are led nowhere or to a
// server that takes none.
func (r *Routes) Writer(ctx context.Context, d Database) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := r.open(d)
	if err != nil {
		return "", err
	}
	var host string
	var port int
	var readOnly bool
	err = db.QueryRowContext(ctx, "SELECT COALESCE(@@report_host, ''), @@port, @@super_read_only").Scan(&host, &port, &readOnly)
	if err != nil {
		return "", fmt.Errorf("port %d leads to no server: %w", d.WritePort, err)
	}
	node := host
	for _, m := range d.Members {
		if host == m.Node || host == m.Address.Addr().String() && port == int(m.Address.Port()) {
			node = m.Node
		}
	}
	if readOnly {
		return "", fmt.Errorf("port %d leads to %s: %w", d.WritePort, node, ErrReadOnly)
	}
	return node, nil
}

// open returns the pool for a database's port for writes.
func (r *Routes) open(d Database) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net = d.User, d.Password, "tcp"
	c.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(d.WritePort))
	// The members' accounts ask for TLS. Who the server is, the mesh vouches for: the members' certificates are their own.
	c.TLSConfig = "skip-verify"
	c.Timeout, c.ReadTimeout, c.WriteTimeout = patience, patience, patience
	c.Logger = &mysql.NopLogger{}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.pools[d.Name]; ok {
		if p.made.User == c.User && p.made.Passwd == c.Passwd && p.made.Addr == c.Addr {
			return p.db, nil
		}
		_ = p.db.Close() // a connection that nobody uses any more has nothing to lose
	}
	made := pool{made: *c}
	if r.Dial != nil {
		c.DialFunc = r.Dial
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("prepare to ask port %d: %w", d.WritePort, err)
	}
	made.db = sql.OpenDB(connector)
	made.db.SetMaxOpenConns(1)
	if r.pools == nil {
		r.pools = map[string]pool{}
	}
	r.pools[d.Name] = made
	return made.db, nil
}

// keep closes the connections of all databases but these.
func (r *Routes) keep(databases map[string]Database) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, p := range r.pools {
		if _, there := databases[name]; !there {
			_ = p.db.Close() // nobody waits for it
			delete(r.pools, name)
		}
	}
}

// Writers asks for all databases at once, and returns the nodes, and what is wrong where there is none.
func (r *Routes) Writers(ctx context.Context, databases []Database) (map[string]string, error) {
	var all sync.WaitGroup
	nodes := make([]string, len(databases))
	problems := make([]error, len(databases))
	for i, d := range databases {
		all.Go(func() { nodes[i], problems[i] = r.Writer(ctx, d) })
	}
	all.Wait()
	out := map[string]string{}
	for i, d := range databases {
		out[d.Name] = nodes[i]
	}
	return out, errors.Join(problems...)
}
