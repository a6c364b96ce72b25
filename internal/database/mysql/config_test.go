package mysql_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/database/mysql"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

func aMember() *database.Member {
	return &database.Member{
		Database: "app", Group: "3f0a1b5e-7c56-4c55-9d7e-0a6c8f1f2b3c", Node: "hk1", ID: 4711, Weight: 80,
		Address: netip.MustParseAddrPort("10.20.0.1:3306"),
		Peers: []database.Peer{
			{Node: "hk2", Address: netip.MustParseAddrPort("10.20.0.2:3306")}, {Node: "sg1", Address: netip.MustParseAddrPort("10.20.0.3:3306")},
		},
		Schemas: []string{"app"}, Users: map[string]database.User{"app": {Password: "a secret", Version: 1}},
		Secrets: database.Secrets{Replication: "another secret", Router: "a third one"},
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestConfig(t *testing.T) {
	own := aMember()
	own.Settings = map[string]string{
		"innodb_buffer_pool_size": "2G", "sql_mode": "STRICT_ALL_TABLES,NO_ZERO_DATE", "init_connect": `SET NAMES 'utf8mb4' # "x"\`,
		"group_replication_flow_control_mode": "DISABLED",
	}
	tests := []struct {
		file   string
		member *database.Member
		memory uint64
	}{
		{"small.golden", aMember(), 1 << 30},
		{"large.golden", aMember(), 16 << 30},
		{"own.golden", own, 4 << 30},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			text := mysql.Config(tt.member, tt.memory)
			golden(t, tt.file, text)
			for _, secret := range []string{"a secret", "another secret", "a third one"} {
				if strings.Contains(text, secret) {
					t.Errorf("the configuration holds %q", secret)
				}
			}
			parsed := mysql.Parse(text)
			for name, value := range tt.member.Settings {
				if strings.HasPrefix(name, "group_replication_") {
					name = "loose_" + name
				}
				if parsed[name] != value {
					t.Errorf("%s is %q, want %q", name, parsed[name], value)
				}
			}
		})
	}
}

func TestUnit(t *testing.T) {
	golden(t, "unit.golden", mysql.UnitText())
	golden(t, "prepare.golden", mysql.Prepare("3f0a1b5e-7c56-4c55-9d7e-0a6c8f1f2b3c", "10.20.0.1", mysql.HexAddress(netip.MustParseAddr("10.20.0.1"))))
}

func TestHexAddress(t *testing.T) {
	if got := mysql.HexAddress(netip.MustParseAddr("fd00::12")); got != "fd000000000000000000000000000012" {
		t.Errorf("got %s", got)
	}
}

// TestOwnSettingsAreRefused holds two lists together: what the driver needs as it is, no operator can set.
func TestOwnSettingsAreRefused(t *testing.T) {
	// These are what the driver finds best, not what it needs.
	free := []string{
		"binlog_expire_logs_seconds", "transaction_isolation", "character_set_server", "innodb_buffer_pool_size", "innodb_log_buffer_size",
		"table_open_cache", "table_definition_cache", "temptable_max_ram", "group_replication_message_cache_size", "group_replication_consistency",
		"local_infile", "default_storage_engine",
	}
	for _, name := range mysql.Names(aMember()) {
		name = strings.TrimPrefix(name, "loose_")
		if slices.Contains(free, name) || strings.HasPrefix(name, "performance_schema_") {
			continue
		}
		if problems := spec.ValidateMySQLSettings("settings", map[string]string{name: "7"}); len(problems) == 0 {
			t.Errorf("an operator can set %s, which the driver needs as it is", name)
		}
	}
}

func TestDigest(t *testing.T) {
	m := aMember()
	one := mysql.Parse(mysql.Config(m, 1<<30))
	if got := mysql.Digest(one); len(got) != 16 || got != mysql.Digest(mysql.Parse(mysql.Config(aMember(), 1<<30))) {
		t.Errorf("one configuration has two digests, %q is one", got)
	}
	if mysql.Digest(nil) != "" {
		t.Error("no settings have a digest")
	}
	m.Weight, m.Settings = 10, map[string]string{"max_connections": "300"}
	two := mysql.Parse(mysql.Config(m, 1<<30))
	if mysql.Digest(one) == mysql.Digest(two) {
		t.Error("two configurations have one digest")
	}
	want := []string{"loose_group_replication_member_weight", "max_connections"}
	if diff := cmp.Diff(want, mysql.Changed(one, two)); diff != "" {
		t.Errorf("what has changed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, mysql.Changed(two, one)); diff != "" {
		t.Errorf("what has changed back (-want +got):\n%s", diff)
	}
}

func TestMemoryOf(t *testing.T) {
	for text, want := range map[string]uint64{
		"MemTotal:        1000 kB\nMemFree: 1 kB\n": 1024000, "MemFree: 1 kB\n": 0, "MemTotal: much kB\n": 0, "": 0,
	} {
		if got := mysql.MemoryOf(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}
