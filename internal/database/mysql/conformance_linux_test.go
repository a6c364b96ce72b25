package mysql_test

import (
	"context"
	"database/sql"
	"log/slog"
	"net"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/database/databasetest"
	"github.com/atollhq/terraform-provider-atoll/internal/database/mysql"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

const socket = "/run/mysqld/mysqld.sock"

// connect returns a pool of connections to a server on a machine of the test.
func connect(dial databasetest.Dial, network, address, user, password, schema string) (*sql.DB, error) {
	c := mysqldriver.NewConfig()
	c.User, c.Passwd, c.DBName, c.Net, c.Addr = user, password, schema, network, address
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dial(ctx, network, address)
	}
	c.Logger = &mysqldriver.NopLogger{}
	connector, err := mysqldriver.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// asRoot runs statements as root in one session on a machine of the test.
func asRoot(ctx context.Context, dial databasetest.Dial, statements ...string) error {
	db, err := connect(dial, "unix", socket, "root", "", "")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// unlogged is something that a server is not fit with, and of which its position knows nothing.
func unlogged(check, statement, undo string) databasetest.Unfit {
	do := func(statement string) func(context.Context, databasetest.Dial) error {
		return func(ctx context.Context, dial databasetest.Dial) error {
			return asRoot(ctx, dial, "SET SESSION sql_log_bin = OFF", "SET SESSION sql_require_primary_key = OFF",
				"SET GLOBAL super_read_only = OFF", statement, "SET GLOBAL super_read_only = ON")
		}
	}
	return databasetest.Unfit{Check: check, Make: do(statement), Undo: do(undo)}
}

func TestConformance(t *testing.T) {
	databasetest.Run(t, databasetest.Engine{
		New: func(sys host.System, log *slog.Logger, dial databasetest.Dial) database.Driver {
			return mysql.NewWith(sys, log, mysql.Options{Dial: dial})
		},
		Unit: "atoll-mysql.service", State: "/var/lib/atoll-mysql", Data: "/var/lib/atoll-mysql/current/data", Port: 3306,
		Open: func(dial databasetest.Dial, address, user, password, schema string) (*sql.DB, error) {
			return connect(dial, "tcp", address, user, password, schema)
		},
		Diverge: func(ctx context.Context, dial databasetest.Dial) error {
			return asRoot(ctx, dial, "SET GLOBAL super_read_only = OFF", "CREATE DATABASE strayed", "SET GLOBAL super_read_only = ON")
		},
		Show: func(ctx context.Context, dial databasetest.Dial) error {
			return asRoot(ctx, dial, "SET GLOBAL general_log = ON", "SET GLOBAL slow_query_log = ON", "SET GLOBAL long_query_time = 0")
		},
		Live:    [2]string{"max_connections", "77"},
		Crowd:   100,
		Restart: [2]string{"innodb_read_io_threads", "3"},
		Bad: map[string]string{
			"no_such_setting": "1", "innodb_read_io_threads": "plenty", "max_connections": "-5", "sync_binlog": "0",
			"transaction_isolation": "READ-UNCOMMITTED", "innodb_io_capacity": "7",
		},
		Unfit: []databasetest.Unfit{
			unlogged("primary-keys", "CREATE TABLE shop_1.keyless (id INT)", "DROP TABLE shop_1.keyless"),
			unlogged("engine", "CREATE TABLE shop_1.elsewhere (id INT NOT NULL) ENGINE = CSV", "DROP TABLE shop_1.elsewhere"),
			unlogged("gtid", "SET GLOBAL gtid_mode = ON_PERMISSIVE", "SET GLOBAL gtid_mode = ON"),
		},
		ReadSetting: func(ctx context.Context, dial databasetest.Dial, name string) (value string, err error) {
			db, err := connect(dial, "unix", socket, "root", "", "")
			if err != nil {
				return "", err
			}
			defer func() { _ = db.Close() }()
			err = db.QueryRowContext(ctx, "SELECT variable_value FROM performance_schema.global_variables WHERE variable_name = ?", name).Scan(&value)
			return value, err
		},
	})
}
