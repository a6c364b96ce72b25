package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// Preflight implements database.Driver.
func (d *Driver) Preflight(ctx context.Context) ([]database.Finding, error) {
	m, err := d.applied()
	if err != nil {
		return nil, err
	}
	donors, err := d.donors(ctx, m)
	var none *NoGroupError
	if err != nil && !errors.As(err, &none) {
		return nil, err
	}
	return d.preflight(ctx, m, donors)
}

// leastMemory is what a server needs beside the application, in bytes; less makes it swap or be killed.
const leastMemory = 900 * mib

// spare is what must stay free beside a copy, in bytes: logs are written meanwhile.
const spare = 512 * mib

// preflight looks for what speaks against joining. Donors are the members that answer; there may be none.
func (d *Driver) preflight(ctx context.Context, m *database.Member, donors []donor) ([]database.Finding, error) {
	var out []database.Finding
	find := func(check string, severity database.Severity, format string, args ...any) {
		out = append(out, database.Finding{Check: check, Severity: severity, Message: fmt.Sprintf(format, args...)})
	}
	var version, gtid, consistency, own string
	var id uint32
	err := d.local.QueryRowContext(ctx, "SELECT @@GLOBAL.version, @@GLOBAL.gtid_mode, @@GLOBAL.enforce_gtid_consistency, @@GLOBAL.server_id, "+positionOf).
		Scan(&version, &gtid, &consistency, &id, &own)
	if err != nil {
		return nil, fmt.Errorf("ask the local server: %w", err)
	}
	if gtid != "ON" || consistency != "ON" {
		find("gtid", database.Blocks, "gtid_mode is %s and enforce_gtid_consistency is %s on %s, both must be ON: restart the server", gtid, consistency, m.Node)
	}
	if err := d.checkTables(ctx, m, find); err != nil {
		return nil, err
	}
	checkDonors(m.Node, version, id, donors, find)
	return out, d.checkMachine(ctx, m, own, donors, find)
}

// checkDonors compares a server with those of the group.
func checkDonors(node, version string, id uint32, donors []donor, find func(string, database.Severity, string, ...any)) {
	for _, donor := range donors {
		if donor.id == id {
			find("server-id", database.Blocks, "%s and %s have the same server_id, %d", node, donor.node, id)
		}
		if lessThan(series(version), series(donor.version)) {
			find("version", database.Blocks, "%s has MySQL %s, %s has %s: a member cannot be older than the group; upgrade it", node, version, donor.node, donor.version)
		} else if series(version) != series(donor.version) {
			find("version", database.Warns, "%s has MySQL %s, %s has %s: bring all members to one series soon", node, version, donor.node, donor.version)
		}
	}
}

// series returns the two first numbers of a version.
func series(version string) [2]int {
	var out [2]int
	for i, part := range strings.SplitN(version, ".", 3) {
		if i < 2 {
			out[i], _ = strconv.Atoi(part) // what is no number is 0
		}
	}
	return out
}

func lessThan(a, b [2]int) bool { return a[0] < b[0] || a[0] == b[0] && a[1] < b[1] }

// checkTables looks for tables that a group cannot have.
func (d *Driver) checkTables(ctx context.Context, m *database.Member, find func(string, database.Severity, string, ...any)) error {
	for _, c := range []struct{ check, query, what string }{
		{
			"engine", `SELECT GROUP_CONCAT(CONCAT(table_schema, '.', table_name) ORDER BY 1 SEPARATOR ', ') FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND engine <> 'InnoDB' AND table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')`,
			"are not of the engine InnoDB, and would not be replicated: ALTER TABLE … ENGINE = InnoDB",
		},
		{
			"primary-keys", `SELECT GROUP_CONCAT(CONCAT(t.table_schema, '.', t.table_name) ORDER BY 1 SEPARATOR ', ') FROM information_schema.tables t
LEFT JOIN information_schema.statistics s ON s.table_schema = t.table_schema AND s.table_name = t.table_name AND s.index_name = 'PRIMARY'
WHERE t.table_type = 'BASE TABLE' AND s.index_name IS NULL AND t.table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')`,
			"have no primary key, and a group cannot write to them: ALTER TABLE … ADD PRIMARY KEY",
		},
	} {
		var tables *string
		if err := d.local.QueryRowContext(ctx, c.query).Scan(&tables); err != nil {
			return fmt.Errorf("look for tables that a group cannot have: %w", err)
		}
		if tables != nil && *tables != "" {
			find(c.check, database.Blocks, "tables on %s %s: %s", m.Node, c.what, *tables)
		}
	}
	return nil
}

// checkMachine looks at memory and disk.
func (d *Driver) checkMachine(ctx context.Context, m *database.Member, own string, donors []donor, find func(string, database.Severity, string, ...any)) error {
	meminfo, err := d.sys.ReadFile("/proc/meminfo")
	if err != nil {
		return fmt.Errorf("read how much memory the machine has: %w", err)
	}
	if memory := memoryOf(string(meminfo)); memory > 0 && memory < leastMemory {
		find("memory", database.Warns, "%s has %s of memory; a member wants 1 GiB at least", m.Node, size(memory))
	}
	free, err := freeRoom(ctx, d.sys)
	if err != nil {
		return err
	}
	if own == "" && len(donors) > 0 {
		need := donors[0].bytes + spare
		if free < need {
			find("disk", database.Blocks, "a copy of the data takes %s, and %s besides; %s has %s left below %s: make room or take a larger disk",
				size(donors[0].bytes), size(spare), m.Node, size(free), stateDir)
		} else {
			find("clone", database.Warns, "%s has no data yet and copies %s from another member; %s are free", m.Node, size(donors[0].bytes), size(free))
		}
	} else if free < spare {
		severity := database.Warns
		if free < scarce {
			// It would wait for room, and the others would wait for it.
			severity = database.Blocks
		}
		find("disk", severity, "%s has %s left below %s: make room; a server that cannot write stops", m.Node, size(free), stateDir)
	}
	if d.rotational(ctx) {
		find("rotational", database.Warns, "the data of %s is on a rotating disk: each commit waits for it, so this member holds the group back", m.Node)
	}
	return nil
}

// rotational tells whether the data is on a disk that rotates, as far as the kernel knows.
func (d *Driver) rotational(ctx context.Context) bool {
	out, err := d.sys.Run(ctx, host.Command{Name: "findmnt", Args: []string{"--noheadings", "--output=MAJ:MIN", "--target", stateDir}, ReadOnly: true})
	if err != nil {
		return false
	}
	device := "/sys/dev/block/" + strings.TrimSpace(string(out.Stdout))
	for _, path := range []string{device + "/queue/rotational", device + "/../queue/rotational"} {
		if text, err := d.sys.ReadFile(path); err == nil {
			return strings.TrimSpace(string(text)) == "1"
		}
	}
	return false
}
