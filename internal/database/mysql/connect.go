package mysql

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

// account is a way to a server.
type account struct{ network, address, user, password string }

// open returns a pool of connections. It does not connect yet.
func (d *Driver) open(a account) *sql.DB {
	c := mysqldriver.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr = a.user, a.password, a.network, a.address
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return d.dial(ctx, network, address)
	}
	c.Params = map[string]string{"sql_mode": "'" + ownMode + "'"}
	// Statements about accounts and groups cannot be prepared.
	c.InterpolateParams = true
	c.Logger = &mysqldriver.NopLogger{}
	if a.network != "unix" {
		// The mesh has proved whose address that is. The certificate is the server's own, which nobody could check.
		c.TLS = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above
		c.Timeout = peerPatience
	}
	connector, err := mysqldriver.NewConnector(c)
	if err != nil {
		connector = failing{err}
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(2)
	// A server that was restarted is noticed without that; this is for those that went away silently.
	db.SetConnMaxLifetime(time.Minute)
	return db
}

// ownMode is the sql_mode of the driver's sessions, whatever the operator has set for others.
const ownMode = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"

// failing is a connector that only says why it cannot connect.
type failing struct{ err error }

func (f failing) Connect(context.Context) (driver.Conn, error) { return nil, f.err }
func (f failing) Driver() driver.Driver                        { return mysqldriver.MySQLDriver{} }

// peerPatience bounds what another member may take to answer a question.
const peerPatience = 3 * time.Second

// askPeer asks another member as the account that members share.
func (d *Driver) askPeer(ctx context.Context, m *database.Member, at netip.AddrPort, ask func(context.Context, *sql.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	db := d.open(account{"tcp", at.String(), replicationUser, replicationPassword(m)})
	defer func() { _ = db.Close() }()
	return ask(ctx, db)
}

// The server's errors that the driver tells apart (MySQL Server Error Message Reference).
const (
	errNoSchema         = 1049
	errNoTable          = 1146
	errUnknownVariable  = 1193
	errWrongValue       = 1231
	errWrongType        = 1232
	errReadOnlyVariable = 1238
	errUnknownSetting   = 3719
)

// number returns the server's number of an error, 0 when it is none of the server's.
func number(err error) uint16 {
	var refused *mysqldriver.MySQLError
	if errors.As(err, &refused) {
		return refused.Number
	}
	return 0
}

// quote returns a text as a string of SQL, in a session with ownMode.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''", "\x00", `\0`).Replace(text) + "'"
}

// name returns an identifier in quotes.
func name(text string) string { return "`" + strings.ReplaceAll(text, "`", "``") + "`" }
