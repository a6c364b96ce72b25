//go:build linux

package drills

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// primaryFault is a drill that takes the primary away in some way: another member takes writes, and the old primary comes back.
func primaryFault(c *Cluster, name, proves string, limit time.Duration, inject, undo func(ctx context.Context, f *Field, w *writers) error) Drill {
	w := &writers{}
	return Drill{
		Name: "database/" + name, Proves: proves, Cluster: c, Traffic: w.begin,
		Inject: func(ctx context.Context, f *Field) error {
			w.survivors = w.database.Others(w.primary)
			return inject(ctx, f, w)
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := w.failedOver(ctx, f); err != nil {
				return err
			}
			if undo != nil {
				if err := undo(ctx, f, w); err != nil {
					return err
				}
			}
			return w.whole(ctx, f)
		},
		Heal: healDatabase,
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			return errors.Join(w.within(limit), w.invariants(ctx, f, o))
		},
	}
}

// databaseCrash kills the primary's server.
func databaseCrash(c *Cluster) Drill {
	return primaryFault(c, "crash", "writes go on elsewhere when the primary's server dies, and it comes back by itself", failoverObjective,
		func(ctx context.Context, f *Field, w *writers) error {
			return on(ctx, f, w.primary, "systemctl", "kill", "--signal=KILL", databaseUnit)
		}, nil)
}

// databasePowerCut takes the power of the primary's machine.
func databasePowerCut(c *Cluster) Drill {
	return primaryFault(c, "power-cut", "writes go on elsewhere when the primary's machine has no power, and it comes back when it has", failoverObjective,
		func(ctx context.Context, f *Field, w *writers) error { return f.Kill(ctx, w.primary) },
		func(ctx context.Context, f *Field, w *writers) error { return f.PowerOn(ctx, w.primary) })
}

// hangObjective is somewhat longer than failoverObjective: a server that hangs is connected to by the kernel in its place, so that the
// router, when it asks it for the group's view, waits for an answer until its read_timeout.
const hangObjective = failoverObjective + 3*time.Second

// databaseHang stops the primary's server where it stands.
func databaseHang(c *Cluster) Drill {
	return primaryFault(c, "hang", "writes go on elsewhere when the primary's server hangs, and nothing that it still holds gets in when it goes on", hangObjective,
		func(ctx context.Context, f *Field, w *writers) error {
			return on(ctx, f, w.primary, "systemctl", "kill", "--signal=STOP", databaseUnit)
		},
		func(ctx context.Context, f *Field, w *writers) error {
			return on(ctx, f, w.primary, "systemctl", "kill", "--signal=CONT", databaseUnit)
		})
}

// databaseHAProxy has applications reach the database by the other router. The primary's agent starts anew, which must not be noticed,
// and then its server dies.
func databaseHAProxy(c *Cluster) Drill {
	w := &writers{}
	by := func(ctx context.Context, f *Field, router spec.RouterDriver) error {
		f.Work.Env = append(f.Work.Env, rig.WithDatabaseBy(router, "", databaseNodes...))
		return f.Apply(ctx)
	}
	var quiet error
	return Drill{
		Name: "database/haproxy", Proves: "by HAProxy, too: an agent that starts anew is not noticed, and writes go on elsewhere when the primary's server dies",
		Cluster: c, Traffic: w.begin,
		Setup: func(ctx context.Context, f *Field) error {
			if err := by(ctx, f, spec.RouterHAProxy); err != nil {
				return err
			}
			return allReady(ctx, f)
		},
		Inject: func(ctx context.Context, f *Field) error {
			w.survivors = w.database.Others(w.primary)
			if err := on(ctx, f, w.primary, "systemctl", "restart", "atolld.service"); err != nil {
				return err
			}
			pause(ctx, LeadIn)
			if calm := w.Calm(); calm < time.Since(f.Injected) {
				quiet = fmt.Errorf("a write failed when only the primary's agent had started anew, %s ago", seconds(calm))
			}
			return on(ctx, f, w.primary, "systemctl", "kill", "--signal=KILL", databaseUnit)
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := w.failedOver(ctx, f); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: func(ctx context.Context, f *Field) error {
			return errors.Join(by(ctx, f, spec.RouterMySQL), healDatabase(ctx, f))
		},
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			return errors.Join(quiet, w.within(failoverObjective), w.invariants(ctx, f, o))
		},
	}
}

// switchoverObjective is how long nobody may be able to write while an operator moves the primary.
const switchoverObjective = time.Second

// databaseSwitchover looks what a switchover would find, with and without a transaction in its way, and moves the primary as planned.
func databaseSwitchover(c *Cluster) Drill {
	d := primaryFault(c, "switchover", "a dry run tells what is in the way and changes nothing, and a planned switchover keeps writers out for less than a second", switchoverObjective,
		func(ctx context.Context, f *Field, w *writers) error {
			_, err := f.Atoll(ctx, "switchover", "--database", w.database.Name(), "--to", w.survivors[0])
			return err
		}, nil)
	d.Setup = dryRuns
	return d
}

// oldEnough is from when on a transaction is in the way of a switchover, and somewhat more.
const oldEnough = 8 * time.Second

// dryRuns demands what dry runs say when nothing is in the way, and when a transaction is.
func dryRuns(ctx context.Context, f *Field) error {
	d := database(f)
	primary, err := d.Primary(ctx)
	if err != nil {
		return err
	}
	out, err := f.Atoll(ctx, "switchover", "--database", d.Name(), "--dry-run")
	if err != nil {
		return fmt.Errorf("with nothing in the way: %w\n%s", err, out)
	}
	f.Say("atoll switchover --dry-run:\n%s", out)
	err = d.Router(primary).Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // that is all that becomes of it
		if _, err := tx.ExecContext(ctx, "INSERT INTO atoll_writes (client, number) VALUES ('in the way', 1)"); err != nil {
			return err
		}
		pause(ctx, oldEnough)
		out, err := f.Atoll(ctx, "switchover", "--database", d.Name(), "--dry-run")
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			return fmt.Errorf("with a transaction in the way: %w, exit code 2 is expected\n%s", orNone(err), out)
		}
		if !strings.Contains(out, "would be refused: long-transactions") || !strings.Contains(out, "of user app") {
			return fmt.Errorf("with a transaction in the way it says:\n%s", out)
		}
		f.Say("atoll switchover --dry-run, with a transaction in the way:\n%s", out)
		return nil
	})
	if err != nil {
		return err
	}
	if now, err := d.Primary(ctx); err != nil || now != primary {
		return fmt.Errorf("dry runs have made %q the primary: %w", now, orNone(err))
	}
	return nil
}

// cutLasts is how long a primary does not hear the others: several times what an election takes.
const cutLasts = 15 * time.Second

// databaseCutOff cuts the primary off from both others. Applications on its node and elsewhere go on to write.
func databaseCutOff(c *Cluster) Drill {
	return primaryFault(c, "cut-off", "a primary that is cut off acknowledges nothing more, the others go on, and it follows them afterwards", failoverObjective,
		func(ctx context.Context, f *Field, w *writers) error {
			return cutBetween(ctx, f, []string{w.primary}, w.survivors)
		},
		func(ctx context.Context, f *Field, _ *writers) error {
			pause(ctx, time.Until(f.Injected.Add(cutLasts)))
			return f.HealAll(ctx)
		})
}

// databaseOneWay drops what the primary sends to the others; what they send reaches it.
func databaseOneWay(c *Cluster) Drill {
	return primaryFault(c, "one-way-cut", "a primary that is heard by nobody, but hears all, is replaced", failoverObjective,
		func(ctx context.Context, f *Field, w *writers) error {
			for _, n := range w.survivors {
				if err := f.Cut(ctx, w.primary, n, true); err != nil {
					return err
				}
			}
			return nil
		},
		func(ctx context.Context, f *Field, _ *writers) error {
			pause(ctx, time.Until(f.Injected.Add(cutLasts)))
			return f.HealAll(ctx)
		})
}

// lossLasts is how long paths lose packets. A connection hardly gets anything through them: applications wait for lossPatience. The
// group, which hears of the primary now and then, puts it out all the same, so that writes do not wait for the end of the loss.
const (
	lossLasts     = 30 * time.Second
	lossObjective = 20 * time.Second
	lossPatience  = 10 * time.Second
	lossPercent   = 30
)

// databaseLoss has the primary's paths lose packets.
func databaseLoss(c *Cluster) Drill {
	w := &writers{patience: lossPatience}
	return Drill{
		Name: "database/loss", Proves: fmt.Sprintf("a primary whose paths lose %d %% of all packets loses no write, whoever is the primary afterwards", lossPercent),
		Cluster: c, Traffic: w.begin,
		Inject: func(ctx context.Context, f *Field) error {
			w.survivors = w.database.Others(w.primary)
			for _, n := range w.survivors {
				if err := f.Loss(ctx, w.primary, n, lossPercent, false); err != nil {
					return err
				}
			}
			return nil
		},
		Settle: func(ctx context.Context, f *Field) error {
			pause(ctx, lossLasts)
			if err := f.HealAll(ctx); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: healDatabase,
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			return errors.Join(w.within(lossObjective), w.invariants(ctx, f, o))
		},
	}
}
