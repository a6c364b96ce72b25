//go:build linux

package drills

import (
	"context"
	"errors"
	"time"
)

// databaseJoined has both secondaries made anew, and takes the power of the primary's machine at the moment at which they are in the
// group. Until then, what routers had read of the members was of servers that are no more.
func databaseJoined(c *Cluster) Drill {
	w := &writers{}
	return Drill{
		Name: "database/joined", Cluster: c, Traffic: w.begin,
		Proves: "writes go on elsewhere when the primary dies right after the others have joined: routers know of them already",
		Inject: func(ctx context.Context, f *Field) error {
			w.survivors = w.database.Others(w.primary)
			for _, n := range w.survivors {
				if err := on(ctx, f, n, "sh", "-c", wipe); err != nil {
					return err
				}
			}
			// What routers read is kept from time to time, and when an agent starts: the next time is after the fault.
			if err := on(ctx, f, w.primary, "systemctl", "restart", "atolld.service"); err != nil {
				return err
			}
			// They are as new to routers as members that were never there.
			forget := "DELETE FROM mysql_innodb_cluster_metadata.instances WHERE label <> '" + w.primary + "'"
			if err := w.database.Exec(ctx, w.primary, forget); err != nil {
				return err
			}
			err := f.Await(ctx, "the others have joined", ReadyWithin, func(ctx context.Context) error {
				return w.database.Online(ctx, w.primary, len(databaseNodes))
			})
			if err != nil {
				return err
			}
			f.Injected = time.Now()
			return f.Kill(ctx, w.primary)
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := w.failedOver(ctx, f); err != nil {
				return err
			}
			if err := f.PowerOn(ctx, w.primary); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: healDatabase,
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			return errors.Join(w.within(failoverObjective), w.invariants(ctx, f, o))
		},
	}
}
