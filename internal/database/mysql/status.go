package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Status implements database.Driver.
func (d *Driver) Status(ctx context.Context) (database.Status, error) {
	ctx, cancel, within := d.patience.limit(ctx)
	defer cancel()
	began := time.Now()
	d.mu.Lock()
	m, joinError := d.member, d.joinError
	d.mu.Unlock()
	st := database.Status{State: spec.MemberDown}
	unit, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			d.patience.tooShort()
		}
		return st, fmt.Errorf("look at the server's unit: %w", err)
	}
	if err := d.statusSettings(ctx, &st); err != nil {
		return st, err
	}
	switch {
	case !unit.Exists:
		st.Problem = "there is no server yet"
		return st, nil
	case unit.State == "activating":
		st.State = spec.MemberPreparing
		st.Progress = "the server starts" + d.fullDisk(ctx)
		return st, nil
	case !unit.Active:
		st.Problem = fmt.Sprintf("the server does not run (%s)%s; see journalctl -u %s", unit.State, d.fullDisk(ctx), unitName)
		return st, nil
	}
	takesWrites, err := d.ask(ctx, m, &st)
	if err != nil {
		st = database.Status{State: spec.MemberDown, Running: st.Running, Wanted: st.Wanted, RestartNeeded: st.RestartNeeded}
		st.Problem = fmt.Sprintf("the server runs but does not answer: %v", err)
		if errors.Is(err, context.DeadlineExceeded) {
			d.patience.tooShort()
			st.Problem = fmt.Sprintf("the server runs but does not answer within %s", within)
		}
		return st, nil
	}
	d.patience.took(time.Since(began))
	if st.State == spec.MemberStranded && st.Problem == "" {
		st.Problem = joinError
	}
	st.Unfit = d.room.unfit(ctx, d.sys)
	// Last, since the group's answer may take all the time that is left: that is not the server's fault, which answers.
	st.Writable = takesWrites && d.proof.confirmed(ctx, d.watch)
	return st, nil
}

// fullDisk says that the disk is full, as what comes after a sentence about a server that does not start; "" when it is not.
func (d *Driver) fullDisk(ctx context.Context) string {
	if why := d.room.unfit(ctx, d.sys); why != "" {
		return "; " + why
	}
	return ""
}

// statusSettings fills in which settings the server runs with and which it should.
func (d *Driver) statusSettings(ctx context.Context, st *database.Status) error {
	text, err := d.sys.ReadFile(configPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	want := parse(string(text))
	st.Wanted = digest(want)
	now, err := d.running(ctx)
	if err != nil {
		return err
	}
	st.Running = digest(now.Settings)
	st.RestartNeeded = st.Running != "" && st.Wanted != "" && st.Running != st.Wanted
	return nil
}

// ask fills in what the server says, and tells whether it takes writes, by its own word.
func (d *Driver) ask(ctx context.Context, m *database.Member, st *database.Status) (takesWrites bool, err error) {
	conn, err := d.watch.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	g, err := readGroup(ctx, conn)
	if err != nil {
		return false, err
	}
	var readOnly, empty bool
	err = conn.QueryRowContext(ctx, `SELECT @@GLOBAL.version, @@GLOBAL.super_read_only, `+positionOf+` = ''`).Scan(&st.Version, &readOnly, &empty)
	if err != nil {
		return false, err
	}
	st.State, st.View = g.memberState(), g.view(m)
	if p, ok := g.primary(); ok {
		st.Primary = nodeAt(m, p.address)
		takesWrites = p.id == g.own && !readOnly
	}
	if empty {
		if st.Fresh, err = withoutSchemas(ctx, conn); err != nil {
			return false, err
		}
	}
	if g.in() {
		err = behind(ctx, conn, st)
	} else {
		err = outside(ctx, conn, g, st)
	}
	if err != nil {
		return false, err
	}
	return takesWrites, copying(ctx, conn, st)
}

// withoutSchemas tells whether the server has no schema but its own.
func withoutSchemas(ctx context.Context, db querier) (bool, error) {
	var none bool
	err := db.QueryRowContext(ctx, `SELECT COUNT(*) = 0 FROM information_schema.schemata
WHERE schema_name NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')`).Scan(&none)
	return none, err
}

// behind fills in how far the member is behind: what waits, and the age of what it applies now.
func behind(ctx context.Context, db querier, st *database.Status) error {
	var late float64
	err := db.QueryRowContext(ctx, `SELECT COALESCE((SELECT count_transactions_in_queue + count_transactions_remote_in_applier_queue
  FROM performance_schema.replication_group_member_stats WHERE member_id = @@GLOBAL.server_uuid), 0),
COALESCE((SELECT MAX(TIMESTAMPDIFF(MICROSECOND, applying_transaction_original_commit_timestamp, NOW(6)))
  FROM performance_schema.replication_applier_status_by_worker
  WHERE channel_name LIKE 'group\_replication\_%' AND applying_transaction <> '' AND applying_transaction_original_commit_timestamp > '2000-01-01'), 0)`).
		Scan(&st.Queue, &late)
	// A member whose clock is behind the primary's is not ahead of it.
	st.Lag = time.Duration(math.Max(0, late)) * time.Microsecond
	return err
}

// outside fills in what is so of a server in no group. One that asks to be let in may be in one the next moment, so it must not say that it
// is in none.
func outside(ctx context.Context, db querier, g group, st *database.Status) error {
	asks, err := starting(ctx, db)
	if err != nil {
		return err
	}
	if asks {
		st.State, st.Progress = spec.MemberPreparing, "is on its way into the group"
		return nil
	}
	return wrong(ctx, db, g, st)
}

// wrong fills in what the server says of why it is in no group.
func wrong(ctx context.Context, db querier, g group, st *database.Status) error {
	if g.self().state != stateError {
		return nil
	}
	err := db.QueryRowContext(ctx, `SELECT data FROM performance_schema.error_log
WHERE prio = 'Error' AND subsystem = 'Repl' ORDER BY logged DESC LIMIT 1`).Scan(&st.Problem)
	if errors.Is(err, sql.ErrNoRows) {
		st.Problem = "the group has put the member out"
		return nil
	}
	return err
}

// copying fills in how far a copy of everything is.
func copying(ctx context.Context, db querier, st *database.Status) error {
	var stage string
	var total, done uint64
	err := db.QueryRowContext(ctx, `SELECT p.stage, p.estimate, p.data FROM performance_schema.clone_progress p
JOIN performance_schema.clone_status s USING (id) WHERE s.state = 'In Progress' AND p.state = 'In Progress' LIMIT 1`).Scan(&stage, &total, &done)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	st.Progress = fmt.Sprintf("copying everything from another member (%s)", stage)
	if total > 0 {
		st.Progress = fmt.Sprintf("copying everything from another member (%s): %s of %s", stage, size(done), size(total))
	}
	return nil
}

// size returns a number of bytes for people.
func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	}
}
