package spec_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func database() spec.Database {
	return spec.Database{
		Engine: spec.DatabaseMySQL, Version: "9.7", Group: "0f3c6f6e-6a4f-4f6e-9d5b-0123456789ab", Votes: 3,
		Bootstrap: spec.Bootstrap{Node: "hk1", Epoch: 1}, Port: 3306,
		Settings: map[string]string{"max_connections": "500", "transaction_isolation": "READ-COMMITTED", "innodb_buffer_pool_size": "256M"},
		Schemas:  []string{"nextcloud"}, Users: map[string]spec.DatabaseUser{"nextcloud": {Password: "sealed", PasswordVersion: 1, Schemas: []string{"nextcloud"}}},
		Router: spec.DatabaseRouter{Driver: spec.RouterMySQL, WritePort: 6446, ReadPort: 6447},
		Key:    "key",
	}
}

func TestDatabaseValidate(t *testing.T) {
	t.Parallel()
	if ps := database().Validate(); len(ps) > 0 {
		t.Fatalf("a good one has problems: %v", ps)
	}
	tests := []struct {
		name   string
		change func(*spec.Database)
		field  string
		says   string
	}{
		{"engine", func(d *spec.Database) { d.Engine = "ndb" }, "engine", "unknown"},
		{"version", func(d *spec.Database) { d.Version = "9.7.4" }, "version", "is none"},
		{"group", func(d *spec.Database) { d.Group = strings.ToUpper(d.Group) }, "group", "UUID"},
		{"no votes", func(d *spec.Database) { d.Votes = 0 }, "votes", "is 0"},
		{"one", func(d *spec.Database) { d.Votes = 1 }, "votes", "is 1"},
		{"two", func(d *spec.Database) { d.Votes = 2 }, "votes", "two members cannot tell a dead peer from a cut line"},
		{"even", func(d *spec.Database) { d.Votes = 4 }, "votes", "survive no more losses than 3"},
		{"many", func(d *spec.Database) { d.Votes = 11 }, "votes", "is 11"},
		{"bootstrap", func(d *spec.Database) { d.Bootstrap.Node = "" }, "bootstrap.node", ""},
		{"epoch", func(d *spec.Database) { d.Bootstrap.Epoch = 0 }, "bootstrap.epoch", "is 0"},
		{"port", func(d *spec.Database) { d.Port = 70000 }, "port", "70000"},
		{"router of nobody", func(d *spec.Database) { d.Router.Driver = "proxysql" }, "router.driver", "unknown"},
		{"router ports", func(d *spec.Database) { d.Router.ReadPort = 6446 }, "router.read_port", "also write_port"},
		{"router on the members' port", func(d *spec.Database) { d.Router.ReadPort = 3306 }, "router.read_port", "port of the members"},
		{"router writes on the members' port", func(d *spec.Database) { d.Router.WritePort = 3306 }, "router.write_port", "port of the members"},
		{"schema", func(d *spec.Database) { d.Schemas = append(d.Schemas, "a`b") }, "schemas", "cannot be"},
		{"own schema", func(d *spec.Database) { d.Schemas = append(d.Schemas, "MySQL") }, "schemas", "server's own"},
		{"schema twice", func(d *spec.Database) { d.Schemas = append(d.Schemas, "NextCloud") }, "schemas", "the same"},
		{"user", func(d *spec.Database) { d.Users["o'brien"] = spec.DatabaseUser{Password: "x"} }, "users.o'brien", "cannot be"},
		{"root", func(d *spec.Database) { d.Users["Root"] = spec.DatabaseUser{Password: "x"} }, "users.Root", "not for applications"},
		{"Atoll's own", func(d *spec.Database) { d.Users["atoll_router"] = spec.DatabaseUser{Password: "x"} }, "users.atoll_router", "not for applications"},
		{"no password", func(d *spec.Database) { d.Users["a"] = spec.DatabaseUser{} }, "users.a.password", "missing"},
		{"unknown schema", func(d *spec.Database) { d.Users["a"] = spec.DatabaseUser{Password: "x", Schemas: []string{"b"}} }, "users.a.schemas", "none of"},
		{"key", func(d *spec.Database) { d.Key = "" }, "key", "missing"},
		{"accept", func(d *spec.Database) { d.Accept.Sites = []string{" "} }, "accept.sites", "none"},
		{"setting", func(d *spec.Database) { d.Settings["sync_binlog"] = "0" }, "settings.sync_binlog", "loses power"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := database()
			d.Settings, d.Users = maps.Clone(d.Settings), maps.Clone(d.Users)
			tt.change(&d)
			expectProblem(t, d.Validate(), tt.field, tt.says)
		})
	}
}

// expectProblem demands one problem, of this field and with these words.
func expectProblem(t *testing.T, ps spec.Problems, field, says string) {
	t.Helper()
	if len(ps) != 1 || ps[0].Field != field || !strings.Contains(ps[0].Message, says) {
		t.Errorf("got %v; want one problem of %s that says %q", ps, field, says)
	}
}

func TestMySQLSettings(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"max_connections": "500", "innodb_flush_log_at_trx_commit": "1", "innodb_doublewrite": "on", "default_storage_engine": "innodb",
		"transaction_isolation": "serializable", "lower_case_table_names": "1", "innodb_flush_method": "o_direct", "group_replication_flow_control_mode": "DISABLED",
		"group_replication_consistency": "BEFORE_ON_PRIMARY_FAILOVER", "max_allowed_packet": "64M", "sql_mode": "",
		"innodb_flush_neighbors": "0", "log_bin_trust_function_creators": "ON", "binlog_row_image": "MINIMAL", "transaction_read_only": "0",
	}
	if ps := spec.ValidateMySQLSettings("settings", good); len(ps) > 0 {
		t.Errorf("good settings have problems: %v", ps)
	}
	bad := []struct{ name, value, says string }{
		{"Max-Connections", "5", "not the name"},
		{"max_connections", "5\nskip_grant_tables", "cannot be in a setting"},
		{"sql_mode", strings.Repeat("x", 2000), "2000 bytes"},
		{"server_id", "5", "each member has its own"},
		{"bind_address", "0.0.0.0", "mesh address"},
		{"gtid_mode", "OFF", "group replication needs it"},
		{"read_only", "ON", "second writer"},
		{"skip_grant_tables", "1", "how the server starts"},
		{"skip_innodb_doublewrite", "1", "write the variable itself"},
		{"loose_sync_binlog", "0", "unnoticed"},
		{"mysqlx_port", "33060", "X protocol"},
		{"group_replication_group_seeds", "x", "Atoll sets up the group"},
		{"group_replication_single_primary_mode", "OFF", "one member takes writes"},
		{"group_replication_bootstrap_group", "ON", "two databases out of one"},
		{"group_replication_member_expel_timeout", "5", "Atoll sets 0"},
		{"sync_binlog", "0", "loses power"},
		{"innodb_flush_log_at_trx_commit", "2", "loses power"},
		{"innodb_flush_log_at_trx", "2", "would take it for innodb_flush_log_at_trx_commit"},
		{"innodb_doublewrite", "0", "half written"},
		{"innodb_flush_method", "nosync", "loses power"},
		{"default_storage_engine", "MyISAM", "only InnoDB"},
		{"max_connections", "20", "need 50 among themselves"},
		{"max_connections", "many", "need 50 among themselves"},
		{"ssl_cert", "/tmp/x", "TLS"},
		{"relay_log_recovery", "OFF", "order of the group"},
		{"clone_ssl_ca", "x", "copies everything"},
		{"sql_require_primary_key", "OFF", "primary key"},
		{"innodb_dedicated_server", "1", "all of its memory"},
		{"transaction_isolation", "READ-UNCOMMITTED", "may yet refuse"},
		{"replicate_ignore_db", "cache", "order of the group"},
	}
	for _, tt := range bad {
		t.Run(tt.name+"="+tt.value[:min(10, len(tt.value))], func(t *testing.T) {
			t.Parallel()
			expectProblem(t, spec.ValidateMySQLSettings("settings", map[string]string{tt.name: tt.value}), "settings."+tt.name, tt.says)
		})
	}
}

func TestMemberValidate(t *testing.T) {
	t.Parallel()
	good := spec.Member{Database: "app", Node: "hk1", Role: spec.MemberVoter, Weight: 50, Key: "sealed"}
	if ps := good.Validate(); len(ps) > 0 {
		t.Fatalf("a good one has problems: %v", ps)
	}
	tests := []struct {
		change func(*spec.Member)
		field  string
	}{
		{func(m *spec.Member) { m.Database = "" }, "database"},
		{func(m *spec.Member) { m.Node = "HK1" }, "node"},
		{func(m *spec.Member) { m.Role = "arbiter" }, "role"},
		{func(m *spec.Member) { m.Weight = 101 }, "weight"},
		{func(m *spec.Member) { m.Weight = -1 }, "weight"},
		{func(m *spec.Member) { m.Key = "" }, "key"},
	}
	for _, tt := range tests {
		t.Run(tt.field, func(t *testing.T) {
			t.Parallel()
			m := good
			tt.change(&m)
			expectProblem(t, m.Validate(), tt.field, "")
		})
	}
}

func TestRecoveryValidate(t *testing.T) {
	t.Parallel()
	good := spec.Recovery{Incarnation: 2, AcceptLossFrom: []string{"sg1"}, Since: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	if ps := good.Validate(); len(ps) > 0 {
		t.Fatalf("a good one has problems: %v", ps)
	}
	tests := []struct {
		change func(*spec.Recovery)
		field  string
	}{
		{func(r *spec.Recovery) { r.Incarnation = 1 }, "incarnation"},
		{func(r *spec.Recovery) { r.AcceptLossFrom = nil }, "accept_loss_from"},
		{func(r *spec.Recovery) { r.AcceptLossFrom = []string{"SG1"} }, "accept_loss_from"},
		{func(r *spec.Recovery) { r.Reason = "a\nb" }, "reason"},
		{func(r *spec.Recovery) { r.Since = time.Time{} }, "since"},
	}
	for _, tt := range tests {
		t.Run(tt.field, func(t *testing.T) {
			t.Parallel()
			r := good
			tt.change(&r)
			expectProblem(t, r.Validate(), tt.field, "")
		})
	}
}
