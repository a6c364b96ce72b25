package writer

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// state is what a member has.
type state struct {
	position string
	sums     map[string]string
}

// Equal returns what differs between members: their executed transactions, and the checksum of each table but the server's own.
// Nobody may write meanwhile. The servers' accounts must be able to read everything.
func Equal(ctx context.Context, members []Server) error {
	var first state
	for i, m := range members {
		s, err := read(ctx, m)
		if err != nil {
			return fmt.Errorf("read what %s has: %w", m.Name, err)
		}
		if i == 0 {
			first = s
			continue
		}
		if s.position != first.position {
			return fmt.Errorf("%s has executed %s, %s %s", members[0].Name, first.position, m.Name, s.position)
		}
		for _, table := range slices.Sorted(maps.Keys(union(first.sums, s.sums))) {
			if s.sums[table] != first.sums[table] {
				return fmt.Errorf("table %s has the checksum %s on %s, %s on %s", table, first.sums[table], members[0].Name, s.sums[table], m.Name)
			}
		}
	}
	return nil
}

func union(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func read(ctx context.Context, m Server) (state, error) {
	s := state{sums: map[string]string{}}
	err := m.Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		if err := conn.QueryRowContext(ctx, `SELECT @@GLOBAL.gtid_executed`).Scan(&s.position); err != nil {
			return err
		}
		s.position = strings.ReplaceAll(s.position, "\n", "")
		names, err := tableNames(ctx, conn)
		if err != nil {
			return err
		}
		for _, name := range names {
			var table string
			var sum sql.NullString
			if err := conn.QueryRowContext(ctx, "CHECKSUM TABLE "+name).Scan(&table, &sum); err != nil {
				return err
			}
			s.sums[name] = sum.String
		}
		return nil
	})
	return s, err
}

func tableNames(ctx context.Context, conn *sql.Conn) ([]string, error) {
	rows, err := conn.QueryContext(ctx, "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables "+
		"WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema') ORDER BY 1")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
