package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

// Maintain implements database.Driver.
func (d *Driver) Maintain(ctx context.Context, m *database.Member) error {
	d.change.Lock()
	defer d.change.Unlock()
	g, err := readGroup(ctx, d.local)
	if err != nil {
		return fmt.Errorf("maintain database %s: %w", m.Database, err)
	}
	if p, ok := g.primary(); !ok || p.id != g.own {
		return nil
	}
	var readOnly bool
	if err := d.local.QueryRowContext(ctx, "SELECT @@GLOBAL.super_read_only").Scan(&readOnly); err != nil || readOnly {
		return err
	}
	for _, step := range []func(context.Context, *database.Member) error{d.putMetadataSchema, d.putOwnAccounts, d.putSchemas, d.putUsers} {
		if err := step(ctx, m); err != nil {
			return fmt.Errorf("maintain database %s: %w", m.Database, err)
		}
	}
	if err := d.putInstances(ctx, m, g); err != nil {
		return fmt.Errorf("maintain what routers read of database %s: %w", m.Database, err)
	}
	return nil
}

// putOwnAccounts makes the accounts of members and routers, as part of the data.
func (d *Driver) putOwnAccounts(ctx context.Context, m *database.Member) error {
	want := mark{Password: fingerprint(replicationPassword(m))}
	have, exists, err := readMark(ctx, d.local, replicationUser)
	if err != nil {
		return err
	}
	if have != want {
		conn, err := d.local.Conn(ctx)
		if err != nil {
			return err
		}
		err = quietly(ctx, conn, func() error { return putReplicationAccount(ctx, conn, m, exists, want) })
		if err := errors.Join(err, conn.Close()); err != nil {
			return err
		}
	}
	want = mark{Password: fingerprint(m.Secrets.Router)}
	if have, exists, err = readMark(ctx, d.local, routerUser); err != nil {
		return err
	}
	if have != want {
		if err := d.putAccountQuietly(ctx, routerUser, m.Secrets.Router, "REQUIRE SSL", exists, want); err != nil {
			return err
		}
	}
	// It reads only: a router that wrote would put a transaction into the group each time.
	return d.putGrants(ctx, routerUser, map[string]string{
		"`performance_schema`.*":     "SELECT",
		"`" + metadataSchema + "`.*": "SELECT, EXECUTE",
	}, m)
}

// putSchemas makes the schemas that are missing.
func (d *Driver) putSchemas(ctx context.Context, m *database.Member) error {
	have, err := d.column(ctx, "SELECT schema_name FROM information_schema.schemata")
	if err != nil {
		return fmt.Errorf("look for schemas: %w", err)
	}
	for _, schema := range m.Schemas {
		if slices.Contains(have, schema) {
			continue
		}
		if _, err := d.local.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+name(schema)); err != nil {
			return fmt.Errorf("make schema %s: %w", schema, err)
		}
	}
	return nil
}

// column returns the first column of what is asked for.
func (d *Driver) column(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := d.local.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var text sql.NullString
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text.String)
	}
	return out, rows.Err()
}

// putUsers makes the accounts of applications as they should be, and removes those that are not wanted any more.
func (d *Driver) putUsers(ctx context.Context, m *database.Member) error {
	for _, user := range slices.Sorted(maps.Keys(m.Users)) {
		u := m.Users[user]
		want := mark{Database: m.Database, Password: strconv.FormatInt(u.Version, 10)}
		have, exists, err := readMark(ctx, d.local, user)
		if err != nil {
			return err
		}
		if have != want {
			if err := d.putAccountQuietly(ctx, user, u.Password, "REQUIRE NONE", exists, want); err != nil {
				return err
			}
		}
		schemas := u.Schemas
		if len(schemas) == 0 {
			schemas = m.Schemas
		}
		grants := map[string]string{}
		for _, schema := range schemas {
			grants[pattern(schema)] = "ALL PRIVILEGES"
		}
		if err := d.putGrants(ctx, user, grants, m); err != nil {
			return err
		}
	}
	ours, err := d.column(ctx, `SELECT user FROM information_schema.user_attributes
WHERE host = '%' AND JSON_UNQUOTE(JSON_EXTRACT(attribute, '$.atoll.database')) = ?`, m.Database)
	if err != nil {
		return fmt.Errorf("look for accounts that are not wanted any more: %w", err)
	}
	for _, user := range ours {
		if _, wanted := m.Users[user]; wanted {
			continue
		}
		if _, err := d.local.ExecContext(ctx, "DROP USER IF EXISTS "+quote(user)+"@'%'"); err != nil {
			return fmt.Errorf("remove account %s: %w", user, err)
		}
	}
	return nil
}

// pattern returns a schema as grants have it, where an underscore stands for any character unless it is escaped.
func pattern(schema string) string {
	return name(strings.ReplaceAll(schema, "_", `\_`)) + ".*"
}

// grantLine is one of the lines of SHOW GRANTS.
var grantLine = regexp.MustCompile("^GRANT (.+) ON (?:TABLE )?(.+) TO `.*`@`.*`$")

// putGrants gives an account what it may do at each object. What it may do at other schemas is taken away from it when it is
// Atoll's; what somebody has granted besides for the whole server stays.
func (d *Driver) putGrants(ctx context.Context, user string, want map[string]string, m *database.Member) error {
	lines, err := d.column(ctx, "SHOW GRANTS FOR "+quote(user)+"@'%'")
	if err != nil {
		return fmt.Errorf("look what account %s may do: %w", user, err)
	}
	have := map[string]string{}
	for _, line := range lines {
		if f := grantLine.FindStringSubmatch(line); f != nil {
			have[f[2]] = f[1]
		}
	}
	for _, object := range slices.Sorted(maps.Keys(want)) {
		if want[object] == "" || have[object] == want[object] {
			continue
		}
		if _, err := d.local.ExecContext(ctx, "GRANT "+want[object]+" ON "+object+" TO "+quote(user)+"@'%'"); err != nil {
			return fmt.Errorf("let account %s use %s: %w", user, object, err)
		}
	}
	for _, object := range slices.Sorted(maps.Keys(have)) {
		if _, wanted := want[object]; wanted || object == "*.*" {
			continue
		}
		if _, err := d.local.ExecContext(ctx, "REVOKE "+have[object]+" ON "+object+" FROM "+quote(user)+"@'%'"); err != nil {
			return fmt.Errorf("take %s of database %s away from account %s: %w", object, m.Database, user, err)
		}
	}
	return nil
}
