package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

//go:embed metadata.sql
var metadata string

const metadataSchema = "mysql_innodb_cluster_metadata"

// statements returns the statements of a text, without its comments.
func statements(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ";\n") {
		lines := slices.DeleteFunc(strings.Split(part, "\n"), func(line string) bool { return strings.HasPrefix(line, "--") })
		if s := strings.TrimSpace(strings.Join(lines, "\n")); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// routerRow makes the row that all routers share: they are all alike, and none of them writes anything. Reads go on where a
// member has lost its majority, and routers keep no statistics here.
const routerRow = "REPLACE INTO " + metadataSchema + `.routers (router_id, router_name, product_name, address, version, attributes, cluster_id, options)
VALUES (1, 'atoll', 'MySQL Router', 'atoll', '9.7.4', '{}', ?, '{"unreachable_quorum_allowed_traffic": "read", "stats_updates_frequency": 0}')`

// metadataAttributes is what the cluster's row says of the schema around it.
func metadataAttributes() string {
	sum := sha256.Sum256([]byte(metadata + routerRow))
	return `{"atoll": "` + hex.EncodeToString(sum[:8]) + `"}`
}

// putMetadataSchema makes the tables and views that routers read, and makes the views again when another release of Atoll has
// others.
func (d *Driver) putMetadataSchema(ctx context.Context, m *database.Member) error {
	have, err := d.column(ctx, "SELECT table_name FROM information_schema.tables WHERE table_schema = ?", metadataSchema)
	if err != nil {
		return fmt.Errorf("look for the metadata of routers: %w", err)
	}
	all := statements(metadata)
	if len(have) >= len(all) {
		var current bool
		err := d.local.QueryRowContext(ctx, "SELECT attributes = CAST(? AS JSON) FROM "+metadataSchema+".clusters WHERE cluster_id = ?",
			metadataAttributes(), m.Group).Scan(&current)
		if err == nil && current {
			return nil
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("look at the metadata of routers: %w", err)
		}
	}
	if err := inOrder(ctx, d.local, append([]string{"CREATE DATABASE IF NOT EXISTS " + metadataSchema + " CHARACTER SET utf8mb4"}, all...)...); err != nil {
		return fmt.Errorf("make the metadata of routers: %w", err)
	}
	if _, err := d.local.ExecContext(ctx, routerRow, m.Group); err != nil {
		return fmt.Errorf("write what routers are told of themselves: %w", err)
	}
	_, err = d.local.ExecContext(ctx, "INSERT INTO "+metadataSchema+".clusters (cluster_id, cluster_name, group_name, attributes, options) "+
		"VALUES (?, ?, ?, ?, '{}') AS new ON DUPLICATE KEY UPDATE cluster_name = new.cluster_name, attributes = new.attributes",
		m.Group, m.Database, m.Group, metadataAttributes())
	if err != nil {
		return fmt.Errorf("name the cluster for routers: %w", err)
	}
	return nil
}

// putInstances keeps one row for each member. That of a member that is away stays until it is back, then with the id of its new
// server if it has one.
func (d *Driver) putInstances(ctx context.Context, m *database.Member, g group) error {
	rows, err := d.local.QueryContext(ctx, "SELECT label, address, mysql_server_uuid FROM "+metadataSchema+".instances")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	type row struct{ address, id string }
	have := map[string]row{}
	for rows.Next() {
		var label string
		var r row
		if err := rows.Scan(&label, &r.address, &r.id); err != nil {
			return err
		}
		have[label] = r
	}
	if err := rows.Err(); err != nil {
		return err
	}
	members := map[string]netip.AddrPort{m.Node: m.Address}
	for _, p := range m.Peers {
		members[p.Node] = p.Address
	}
	for label := range have {
		if _, wanted := members[label]; !wanted {
			if _, err := d.local.ExecContext(ctx, "DELETE FROM "+metadataSchema+".instances WHERE label = ?", label); err != nil {
				return err
			}
		}
	}
	for _, p := range g.members {
		node := nodeAt(m, p.address)
		if address, ours := members[node]; !ours || (have[node] == row{address.String(), p.id}) {
			continue
		}
		err := d.inTransaction(ctx,
			statement{"DELETE FROM " + metadataSchema + ".instances WHERE label = ? OR mysql_server_uuid = ?", []any{node, p.id}},
			statement{
				"INSERT INTO " + metadataSchema + ".instances (cluster_id, address, mysql_server_uuid, label, attributes) VALUES (?, ?, ?, ?, JSON_OBJECT('mysqlClassic', ?))",
				[]any{m.Group, p.address.String(), p.id, node, p.address.String()},
			},
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// statement is SQL with its arguments.
type statement struct {
	query string
	args  []any
}

// inTransaction runs statements, all of them or none.
func (d *Driver) inTransaction(ctx context.Context, list ...statement) error {
	tx, err := d.local.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, s := range list {
		if _, err := tx.ExecContext(ctx, s.query, s.args...); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}
