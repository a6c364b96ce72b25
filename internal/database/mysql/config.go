package mysql

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

// setting is one line of the configuration. Why is printed above it.
type setting struct{ name, value, why string }

const mib = 1 << 20

// settings returns everything that the server is told: what Atoll needs, what it finds best, and what the operator wants
// instead of that or besides. Memory is the machine's, in bytes, 0 for unknown.
func settings(m *database.Member, memory uint64) []setting {
	out := slices.Concat(placeSettings(m), dataSettings(), groupSettings(m), sizeSettings(memory))
	for _, name := range slices.Sorted(maps.Keys(m.Settings)) {
		own := setting{loose(name), m.Settings[name], "From the settings of the database."}
		if i := slices.IndexFunc(out, func(s setting) bool { return s.name == own.name }); i >= 0 {
			out[i] = own
			continue
		}
		out = append(out, own)
	}
	return out
}

// loose returns how a variable is named in a configuration. Those of a plugin are not known while the server only looks at its
// configuration or makes its data, and would be errors there.
func loose(name string) string {
	if strings.HasPrefix(name, "group_replication_") {
		return "loose_" + name
	}
	return name
}

// placeSettings are where the server is and who may reach it.
func placeSettings(m *database.Member) []setting {
	return []setting{
		{"user", "mysql", ""},
		{"datadir", dataDir, ""},
		{"socket", socketPath, ""},
		{"pid_file", pidPath, ""},
		{"port", strconv.Itoa(int(m.Address.Port())), ""},
		{"bind_address", m.Address.Addr().String() + ",127.0.0.1", "The mesh, and programs of this node: nobody else reaches the server."},
		{"mysqlx", "OFF", "Nothing here speaks the X protocol."},
		{"skip_name_resolve", "ON", "A name server that is slow or away must not hold connections up."},
		{"report_host", m.Address.Addr().String(), "What the members call this one: an address that needs no name server."},
		{"report_port", strconv.Itoa(int(m.Address.Port())), ""},
		{"server_id", strconv.FormatUint(uint64(m.ID), 10), "No other member has it."},
		{"plugin_load_add", "auth_socket.so;group_replication.so;mysql_clone.so", "root comes by the socket alone; the group; copies of everything for new members."},
		{"secure_file_priv", "NULL", "SQL reads and writes no files of the node."},
		{"local_infile", "OFF", ""},
	}
}

// dataSettings are what keeps data that was acknowledged.
func dataSettings() []setting {
	return []setting{
		{"super_read_only", "ON", "A server that starts is in no group and takes no writes; the group lifts that for its primary."},
		{"innodb_flush_log_at_trx_commit", "1", "What is acknowledged is on this member's disk, so that it survives a power cut of all members at once."},
		{"sync_binlog", "1", "As above: without its binary log a member does not know what it has."},
		{"gtid_mode", "ON", "Transactions have names: positions are compared by them."},
		{"enforce_gtid_consistency", "ON", ""},
		{"log_bin", "binlog", "Members that were away take from it what they missed."},
		{"log_replica_updates", "ON", "Any member may be the one that is asked."},
		{"binlog_expire_logs_seconds", "604800", "A week: who was away longer gets a copy of everything."},
		{"relay_log", "relay", ""},
		{"relay_log_recovery", "OFF", "What a member has received and not applied yet counts when all have failed: it is not thrown away at a start."},
		{"replica_preserve_commit_order", "ON", "A secondary never shows a later transaction without an earlier one."},
		{"default_storage_engine", "InnoDB", "The only engine that Group Replication replicates."},
		{"disabled_storage_engines", "MyISAM,BLACKHOLE,FEDERATED,ARCHIVE,MEMORY", "What they hold would be on one member alone."},
		{"sql_require_primary_key", "ON", "A table without one cannot be written in a group; better that it cannot be made."},
		{"transaction_isolation", "READ-COMMITTED", "Fewer locks and deadlocks than REPEATABLE-READ; what Nextcloud and others demand."},
		{"character_set_server", "utf8mb4", ""},
	}
}

// groupSettings are the group's.
func groupSettings(m *database.Member) []setting {
	seeds := make([]string, len(m.Peers))
	for i, p := range m.Peers {
		seeds[i] = p.Address.String()
	}
	out := []setting{
		{"group_name", m.Group, ""},
		{"local_address", m.Address.String(), ""},
		{"group_seeds", strings.Join(seeds, ","), ""},
		{"communication_stack", "MYSQL", "The members speak at the server's own port, as accounts of the server."},
		{"ssl_mode", "REQUIRED", "Encrypted. Who the other is, the mesh and the account prove."},
		{"recovery_use_ssl", "ON", ""},
		{"start_on_boot", "OFF", "After an outage, who begins is not for one server to decide."},
		{"bootstrap_group", "OFF", "As above."},
		{"single_primary_mode", "ON", "One member writes: transactions never conflict between members, and every kind of them works."},
		{"enforce_update_everywhere_checks", "OFF", ""},
		{
			"member_expel_timeout", "0", "A member that is silent is suspected after 5 s, which is fixed, and put out at once then: writes go on " +
				"after 6 to 7 s. The server's own 5 s more make that 21 s, 1 s does as well. One that was put out comes back by itself.",
		},
		{"autorejoin_tries", "3", "One at once, then every five minutes; the agent does not wait for those."},
		{
			"unreachable_majority_timeout", "0", "A member without a majority takes no writes and waits. When the paths come back before the others have " +
				"put it out, all goes on as if nothing had been: leaving by itself would make an outage of the mesh one of the group.",
		},
		{
			"exit_state_action", "OFFLINE_MODE", "A member that was put out and cannot come back ends its clients' connections, so that they look for the " +
				"primary and read nothing that is long over.",
		},
		{"member_weight", strconv.Itoa(m.Weight), "How much it is preferred as the next primary."},
		{"consistency", "BEFORE_ON_PRIMARY_FAILOVER", "A new primary answers nobody before it has applied all that the old one acknowledged."},
	}
	for i := range out {
		out[i].name = loose("group_replication_" + out[i].name)
	}
	return out
}

// sizeSettings are what costs memory. The node is there for an application, too, and may be the smallest machine to be had.
func sizeSettings(memory uint64) []setting {
	pool := uint64(128 * mib)
	if memory >= 4096*mib {
		// A quarter, in whole steps of the pool's chunks.
		pool = memory / 4 / (128 * mib) * (128 * mib)
	}
	messages, buffer, tables, temporary := uint64(256*mib), uint64(16*mib), 2000, uint64(256*mib)
	if memory < 4096*mib {
		messages, buffer, tables, temporary = 128*mib, 4*mib, 400, 32*mib
	}
	bytes := func(n uint64) string { return strconv.FormatUint(n, 10) }
	out := []setting{
		{"innodb_buffer_pool_size", bytes(pool), "A quarter of the machine's memory from 4 GiB on: the application lives here, too."},
		{"innodb_log_buffer_size", bytes(buffer), ""},
		{"table_open_cache", strconv.Itoa(tables), ""},
		{"table_definition_cache", strconv.Itoa(tables), ""},
		{"temptable_max_ram", bytes(temporary), "Of all temporary tables together; larger ones go to the disk."},
		{
			loose("group_replication_message_cache_size"), bytes(messages), "For members that are away for moments; the server's own 1 GiB is more than " +
				"small machines have.",
		},
		{"performance_schema", "ON", "The group's state is told there."},
	}
	if memory >= 4096*mib {
		return out
	}
	// Measured with 9.7: a server that does nothing takes 540 MB as it comes, 380 MB with the smaller caches above, 320 MB with
	// these as well.
	return append(out,
		setting{"performance_schema_error_size", "0", "On a small machine, statistics of every possible error for every thread are too dear, and what is below as well."},
		setting{"performance_schema_max_memory_classes", "0", ""},
		setting{"performance_schema_digests_size", "500", ""},
		setting{"performance_schema_events_statements_history_long_size", "100", ""},
		setting{"performance_schema_events_waits_history_long_size", "100", ""},
		setting{"performance_schema_events_stages_history_long_size", "100", ""},
		setting{"performance_schema_events_transactions_history_long_size", "100", ""},
	)
}

// render returns the settings as a file for the server.
func render(list []setting) string {
	var b strings.Builder
	b.WriteString("# Written by atolld; changes are overwritten. Settings of your own belong into the database's settings.\n[mysqld]\n")
	for _, s := range list {
		if s.why != "" {
			b.WriteString("\n# " + s.why + "\n")
		}
		fmt.Fprintf(&b, "%s = %s\n", s.name, quoteOption(s.value))
	}
	return b.String()
}

// quoteOption returns a value as the server's option files want it (MySQL Reference Manual, "Using Option Files").
func quoteOption(value string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,:;/+%@="
	if value != "" && strings.Trim(value, plain) == "" {
		return value
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}

// parse returns the settings of a file that render has made, without their reasons. What it does not understand it leaves out.
func parse(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if len(value) > 1 && value[0] == '"' {
			value = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(value[1 : len(value)-1])
		}
		out[name] = value
	}
	return out
}

// digest identifies settings, "" for none.
func digest(settings map[string]string) string {
	if len(settings) == 0 {
		return ""
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(sum, "%s=%s\n", name, settings[name])
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// memoryOf returns the machine's memory in bytes by what /proc/meminfo says, 0 when it says nothing.
func memoryOf(meminfo string) uint64 {
	for line := range strings.Lines(meminfo) {
		f := strings.Fields(line)
		if len(f) > 1 && f[0] == "MemTotal:" {
			kib, err := strconv.ParseUint(f[1], 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// changed returns the names whose values differ, sorted.
func changed(from, to map[string]string) []string {
	var out []string
	for name := range from {
		if other, there := to[name]; !there || other != from[name] {
			out = append(out, name)
		}
	}
	for name := range to {
		if _, there := from[name]; !there {
			out = append(out, name)
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return out
}
