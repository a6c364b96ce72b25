// Package mysql is the database driver over MySQL Server from version 8.4 on with Group Replication in single-primary mode,
// driven by SQL alone: what MySQL Shell does for an InnoDB Cluster, the driver does itself, MySQL Router's metadata included.
//
// The server is a systemd unit of its own with data of its own, beside whatever Debian's package makes of /var/lib/mysql. The
// driver speaks to it as root over the socket; nobody else can be root there.
//
// What is written here about the server's behaviour is from its reference manual, chapter "Group Replication", and was measured
// with 9.7.
package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// Driver implements database.Driver.
type Driver struct {
	sys  host.System
	log  *slog.Logger
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// local is a pool of root's connections over the socket.
	local *sql.DB
	// watch is another one, for looking at the server, whose two connections stay: applications may take all others.
	watch *sql.DB

	// proof is when the group last confirmed that the local server is part of it.
	proof proof

	patience patience

	// room is how much room is left on the disk.
	room room

	// change is held by what changes anything, so that it runs one at a time.
	change sync.Mutex

	mu sync.Mutex
	// member is what was applied last, nil before and after that.
	member *database.Member
	// logOff tells that the log of slow statements was switched off for as long as a copy may be under way.
	logOff bool
	// joinError is why the last attempt to join failed, "" after one that did not.
	joinError string
}

var (
	_ database.Driver = (*Driver)(nil)
	_ host.Packager   = (*Driver)(nil)
)

// Options are the parts of a driver that a test replaces; the zero value is production.
type Options struct {
	// Dial connects to a Unix socket of the machine, by its path there, or to another member; nil means from this machine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a driver for sys.
func New(sys host.System, log *slog.Logger) database.Driver { return NewWith(sys, log, Options{}) }

// NewWith returns a driver for sys with options.
func NewWith(sys host.System, log *slog.Logger, o Options) *Driver {
	d := &Driver{sys: sys, log: log, dial: o.Dial}
	if d.dial == nil {
		var dialer net.Dialer
		d.dial = dialer.DialContext
	}
	root := account{network: "unix", address: socketPath, user: "root"}
	d.local, d.watch = d.open(root), d.open(root)
	d.watch.SetMaxOpenConns(2)
	d.watch.SetConnMaxLifetime(0)
	return d
}

// Packages implements host.Packager.
func (*Driver) Packages() []host.Package {
	return []host.Package{
		{Name: "mysql-server", Binary: "mysqld", Service: "mysql.service"},
		{Name: "mysql-client", Binary: "mysql"},
	}
}

// errNotApplied says that the driver does not know yet what it is to keep.
var errNotApplied = errors.New("no member of a database has been applied")

// applied returns what was applied last.
func (d *Driver) applied() (*database.Member, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.member == nil {
		return nil, errNotApplied
	}
	return d.member, nil
}

func (d *Driver) setMember(m *database.Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.member = m
}

func (d *Driver) setJoinError(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.joinError = ""
	if err != nil {
		d.joinError = err.Error()
	}
}

// nodeAt returns the name of the node whose server is at an address, and the address when there is none.
func nodeAt(m *database.Member, address netip.AddrPort) string {
	if m != nil {
		if m.Address == address {
			return m.Node
		}
		for _, p := range m.Peers {
			if p.Address == address {
				return p.Node
			}
		}
	}
	return address.String()
}

// waitFor polls done until it is true or fails, for at most limit, and tells whether it was true.
func waitFor(ctx context.Context, limit time.Duration, done func(context.Context) (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(ctx); ok || err != nil {
			return ok, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-tick.C:
		}
	}
}

// Position implements database.Driver: all transactions that the server has executed, and those that it has received and not
// executed yet, which it will when it is in a group again.
func (d *Driver) Position(ctx context.Context) (string, error) {
	var set string
	if err := d.local.QueryRowContext(ctx, "SELECT "+positionOf).Scan(&set); err != nil {
		return "", fmt.Errorf("read the position of the local server: %w", err)
	}
	return set, nil
}

// positionOf is the union of two sets in their one normal form, without line breaks.
const positionOf = `REPLACE(GTID_SUBTRACT(CONCAT(@@GLOBAL.gtid_executed, ',', COALESCE((SELECT MAX(received_transaction_set)
FROM performance_schema.replication_connection_status WHERE channel_name = 'group_replication_applier'), '')), ''), '\n', '')`

// Compare implements database.Driver.
func (d *Driver) Compare(ctx context.Context, a, b string) (database.Order, error) {
	var aInB, bInA bool
	if err := d.local.QueryRowContext(ctx, "SELECT GTID_SUBSET(?, ?), GTID_SUBSET(?, ?)", a, b, b, a).Scan(&aInB, &bInA); err != nil {
		return 0, fmt.Errorf("compare two positions at the local server: %w", err)
	}
	switch {
	case aInB && bInA:
		return database.Equal, nil
	case aInB:
		return database.Less, nil
	case bInA:
		return database.Greater, nil
	default:
		return database.Diverged, nil
	}
}
