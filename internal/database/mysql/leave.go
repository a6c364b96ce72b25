package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

// Leave implements database.Driver.
func (d *Driver) Leave(ctx context.Context) error {
	d.change.Lock()
	defer d.change.Unlock()
	m, err := d.applied()
	if err != nil {
		return err
	}
	if err := d.leave(ctx, m); err != nil {
		return fmt.Errorf("leave the group of database %s: %w", m.Database, err)
	}
	return nil
}

// handover is how long a primary that leaves gives transactions that are under way.
const handover = 10 * time.Second

func (d *Driver) leave(ctx context.Context, m *database.Member) error {
	g, err := readGroup(ctx, d.local)
	if err != nil || !g.in() && g.self().state == stateOffline {
		return err
	}
	if d.room.unfit(ctx, d.sys) != "" {
		// Whatever writes waits for room, and leaving in order would wait for that.
		return d.breakOut(ctx, m)
	}
	if p, ok := g.primary(); ok && p.id == g.own {
		if next, ok := d.successor(ctx, m, g); ok {
			if err := d.switchOver(ctx, m, next, handover, false); err != nil {
				// The group chooses by itself when the primary is gone.
				d.log.Warn("the primary leaves without having handed over", "to", next, "reason", err)
			}
		}
	}
	if !g.majority() {
		return d.breakOut(ctx, m)
	}
	conn, err := d.local.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return inOrder(ctx, conn, "STOP GROUP_REPLICATION", "SET GLOBAL super_read_only = ON")
}

// breakOut takes the member out of a group without a majority, by ending the server. There is nobody to say good-bye to, but the
// server itself would wait for that for more than a minute, and for the writes that wait for the group. Those are rolled back.
func (d *Driver) breakOut(ctx context.Context, m *database.Member) error {
	before, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		return err
	}
	if err := d.sys.Units().Signal(ctx, unitName, "KILL"); err != nil {
		return err
	}
	again, err := waitFor(ctx, startPatience, func(ctx context.Context) (bool, error) {
		now, err := d.sys.Units().Status(ctx, unitName)
		return err == nil && now.Active && now.MainPID != before.MainPID, err
	})
	if err == nil && !again {
		err = fmt.Errorf("the server does not come back after %s%s", startPatience, d.lastWords(ctx))
	}
	if err != nil {
		return err
	}
	return d.ready(ctx, m)
}

// successor returns the node that is to be the next primary: the one with the greatest weight, then the least to apply.
func (d *Driver) successor(ctx context.Context, m *database.Member, g group) (string, bool) {
	type candidate struct {
		node          string
		weight, queue int
	}
	var all []candidate
	for _, p := range g.members {
		if p.id == g.own || p.state != stateOnline {
			continue
		}
		c := candidate{node: nodeAt(m, p.address)}
		err := d.askPeer(ctx, m, p.address, func(ctx context.Context, db *sql.DB) error {
			return db.QueryRowContext(ctx, `SELECT @@GLOBAL.group_replication_member_weight,
COALESCE((SELECT count_transactions_remote_in_applier_queue FROM performance_schema.replication_group_member_stats
  WHERE member_id = @@GLOBAL.server_uuid), 0)`).Scan(&c.weight, &c.queue)
		})
		if err == nil {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return "", false
	}
	return slices.MinFunc(all, func(a, b candidate) int {
		if a.weight != b.weight {
			return b.weight - a.weight
		}
		if a.queue != b.queue {
			return a.queue - b.queue
		}
		return strings.Compare(a.node, b.node)
	}).node, true
}
