package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
)

// stockConfig is what a member needs on top of the server's own settings, as MySQL's manual and MySQL Shell have it. Everything
// that is not named here is as the server brings it.
const stockConfig = `[mysqld]
bind-address=0.0.0.0
server_id=%[1]d
gtid_mode=ON
enforce_gtid_consistency=ON
report_host=%[2]s
plugin_load_add=group_replication.so;mysql_clone.so
loose_group_replication_group_name=6d1f0f4e-5c1b-4d0e-9a55-0c5c5f0f7b11
loose_group_replication_local_address=%[2]s:3306
loose_group_replication_group_seeds=%[3]s
loose_group_replication_communication_stack=MYSQL
loose_group_replication_ssl_mode=REQUIRED
loose_group_replication_recovery_use_ssl=ON
loose_group_replication_start_on_boot=OFF
`

// stockBegin makes a server's data and starts it by Debian's own unit.
const stockBegin = `set -eu
install -d -o mysql -g mysql -m 750 /var/lib/mysql
install -d -o mysql -g adm /var/log/mysql
mysqld --initialize-insecure --user=mysql
systemctl enable --quiet --now mysql.service`

// stockRouterUnit runs MySQL Router with what its own bootstrap has written. Debian's package has no unit.
const stockRouterUnit = `[Unit]
After=network.target
[Service]
ExecStart=/usr/bin/mysqlrouter -c /var/lib/router/mysqlrouter.conf
Restart=on-failure
[Install]
WantedBy=multi-user.target
`

// stockRouter has Router make its configuration from the group's metadata, $1 is who may and $2 the node's name, and starts it.
const stockRouter = `set -eu
mysqlrouter --bootstrap "$1" --user=root --directory=/var/lib/router --conf-bind-address=127.0.0.1 --disable-rest --force --report-host="$2"
systemctl enable --quiet --now router.service`

// stockGroup is three members as MySQL makes them, on machines without Atoll.
type stockGroup struct {
	lab      *bare.Lab
	machines map[string]*bare.Machine
	password string
}

func newStockGroup(ctx context.Context, _ io.Writer) (databaseGroup, error) {
	l, err := bare.New(ctx, fmt.Sprintf("stock%d", os.Getpid()), bare.Options{Progress: func(doing string) { fmt.Fprintln(os.Stderr, "bench:", doing) }})
	if err != nil {
		return nil, err
	}
	g := &stockGroup{lab: l, machines: map[string]*bare.Machine{}, password: rand.Text()}
	if err := g.begin(ctx); err != nil {
		return nil, errors.Join(err, l.Close(context.WithoutCancel(ctx)))
	}
	return g, nil
}

func (g *stockGroup) begin(ctx context.Context) error {
	var seeds []string
	for _, n := range g.nodes() {
		m, err := g.lab.Add(ctx, n)
		if err != nil {
			return err
		}
		g.machines[n] = m
		seeds = append(seeds, netip.AddrPortFrom(m.Address, 3306).String())
	}
	err := together(g.nodes(), func(n string) error {
		m := g.machines[n]
		id := int(m.Address.As4()[3])
		if err := m.Write("/etc/mysql/mysql.conf.d/zz-group.cnf", fmt.Appendf(nil, stockConfig, id, m.Address, strings.Join(seeds, ",")), 0o644); err != nil {
			return err
		}
		if err := m.Write("/etc/systemd/system/router.service", []byte(stockRouterUnit), 0o644); err != nil {
			return err
		}
		if _, err := m.Run(ctx, "sh", "-c", stockBegin); err != nil {
			return err
		}
		return g.account(ctx, n)
	})
	if err != nil {
		return err
	}
	first := g.nodes()[0]
	if err := g.bootstrap(ctx, first); err != nil {
		return err
	}
	for _, n := range g.nodes()[1:] {
		if err := g.exec(ctx, n, "START GROUP_REPLICATION"); err != nil {
			return err
		}
	}
	if _, err := await.Attempt(ctx, databaseReady, g.members); err != nil {
		return err
	}
	if err := g.application(ctx, first); err != nil {
		return err
	}
	for _, n := range g.nodes() {
		// On is the server's own: only a server that is not in the group yet must not begin with it.
		if err := g.exec(ctx, n, "SET PERSIST group_replication_start_on_boot = ON"); err != nil {
			return err
		}
	}
	return together(g.nodes(), func(n string) error {
		_, err := g.machines[n].Run(ctx, "sh", "-c", stockRouter, "sh", fmt.Sprintf("admin:%s@%s:3306", g.password, g.machines[first].Address), n)
		return err
	})
}

// account makes the account that members use among each other, on a server that is in no group: without it a server does not even
// reach itself.
func (g *stockGroup) account(ctx context.Context, node string) error {
	return g.exec(ctx, node, "SET sql_log_bin = 0", "CREATE USER repl IDENTIFIED BY '"+g.password+"'",
		"GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, CLONE_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO repl", "SET sql_log_bin = 1",
		"CHANGE REPLICATION SOURCE TO SOURCE_USER = 'repl', SOURCE_PASSWORD = '"+g.password+"' FOR CHANNEL 'group_replication_recovery'")
}

// bootstrap begins the group with the data of a node.
func (g *stockGroup) bootstrap(ctx context.Context, node string) error {
	return g.exec(ctx, node, "SET GLOBAL group_replication_bootstrap_group = ON", "START GROUP_REPLICATION", "SET GLOBAL group_replication_bootstrap_group = OFF")
}

// application makes the accounts and the schema, and what Router reads.
func (g *stockGroup) application(ctx context.Context, node string) error {
	err := g.exec(ctx, node, "CREATE DATABASE app", "CREATE USER app IDENTIFIED BY '"+g.password+"'", "GRANT ALL ON app.* TO app",
		"CREATE USER admin IDENTIFIED BY '"+g.password+"'", "GRANT ALL ON *.* TO admin WITH GRANT OPTION",
		"CREATE DATABASE mysql_innodb_cluster_metadata CHARACTER SET utf8mb4")
	if err != nil {
		return err
	}
	source, err := stockMetadata(ctx)
	if err != nil {
		return err
	}
	const metadata = "mysql_innodb_cluster_metadata."
	source = append(source,
		"INSERT INTO "+metadata+"clusters (cluster_id, cluster_name, group_name, attributes, options) "+
			"SELECT @@group_replication_group_name, 'app', @@group_replication_group_name, '{}', '{}'",
		"INSERT INTO "+metadata+"instances (cluster_id, address, mysql_server_uuid, label, attributes) "+
			"SELECT @@group_replication_group_name, CONCAT(member_host, ':', member_port), member_id, CONCAT(member_host, ':', member_port), "+
			"JSON_OBJECT('mysqlClassic', CONCAT(member_host, ':', member_port)) FROM performance_schema.replication_group_members")
	return g.exec(ctx, node, source...)
}

// stockMetadata returns the statements that make the tables which Router reads: MySQL Shell, which makes them otherwise, is in no
// Debian.
func stockMetadata(ctx context.Context) ([]string, error) {
	root, err := rig.Source(ctx)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, "internal", "database", "mysql", "metadata.sql"))
	if err != nil {
		return nil, err
	}
	var out []string
	for part := range strings.SplitSeq(string(text), ";\n") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out, nil
}

func (g *stockGroup) nodes() []string { return []string{"hk1", "hk2", "sg1"} }

func (g *stockGroup) router(node string) writer.Server {
	return writer.Server{
		Name: node, Network: "tcp", Address: "127.0.0.1:6446", Dial: g.machines[node].Dial, User: "app", Password: g.password, Schema: "app",
	}
}

func (g *stockGroup) member(node string) writer.Server {
	s := g.router(node)
	s.Address = "127.0.0.1:3306"
	return s
}

func (g *stockGroup) root(node string) writer.Server {
	return writer.Server{Name: node, Network: "unix", Address: "/run/mysqld/mysqld.sock", Dial: g.machines[node].Dial, User: "root"}
}

func (g *stockGroup) exec(ctx context.Context, node string, statements ...string) error {
	return execRoot(ctx, g.root(node), statements...)
}

// execRoot runs statements in one session.
func execRoot(ctx context.Context, s writer.Server, statements ...string) error {
	return s.Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		for _, statement := range statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				verb, _, _ := strings.Cut(statement, " IDENTIFIED")
				return fmt.Errorf("%s: %s: %w", s.Name, verb, err)
			}
		}
		return nil
	})
}

// members returns an error unless every member sees three that are online.
func (g *stockGroup) members(ctx context.Context) error {
	for _, n := range g.nodes() {
		if err := threeOnline(ctx, g.root(n)); err != nil {
			return err
		}
	}
	return nil
}

// threeOnline returns an error unless a server sees three members online.
func threeOnline(ctx context.Context, s writer.Server) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return s.Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		var online int
		err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE member_state = 'ONLINE'").Scan(&online)
		if err == nil && online != 3 {
			err = fmt.Errorf("%s sees %d members online", s.Name, online)
		}
		return err
	})
}

// tryWrite returns an error unless the router of every node leads to the primary.
func tryWrite(ctx context.Context, g databaseGroup) error {
	for _, n := range g.nodes() {
		err := g.router(n).Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
			var readOnly bool
			if err := conn.QueryRowContext(ctx, "SELECT @@GLOBAL.super_read_only").Scan(&readOnly); err != nil {
				return err
			}
			if readOnly {
				return fmt.Errorf("the router of %s leads to a member that takes no writes", n)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *stockGroup) ready(ctx context.Context) error {
	if err := g.members(ctx); err != nil {
		return err
	}
	return tryWrite(ctx, g)
}

func (g *stockGroup) primary(ctx context.Context) (string, error) {
	var primary string
	err := g.root(g.nodes()[0]).Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, "SELECT member_host FROM performance_schema.replication_group_members WHERE member_role = 'PRIMARY'").Scan(&primary)
	})
	for name, m := range g.machines {
		if m.Address.String() == primary {
			return name, nil
		}
	}
	return "", errors.Join(err, fmt.Errorf("no node has the address %q", primary))
}

func (g *stockGroup) crash(ctx context.Context, node string) error {
	_, err := g.machines[node].Run(ctx, "systemctl", "kill", "--signal=KILL", "mysql.service")
	return err
}

func (g *stockGroup) powerCut(ctx context.Context, node string) error {
	return g.machines[node].PowerCut(ctx)
}

func (g *stockGroup) powerOn(ctx context.Context, node string) error {
	return g.machines[node].Power(ctx)
}

func (g *stockGroup) switchover(ctx context.Context, to string) error {
	return g.root(to).Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "SELECT group_replication_set_as_primary(@@server_uuid)")
		return err
	})
}

// recover looks for the member with the most transactions and begins the group with it, as soon as all servers answer.
func (g *stockGroup) recover(ctx context.Context) error {
	const received = "SELECT CONCAT(@@GLOBAL.gtid_executed, ',', received_transaction_set) FROM performance_schema.replication_connection_status " +
		"WHERE channel_name = 'group_replication_applier'"
	positions := map[string]string{}
	for _, n := range g.nodes() {
		if _, err := await.Attempt(ctx, databaseReady, func(ctx context.Context) error {
			return g.root(n).Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
				var position string
				if err := conn.QueryRowContext(ctx, received).Scan(&position); err != nil {
					return err
				}
				positions[n] = position
				// A server that is told to leave the group takes writes from then on, from whoever finds it.
				if _, err := conn.ExecContext(ctx, "STOP GROUP_REPLICATION"); err != nil {
					return err
				}
				_, err := conn.ExecContext(ctx, "SET GLOBAL super_read_only = ON")
				return err
			})
		}); err != nil {
			return err
		}
	}
	best := g.nodes()[0]
	for _, n := range g.nodes()[1:] {
		var more bool
		err := g.root(best).Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
			return conn.QueryRowContext(ctx, "SELECT GTID_SUBSET(?, ?) AND NOT GTID_SUBSET(?, ?)", positions[best], positions[n], positions[n], positions[best]).Scan(&more)
		})
		if err != nil {
			return err
		}
		if more {
			best = n
		}
	}
	if err := g.bootstrap(ctx, best); err != nil {
		return err
	}
	for _, n := range g.nodes() {
		if n != best {
			if err := g.exec(ctx, n, "START GROUP_REPLICATION"); err != nil {
				return fmt.Errorf("%w (begun at %s with %v)\n%s", err, best, positions, g.complaints(ctx, n))
			}
		}
	}
	return nil
}

// complaints is the end of a server's error log.
func (g *stockGroup) complaints(ctx context.Context, node string) string {
	out, err := g.machines[node].Run(ctx, "tail", "-n", "25", "/var/log/mysql/error.log")
	if err != nil {
		return err.Error()
	}
	return out
}

// stockWipe is what an operator does on a node whose disk was lost.
const stockWipe = `set -eu
systemctl stop mysql.service
find /var/lib/mysql -mindepth 1 -delete
mysqld --initialize-insecure --user=mysql
systemctl start mysql.service`

func (g *stockGroup) wipe(ctx context.Context, node string) error {
	if _, err := g.machines[node].Run(ctx, "sh", "-c", stockWipe); err != nil {
		return err
	}
	if err := g.account(ctx, node); err != nil {
		return err
	}
	// A copy takes a restart of the server, after which it is to go on by itself.
	err := g.exec(ctx, node, "SET PERSIST group_replication_start_on_boot = ON", "SET GLOBAL group_replication_clone_threshold = 1", "START GROUP_REPLICATION")
	if err != nil {
		return fmt.Errorf("%w\n%s", err, g.complaints(ctx, node))
	}
	return nil
}

func (g *stockGroup) close(ctx context.Context) error { return g.lab.Close(ctx) }
