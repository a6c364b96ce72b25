//go:build linux

package rig

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// WithDatabase makes the reference topology make its database, with these nodes as the voting members, the first of them where
// writes begin, and settings of the server as Terraform writes them, such as `max_connections = "99"`.
func WithDatabase(settings string, voters ...string) string {
	return WithDatabaseBy(spec.RouterMySQL, settings, voters...)
}

// WithDatabaseBy is WithDatabase with the router that applications reach it by.
func WithDatabaseBy(router spec.RouterDriver, settings string, voters ...string) string {
	list := ""
	for _, v := range voters {
		list += strconv.Quote(v) + ", "
	}
	return "TF_VAR_database={ voters = [" + list + "], settings = { innodb_buffer_pool_size = \"128M\", " + settings + ` }, router = "` + string(router) + `", accept = { site_majority = ["hong-kong"] } }`
}

// The reference topology's database.
const (
	databaseName = "app"
	databaseUser = "app"
)

// Database is the reference topology's database as its applications, and root on its nodes, have it.
type Database struct {
	site *Site
	// Nodes are the voting members.
	Nodes []string
}

// Database returns the database with the given voting members. It need not be there yet.
func (s *Site) Database(nodes ...string) *Database {
	return &Database{site: s, Nodes: slices.Clone(nodes)}
}

// Name is the database's name.
func (d *Database) Name() string { return databaseName }

// RouterUnit is the service of MySQL Router on each node.
func (d *Database) RouterUnit() string { return "atoll-mysqlrouter-" + databaseName + ".service" }

// Router is an application's way to the primary on a node.
func (d *Database) Router(node string) writer.Server { return d.server(node, "127.0.0.1:6446") }

// Reader is an application's way to any member on a node.
func (d *Database) Reader(node string) writer.Server { return d.server(node, "127.0.0.1:6447") }

// Member is the server of a node itself.
func (d *Database) Member(node string) writer.Server { return d.server(node, "127.0.0.1:3306") }

func (d *Database) server(node, address string) writer.Server {
	return writer.Server{
		Name: node, Network: "tcp", Address: address, Dial: d.dial(node),
		User: databaseUser, Password: d.site.Variable(lab.DatabasePasswordVariable), Schema: databaseName,
	}
}

// Root is the server of a node as root on it has it.
func (d *Database) Root(node string) writer.Server {
	return writer.Server{Name: node, Network: "unix", Address: "/run/mysqld/mysqld.sock", Dial: d.dial(node), User: "root"}
}

// each returns a server for every voting member.
func (d *Database) each(of func(string) writer.Server) []writer.Server {
	servers := make([]writer.Server, len(d.Nodes))
	for i, n := range d.Nodes {
		servers[i] = of(n)
	}
	return servers
}

// Routers are the ways to the primary on all voting members.
func (d *Database) Routers() []writer.Server { return d.each(d.Router) }

// Members are the servers of all voting members.
func (d *Database) Members() []writer.Server { return d.each(d.Member) }

// Roots are the same as root has them.
func (d *Database) Roots() []writer.Server { return d.each(d.Root) }

// dial connects from a node: to an address, or to a socket among its files.
func (d *Database) dial(node string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if network != "unix" {
			space, err := d.site.Network().Namespace(node)
			if err != nil {
				return nil, err
			}
			return space.Connect(ctx, network, address)
		}
		machine, err := d.site.Node(node)
		if err != nil {
			return nil, err
		}
		if machine.PID == 0 {
			return nil, fmt.Errorf("%s has no power", node)
		}
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, "/proc/"+strconv.Itoa(machine.PID)+"/root"+address)
	}
}

// lookWithin bounds one look at a server.
const lookWithin = 2 * time.Second

// Exec runs statements as root on a node, in one session.
func (d *Database) Exec(ctx context.Context, node string, statements ...string) error {
	return d.Root(node).Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		for _, s := range statements {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("%s: %s: %w", node, s, err)
			}
		}
		return nil
	})
}

// Value asks the server of a node, as root, for one value.
func (d *Database) Value(ctx context.Context, node, query string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	var value sql.NullString
	err := d.Root(node).Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, query).Scan(&value)
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", node, err)
	}
	return value.String, nil
}

// Ready returns what keeps the database from being whole: each voting member sees all of them online, and the router of each
// leads to the primary.
func (d *Database) Ready(ctx context.Context) error {
	var errs []error
	for _, n := range d.Nodes {
		errs = append(errs, d.Online(ctx, n, len(d.Nodes)), d.Writable(ctx, n))
	}
	return errors.Join(errs...)
}

// Online returns an error unless the server of a node sees that many members online, itself included.
func (d *Database) Online(ctx context.Context, node string, want int) error {
	got, err := d.Value(ctx, node, "SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(member_id = @@server_uuid), 0)) FROM performance_schema.replication_group_members WHERE member_state = 'ONLINE'")
	if err == nil && got != strconv.Itoa(want)+" 1" {
		err = fmt.Errorf("the server of %s sees members online and itself among them: %s, expected are %d", node, got, want)
	}
	return err
}

// Writable returns an error unless the router of a node leads to a server that takes writes.
func (d *Database) Writable(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	var readOnly bool
	err := d.Router(node).Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, "SELECT @@GLOBAL.super_read_only").Scan(&readOnly)
	})
	if err == nil && readOnly {
		err = errors.New("it leads to a server that takes no writes")
	}
	if err != nil {
		return fmt.Errorf("the router of %s: %w", node, err)
	}
	return nil
}

// Primary returns the node that takes writes, as the first member that answers sees it.
func (d *Database) Primary(ctx context.Context) (string, error) {
	const query = "SELECT member_host FROM performance_schema.replication_group_members WHERE member_role = 'PRIMARY' AND member_state = 'ONLINE'"
	var errs []error
	for _, n := range d.Nodes {
		at, err := d.Value(ctx, n, query)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, other := range d.Nodes {
			own, err := d.Value(ctx, other, "SELECT @@report_host")
			if err == nil && own == at {
				return other, nil
			}
			errs = append(errs, err)
		}
		errs = append(errs, fmt.Errorf("%s sees the primary at %q", n, at))
	}
	return "", errors.Join(errs...)
}

// Others returns the voting members but one.
func (d *Database) Others(node string) []string {
	var others []string
	for _, n := range d.Nodes {
		if n != node {
			others = append(others, n)
		}
	}
	return others
}

// Equal returns what differs between the members' data. Nobody may write meanwhile.
func (d *Database) Equal(ctx context.Context) error { return writer.Equal(ctx, d.Roots()) }
