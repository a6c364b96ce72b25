package writer

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server is one way to the database: a router, or a member itself.
type Server struct {
	// Name is what reports call it, such as a node's name.
	Name string
	// Network and Address are what Dial gets: "tcp" and an address with a port, or "unix" and a path.
	Network, Address string
	// Dial connects from where the client is; from this machine when nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// User, Password and Schema are the client's. Nothing of this package logs the password.
	User, Password, Schema string
}

// connectWithin bounds what connecting may take where the caller does not. A server that was cut off does not answer at all.
const connectWithin = 10 * time.Second

// open returns a pool of connections that has not connected yet.
func (s Server) open() (*sql.DB, error) {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.DialFunc = s.Network, s.Address, s.Dial
	c.User, c.Passwd, c.DBName = s.User, s.Password, s.Schema
	c.Timeout = connectWithin
	c.Logger = &mysql.NopLogger{}
	if s.Network != "unix" {
		// Passwords are only sent when that is encrypted; whose certificate it is does not matter in a lab.
		c.TLS, c.AllowFallbackToPlaintext = &tls.Config{InsecureSkipVerify: true}, true //nolint:gosec // see above
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.Name, err)
	}
	return sql.OpenDB(connector), nil
}

// Do runs f with a connection to the server.
func (s Server) Do(ctx context.Context, f func(context.Context, *sql.Conn) error) error {
	db, err := s.open()
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", s.Name, err)
	}
	defer func() { _ = conn.Close() }()
	return f(ctx, conn)
}

// tables are what this package writes into.
var tables = []string{
	`CREATE TABLE IF NOT EXISTS atoll_writes (client VARCHAR(64) NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (client, number))`,
	`CREATE TABLE IF NOT EXISTS atoll_probes (member VARCHAR(64) NOT NULL PRIMARY KEY, number BIGINT NOT NULL)`,
}

// Prepare makes the tables, through a server that takes writes.
func Prepare(ctx context.Context, s Server) error {
	return s.Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		for _, statement := range tables {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("make the tables of the writers by way of %s: %w", s.Name, err)
			}
		}
		return nil
	})
}

// In returns the server with another schema.
func (s Server) In(schema string) Server {
	s.Schema = schema
	return s
}

// Value asks the server for one value, "" for NULL.
func (s Server) Value(ctx context.Context, query string, values ...any) (string, error) {
	var value sql.NullString
	err := s.Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, query, values...).Scan(&value)
	})
	return value.String, err
}

// Exec runs statements in one session.
func (s Server) Exec(ctx context.Context, statements ...string) error {
	return s.Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		for _, statement := range statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}
