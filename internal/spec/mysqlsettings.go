package spec

// Sources: MySQL 9.7 Reference Manual, "Group Replication Requirements", "Group Replication Limitations", "InnoDB Startup
// Options", "Binary Logging Options".

const reasonTLS = "members and routers talk over TLS with keys that each node makes"

const reasonApplier = "a member applies what it gets in the order of the group, or a failover shows what never was"

// ownedMySQLSettings returns the settings that Atoll sets itself on each member, with the reason.
func ownedMySQLSettings() map[string]string {
	const (
		identity  = "each member has its own value, which follows from its node"
		listening = "members listen at their mesh address and at loopback only, on the database's port, so that nobody else reaches them"
		gtid      = "group replication needs it as it is: every transaction has a global id, by which members find out what they miss"
		files     = "all of a member's files are in one place, which Atoll makes, confines and keeps aside when the member goes"
		writable  = "the group itself decides who takes writes; a server that is told so otherwise becomes a second writer, or none"
		start     = "it changes how the server starts, which is the agent's to decide"
		plugins   = "Atoll loads the plugins that the group needs"
		secrets   = "Atoll sets it so that no password gets into a log"
		needed    = "Atoll's agent needs it as it is"
		engines   = "only InnoDB tables are replicated: the other engines are off"
		keys      = "group replication takes no writes to tables without a primary key, so the server refuses to make them"
		accounts  = "members, routers and applications log in by it"
	)
	return map[string]string{
		"server_id": identity, "server_uuid": identity, "report_host": identity, "report_port": identity, "hostname": identity,
		"report_user": identity, "report_password": identity,
		"port": listening, "bind_address": listening, "socket": listening,
		"skip_networking": listening, "named_pipe": listening, "create_admin_listener_thread": listening,
		"gtid_mode": gtid, "enforce_gtid_consistency": gtid, "gtid_next": gtid, "gtid_purged": gtid, "gtid_executed": gtid, "log_bin": gtid, "skip_log_bin": gtid,
		"disable_log_bin": gtid, "binlog_format": gtid, "binlog_checksum": gtid, "log_replica_updates": gtid, "log_slave_updates": gtid,
		"sql_log_bin": gtid, "binlog_gtid_simple_recovery": gtid,
		"binlog_do_db": gtid, "binlog_ignore_db": gtid, "replica_skip_errors": reasonApplier, "slave_skip_errors": reasonApplier,
		"sql_replica_skip_counter": reasonApplier, "sql_slave_skip_counter": reasonApplier, "replica_exec_mode": reasonApplier, "slave_exec_mode": reasonApplier,
		"replica_preserve_commit_order": reasonApplier, "slave_preserve_commit_order": reasonApplier, "skip_replica_start": reasonApplier, "skip_slave_start": reasonApplier,
		"init_replica": reasonApplier, "init_slave": reasonApplier,
		"datadir": files, "basedir": files, "tmpdir": files, "pid_file": files, "log_error": files, "log_bin_index": files, "log_bin_basename": files,
		"general_log_file": files, "slow_query_log_file": files,
		"innodb_data_home_dir": files, "innodb_data_file_path": files, "innodb_directories": files, "innodb_log_group_home_dir": files,
		"innodb_undo_directory": files, "innodb_temp_data_file_path": files, "innodb_temp_tablespaces_dir": files, "innodb_tmpdir": files,
		"innodb_doublewrite_dir": files, "secure_file_priv": files, "character_sets_dir": files, "lc_messages_dir": files, "keyring_file_data": files,
		"read_only": writable, "super_read_only": writable, "offline_mode": writable, "innodb_read_only": writable,
		"user": start, "chroot": start, "daemonize": start, "init_file": start, "initialize": start, "initialize_insecure": start, "bootstrap": start,
		"skip_grant_tables": start, "upgrade": start, "persisted_globals_load": start, "persist_only_admin_x509_subject": start, "innodb_force_recovery": start,
		"defaults_file": start, "defaults_extra_file": start, "no_defaults": start,
		"plugin_load": plugins, "plugin_load_add": plugins, "early_plugin_load": plugins, "plugin_dir": plugins,
		"log_raw": secrets, "log_error_services": needed, "log_syslog": needed, "performance_schema": needed, "sql_require_primary_key": keys,
		"authentication_policy": accounts, "default_authentication_plugin": accounts, "skip_name_resolve": accounts,
		"disabled_storage_engines":               engines,
		"auto_generate_certs":                    reasonTLS,
		"sha256_password_auto_generate_rsa_keys": reasonTLS, "caching_sha2_password_auto_generate_rsa_keys": reasonTLS,
		"group_replication_single_primary_mode": "one member takes writes. With several, transactions that touch the same rows fail at commit, " +
			"which most applications do not expect; an application that needs READ-COMMITTED cannot be told that it is safe",
		"group_replication_enforce_update_everywhere_checks": "it is for groups in which several members take writes, and this is none",
		"group_replication_bootstrap_group":                  "a member that begins a group beside the one that there is makes two databases out of one; a group begins once, by preferred_primary and bootstrap_epoch",
		"group_replication_start_on_boot":                    "the agent decides when a member joins: after an outage of all, the one with the newest data has to begin",
		"group_replication_member_weight":                    "it is the argument weight of atoll_database_member",
		"group_replication_member_expel_timeout":             "Atoll sets 0: every second more keeps writers out a second longer after a crash, and members that were only slow come back by themselves",
		"group_replication_autorejoin_tries":                 "Atoll sets 3, and the agent brings a member back that does not come by itself",
		"group_replication_unreachable_majority_timeout":     "a member without a majority waits, blocked: leaving would make it take its own data for all there is",
		"group_replication_exit_state_action":                "a member that is thrown out takes no writes, and its agent brings it back",
	}
}

// ownedPrefix is the beginning of the names of settings that Atoll sets, or leaves alone.
type ownedPrefix struct{ prefix, reason string }

func ownedMySQLPrefixes() []ownedPrefix {
	return []ownedPrefix{
		{"group_replication_", "Atoll sets up the group; of its settings only flow control, consistency and the sizes of messages and transactions are free"},
		{"mysqlx", "the X protocol is off: applications use the router's ports"},
		{"ssl_", reasonTLS},
		{"tls_", reasonTLS},
		{"clone_", "the agent decides when and how a new member copies everything"},
		{"relay_log", reasonApplier},
		{"replicate_", reasonApplier},
		{"admin_", "there is no administrative listener: the agent uses the socket"},
		{"loose_", "a setting that the server does not know must not pass unnoticed"},
		{"maximum_", "it limits a setting without setting it"},
		{"enable_", "write the variable itself"},
		{"disable_", "write the variable itself"},
		{"skip_", "write the variable itself"},
	}
}

// freeMySQLSettings are the settings that are the operator's although they begin like those that are not.
func freeMySQLSettings() []string {
	return []string{
		"group_replication_consistency", "group_replication_transaction_size_limit", "group_replication_message_cache_size",
		"group_replication_compression_threshold", "group_replication_communication_max_message_size", "group_replication_poll_spin_loops",
		"group_replication_flow_control_mode", "group_replication_flow_control_applier_threshold", "group_replication_flow_control_certifier_threshold",
		"group_replication_flow_control_hold_percent", "group_replication_flow_control_max_quota", "group_replication_flow_control_member_quota_percent",
		"group_replication_flow_control_min_quota", "group_replication_flow_control_min_recovery_quota", "group_replication_flow_control_period",
		"group_replication_flow_control_release_percent",
	}
}

// boundSetting is a setting that is the operator's within limits.
type boundSetting struct {
	allowed []string
	reason  string
}

// boundMySQLSettings returns the settings of which only some values are safe in a group.
func boundMySQLSettings() map[string]boundSetting {
	const (
		durable = "a member that loses power would forget what it has acknowledged, to applications and to the group"
		engine  = "only InnoDB tables are replicated"
	)
	return map[string]boundSetting{
		"sync_binlog":                    {[]string{"1"}, durable},
		"innodb_flush_log_at_trx_commit": {[]string{"1"}, durable},
		"innodb_doublewrite":             {[]string{"ON", "DETECT_AND_RECOVER"}, "a page that is half written when the power goes could not be mended"},
		"innodb_fast_shutdown":           {[]string{"0", "1"}, "the server would end like in a crash each time it is stopped"},
		"innodb_flush_method":            {[]string{"O_DIRECT", "O_DIRECT_NO_FSYNC", "fsync", "O_DSYNC"}, durable},
		"binlog_error_action":            {[]string{"ABORT_SERVER"}, "a member that cannot write its log would go on without it, and miss transactions from then on"},
		"default_storage_engine":         {[]string{"InnoDB"}, engine},
		"default_tmp_storage_engine":     {[]string{"InnoDB"}, engine},
		"transaction_isolation": {
			[]string{"READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"},
			"an application would see what the group may yet refuse, and what a failover takes back",
		},
		"innodb_dedicated_server": {[]string{"OFF"}, "the node is not the database's alone: the server would take all of its memory"},
		"transaction_read_only":   {[]string{"OFF"}, "the group itself decides who takes writes"},
	}
}

// fewestConnections is how many the members, the router and the agent need among themselves, and an operator who looks what is wrong.
const fewestConnections = 50

// MySQLSettingsOfData returns the settings that are fixed when a database's data is made: no later change has an effect.
func MySQLSettingsOfData() []string {
	return []string{"innodb_page_size", "lower_case_table_names"}
}
