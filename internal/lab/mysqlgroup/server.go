//go:build linux

package mysqlgroup

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
)

const (
	// Port is where the servers listen.
	Port = 3306
	// unitName is the servers' service.
	unitName = "mysql-group.service"
	// socket is where a server's root needs no password.
	socket = "/run/mysqld/mysqld.sock"
	// settingsPath is a server's configuration.
	settingsPath = "/etc/mysql-group.cnf"
)

// settings are those of every server, durable as they come: a killed server must know what it has done.
const settings = `[mysqld]
user=mysql
datadir=/var/lib/mysql-group
socket=` + socket + `
pid_file=/run/mysqld/mysqld.pid
mysqlx=OFF
server_id=%[1]d
port=3306
bind_address=0.0.0.0
report_host=%[2]s
skip_name_resolve=ON
gtid_mode=ON
enforce_gtid_consistency=ON
innodb_buffer_pool_size=48M
innodb_redo_log_capacity=16M
max_connections=200
plugin_load_add=group_replication.so
loose_group_replication_group_name=%[3]s
loose_group_replication_start_on_boot=OFF
loose_group_replication_communication_stack=MYSQL
loose_group_replication_local_address=%[2]s:3306
loose_group_replication_group_seeds=%[4]s
loose_group_replication_ssl_mode=REQUIRED
loose_group_replication_recovery_use_ssl=ON
`

const unit = `[Service]
Type=notify
User=mysql
RuntimeDirectory=mysqld
ExecStart=/usr/sbin/mysqld --defaults-file=` + settingsPath + `
Restart=no
LimitNOFILE=10000
`

// install makes an empty server and starts it.
const install = `set -e
systemctl daemon-reload
install -d -o mysql -g mysql -m 755 /run/mysqld
install -d -o mysql -g mysql -m 750 /var/lib/mysql-group
mysqld --defaults-file=` + settingsPath + ` --initialize-insecure
systemctl start ` + unitName

// accounts are made at every server, outside of what replicates.
const accounts = `SET sql_log_bin=0;
CREATE USER replication@'%' IDENTIFIED BY 'replication' REQUIRE SSL;
GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, CLONE_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO replication@'%';
SET sql_log_bin=1;
RESET BINARY LOGS AND GTIDS;`

// Server is one member. Its methods are safe for concurrent use.
type Server struct {
	*bare.Machine

	id int
	db *sql.DB
}

// newServer installs a server on a machine.
func newServer(ctx context.Context, m *bare.Machine, id int, group, seeds string, extra map[string]string) (*Server, error) {
	text := fmt.Sprintf(settings, id, m.Address, group, seeds)
	for name, value := range extra {
		text += name + "=" + value + "\n"
	}
	if err := m.Write(settingsPath, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if err := m.Write("/etc/systemd/system/"+unitName, []byte(unit), 0o644); err != nil {
		return nil, err
	}
	if _, err := m.Run(ctx, "sh", "-c", install); err != nil {
		return nil, fmt.Errorf("install MySQL: %w", err)
	}
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.Timeout = "root", "unix", socket, time.Second
	c.MultiStatements, c.Logger = true, &mysql.NopLogger{}
	c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return m.Dial(ctx, "unix", socket) }
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	s := &Server{Machine: m, id: id, db: sql.OpenDB(connector)}
	return s, s.Exec(ctx, accounts)
}

// Exec runs statements as the server's root.
func (s *Server) Exec(ctx context.Context, statements string) error {
	if _, err := s.db.ExecContext(ctx, statements); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

// Text returns the one value that a question has for an answer.
func (s *Server) Text(ctx context.Context, question string) (string, error) {
	var out string
	if err := s.db.QueryRowContext(ctx, question).Scan(&out); err != nil {
		return "", fmt.Errorf("%s: %s: %w", s.Name, question, err)
	}
	return out, nil
}

// Begin makes a group of this server alone.
func (s *Server) Begin(ctx context.Context) error {
	return s.Exec(ctx, `SET GLOBAL group_replication_bootstrap_group=ON;
START GROUP_REPLICATION USER='replication', PASSWORD='replication';
SET GLOBAL group_replication_bootstrap_group=OFF`)
}

// Join takes the server into the group.
func (s *Server) Join(ctx context.Context) error {
	return s.Exec(ctx, `START GROUP_REPLICATION USER='replication', PASSWORD='replication'`)
}

// Leave takes it out again.
func (s *Server) Leave(ctx context.Context) error { return s.Exec(ctx, `STOP GROUP_REPLICATION`) }

// MakePrimary makes the server the primary of its group, which it asks for itself.
func (s *Server) MakePrimary(ctx context.Context) error {
	id, err := s.Text(ctx, "SELECT @@server_uuid")
	if err != nil {
		return err
	}
	_, err = s.Text(ctx, "SELECT group_replication_set_as_primary('"+id+"')")
	return err
}

// Kill ends the server without giving it a chance to say anything to anybody.
func (s *Server) Kill(ctx context.Context) error {
	_, err := s.Run(ctx, "systemctl", "kill", "--kill-whom=all", "--signal=KILL", unitName)
	return err
}

// Start starts the server again, in no group.
func (s *Server) Start(ctx context.Context) error {
	_, err := s.Run(ctx, "systemctl", "restart", unitName)
	return err
}

// Role is what a server says of itself.
type Role struct {
	// State and Role are Group Replication's words, Majority that most members that the server knows of can be reached.
	State, Role string
	Majority    bool
	ReadOnly    bool
}

// Role asks the server what it is.
func (s *Server) Role(ctx context.Context) (Role, error) {
	var r Role
	err := s.db.QueryRowContext(ctx, `SELECT COALESCE(MAX(IF(member_id=@@server_uuid, member_state, NULL)), 'OFFLINE'),
COALESCE(MAX(IF(member_id=@@server_uuid, member_role, NULL)), ''), SUM(member_state<>'UNREACHABLE')*2 > COUNT(*), @@super_read_only
FROM performance_schema.replication_group_members`).Scan(&r.State, &r.Role, &r.Majority, &r.ReadOnly)
	return r, err
}

// Writable tells whether the server takes writes that a majority follows.
func (r Role) Writable() bool {
	return r.State == "ONLINE" && r.Role == "PRIMARY" && r.Majority && !r.ReadOnly
}

// quote returns a text as SQL's.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
