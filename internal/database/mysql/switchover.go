package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

// The words for why a switchover was not made.
const (
	reasonUnknown = "unknown-member"
	reasonOnline  = "not-online"
	reasonLag     = "lag"
	reasonLong    = "long-transactions"
	reasonTimeout = "timeout"
	reasonRefused = "refused"
)

const (
	// catchUp is how many transactions the next primary may have to apply: writes wait for them.
	catchUp = 500
	// longTransaction is the age from which a transaction that has changed something is not expected to end by itself soon.
	longTransaction = 5 * time.Second
	// margin is what is left of the patience, for the change of roles itself, when transactions are ended that do not end by
	// themselves.
	margin = 2 * time.Second
	// endElection is how long the group may take to give an election up.
	endElection = 10 * time.Second
)

// SwitchOver implements database.Driver.
func (d *Driver) SwitchOver(ctx context.Context, to string, patience time.Duration) error {
	d.change.Lock()
	defer d.change.Unlock()
	m, err := d.applied()
	if err != nil {
		return err
	}
	return d.switchOver(ctx, m, to, patience, true)
}

// roles are who takes writes and who is to.
type roles struct {
	g         group
	now, next peerState
}

// rolesFor finds both, and fails with *database.SwitchoverError when the group or the next primary is in no state for a change. What
// it has found until then comes with the error.
func (d *Driver) rolesFor(ctx context.Context, m *database.Member, to string) (r roles, err error) {
	refuse := refusal(to)
	if r.g, err = readGroup(ctx, d.local); err != nil {
		return r, refuse(reasonRefused, "the local server does not answer: %v", err)
	}
	ok := false
	if r.now, ok = r.g.primary(); !ok {
		return r, refuse(reasonOnline, "%s sees no primary and so no group that could change it", m.Node)
	}
	address, known := addressOf(m, to)
	if !known {
		return r, refuse(reasonUnknown, "%s is no voting member of database %s", to, m.Database)
	}
	i := slices.IndexFunc(r.g.members, func(p peerState) bool { return p.address == address })
	if i < 0 || r.g.members[i].state != stateOnline {
		state := "in no group"
		if i >= 0 {
			state = strings.ToLower(r.g.members[i].state)
		}
		return r, refuse(reasonOnline, "it is %s", state)
	}
	r.next = r.g.members[i]
	return r, nil
}

// refusal makes the errors of switchovers to a node.
func refusal(to string) func(reason, format string, args ...any) error {
	return func(reason, format string, args ...any) error {
		return &database.SwitchoverError{To: to, Reason: reason, Message: fmt.Sprintf(format, args...)}
	}
}

// inTheWay says why transactions are in the way of a switchover.
func inTheWay(from string, list []string) string {
	return fmt.Sprintf("transactions at the primary, %s, have been under way for more than %s and would be lost: %s", from, longTransaction, strings.Join(list, "; "))
}

// switchOver makes a node's member the primary. With check, it first looks whether that would take long or lose somebody's work.
func (d *Driver) switchOver(ctx context.Context, m *database.Member, to string, patience time.Duration, check bool) error {
	begin, refuse := time.Now(), refusal(to)
	r, err := d.rolesFor(ctx, m, to)
	if err != nil || r.next.id == r.now.id {
		return err
	}
	if r.now.id == r.g.own && d.room.unfit(ctx, d.sys) != "" && d.room.none() {
		// The group would wait for the writes that wait for room, longer than it takes to notice that the primary is gone.
		return refuse(reasonRefused, "the disk of %s, the primary, is full, so that its writes never end", m.Node)
	}
	if check {
		if err := d.awaitCaughtUp(ctx, r.next, patience/2); err != nil {
			return refuse(reasonLag, "%v", err)
		}
		from := nodeAt(m, r.now.address)
		if list, err := d.longTransactions(ctx, m, r.g, r.now); err != nil {
			return refuse(reasonRefused, "the primary, %s, does not say what it is doing: %v", from, err)
		} else if len(list) > 0 {
			return refuse(reasonLong, "%s", inTheWay(from, list))
		}
	}
	return d.elect(ctx, m, to, r.next, patience-time.Since(begin), refuse)
}

// CheckSwitchover implements database.Driver.
func (d *Driver) CheckSwitchover(ctx context.Context, to string) (database.SwitchoverCheck, error) {
	out := database.SwitchoverCheck{MostQueue: catchUp}
	m, err := d.applied()
	if err != nil {
		return out, err
	}
	r, err := d.rolesFor(ctx, m, to)
	if r.now.id != "" {
		out.From = nodeAt(m, r.now.address)
	}
	var refused *database.SwitchoverError
	if errors.As(err, &refused) {
		out.Reason, out.Message = refused.Reason, refused.Message
		return out, nil
	}
	if err != nil || r.next.id == r.now.id {
		return out, err
	}
	if out.Queue, err = d.queueOf(ctx, r.next); err != nil {
		return out, err
	}
	if out.Long, err = d.longTransactions(ctx, m, r.g, r.now); err != nil {
		return out, fmt.Errorf("ask the primary, %s, what it is doing: %w", out.From, err)
	}
	switch {
	case out.Queue > catchUp:
		out.Reason, out.Message = reasonLag, fmt.Sprintf("it has %d transactions to apply, and writes would wait for them", out.Queue)
	case len(out.Long) > 0:
		out.Reason, out.Message = reasonLong, inTheWay(out.From, out.Long)
	}
	return out, nil
}

func addressOf(m *database.Member, node string) (netip.AddrPort, bool) {
	if node == m.Node {
		return m.Address, true
	}
	for _, p := range m.Peers {
		if p.Node == node {
			return p.Address, true
		}
	}
	return netip.AddrPort{}, false
}

// awaitCaughtUp waits until a member has little left to apply.
func (d *Driver) awaitCaughtUp(ctx context.Context, p peerState, patience time.Duration) error {
	queue := 0
	done, err := waitFor(ctx, patience, func(ctx context.Context) (bool, error) {
		now, err := d.queueOf(ctx, p)
		if errors.Is(err, context.DeadlineExceeded) {
			return false, nil
		}
		queue = now
		return err == nil && queue <= catchUp, err
	})
	if err == nil && !done {
		err = fmt.Errorf("it has %d transactions to apply after %s of waiting, and writes would wait for them", queue, patience.Round(time.Second))
	}
	return err
}

// queueOf returns how many transactions a member has to apply, as the local server has heard.
func (d *Driver) queueOf(ctx context.Context, p peerState) (queue int, err error) {
	err = d.local.QueryRowContext(ctx, `SELECT count_transactions_in_queue + count_transactions_remote_in_applier_queue
FROM performance_schema.replication_group_member_stats WHERE member_id = ?`, p.id).Scan(&queue)
	return queue, err
}

// longTransactions describes the transactions at the primary that have changed something and do not end.
func (d *Driver) longTransactions(ctx context.Context, m *database.Member, g group, primary peerState) ([]string, error) {
	var out []string
	ask := func(ctx context.Context, db *sql.DB) error {
		rows, err := db.QueryContext(ctx, `SELECT t.trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()), t.trx_rows_modified,
COALESCE(p.user, ''), COALESCE(p.db, ''), COALESCE(LEFT(t.trx_query, 60), '')
FROM information_schema.innodb_trx t LEFT JOIN performance_schema.processlist p ON p.id = t.trx_mysql_thread_id
WHERE t.trx_rows_modified > 0 AND t.trx_started < NOW() - INTERVAL ? SECOND ORDER BY t.trx_started LIMIT 10`, int(longTransaction.Seconds()))
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var id, age, changes uint64
			var user, schema, query string
			if err := rows.Scan(&id, &age, &changes, &user, &schema, &query); err != nil {
				return err
			}
			text := fmt.Sprintf("connection %d of user %s in %s, %d s, %d rows changed", id, user, schema, age, changes)
			if query != "" {
				text += ", now at " + query
			}
			out = append(out, text)
		}
		return rows.Err()
	}
	if primary.id == g.own {
		return out, ask(ctx, d.local)
	}
	err := d.askPeer(ctx, m, primary.address, ask)
	return out, err
}

// elect has the group change its primary.
func (d *Driver) elect(ctx context.Context, m *database.Member, to string, next peerState, patience time.Duration,
	refuse func(string, string, ...any) error,
) error {
	// The server ends transactions that are still under way then, and does not begin new ones meanwhile.
	running := max(1, int((patience-margin)/time.Second))
	limited, cancel := context.WithTimeout(ctx, max(patience, margin))
	defer cancel()
	said, err := d.setAsPrimary(limited, next.id, running)
	// Whatever the statement said, the group knows.
	after, cancelAfter := context.WithTimeout(context.WithoutCancel(ctx), peerPatience)
	defer cancelAfter()
	if g, groupErr := readGroup(after, d.local); groupErr == nil {
		if p, ok := g.primary(); ok && p.id == next.id {
			return d.awaitWritable(limited, m, to, next, refuse)
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(reasonTimeout, "it was not done within %s, and was given up", patience.Round(time.Second))
	case err != nil:
		return refuse(reasonRefused, "the group refuses: %v", err)
	default:
		return refuse(reasonRefused, "the group said %q and has another primary", said)
	}
}

// setAsPrimary runs the group's own change of the primary, and does not return before that is over: an election that nobody waits
// for would go on, and succeed after everybody has been told that it had not.
func (d *Driver) setAsPrimary(ctx context.Context, id string, running int) (said string, err error) {
	conn, err := d.local.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	var session uint64
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&session); err != nil {
		return "", err
	}
	err = conn.QueryRowContext(ctx, "SELECT group_replication_set_as_primary(?, ?)", id, running).Scan(&said)
	if err == nil || ctx.Err() == nil {
		return said, err
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endElection)
	defer cancel()
	// It may just have ended by itself.
	_, _ = d.local.ExecContext(end, fmt.Sprintf("KILL %d", session))
	gone, waitErr := waitFor(end, endElection, func(ctx context.Context) (bool, error) {
		var there bool
		err := d.local.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM performance_schema.processlist WHERE id = ?", session).Scan(&there)
		return !there, err
	})
	if waitErr == nil && !gone {
		waitErr = fmt.Errorf("the election could not be ended within %s: look again who is the primary", endElection)
	}
	return "", errors.Join(err, waitErr)
}

// awaitWritable waits until the new primary takes writes.
func (d *Driver) awaitWritable(ctx context.Context, m *database.Member, to string, next peerState, refuse func(string, string, ...any) error) error {
	var readOnly bool
	ask := func(ctx context.Context, db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT @@GLOBAL.super_read_only").Scan(&readOnly)
	}
	writable, err := waitFor(ctx, startPatience, func(ctx context.Context) (bool, error) {
		if to == m.Node {
			err := ask(ctx, d.local)
			return err == nil && !readOnly, nil
		}
		err := d.askPeer(ctx, m, next.address, ask)
		return err == nil && !readOnly, nil
	})
	if err == nil && !writable {
		return refuse(reasonTimeout, "it is the primary now, but takes no writes yet")
	}
	return err
}
