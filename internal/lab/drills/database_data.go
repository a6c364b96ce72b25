//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// dataFolder is where a member's data is.
const dataFolder = "/var/lib/atoll-mysql"

// wipe has a node lose its data, as a disk that was replaced. The agent is told nothing.
const wipe = "systemctl stop atolld.service " + databaseUnit + " && rm -rf " + dataFolder + " && systemctl start atolld.service"

// databaseWiped has a secondary lose its data.
func databaseWiped(c *Cluster) Drill {
	w := &writers{}
	return Drill{
		Name: "database/wiped", Proves: "a member that has lost its data gets it back by itself, while writes go on",
		Cluster: c, Traffic: w.begin,
		Inject: func(ctx context.Context, f *Field) error {
			others := w.database.Others(w.primary)
			w.survivors = []string{w.primary, others[0]}
			return on(ctx, f, others[1], "sh", "-c", wipe)
		},
		Settle: w.whole,
		Heal:   healDatabase,
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			return errors.Join(w.within(momentObjective), w.invariants(ctx, f, o))
		},
	}
}

// aside moves the data of a node away, as an operator does who has saved what is needed of it.
const aside = "systemctl stop atolld.service " + databaseUnit + " && rm -rf /root/aside && mv " + dataFolder + " /root/aside && systemctl start atolld.service"

// databaseErrant writes to a secondary that was taken out of the group, so that it has what nobody else has.
func databaseErrant(c *Cluster) Drill {
	const table = "errant_of_a_drill"
	w := &writers{}
	var victim string
	return Drill{
		Name: "database/errant", Proves: "a member with transactions of its own is kept out, keeps them, and the status names it; the operator's way back works",
		Cluster: c, Traffic: w.begin,
		Inject: func(ctx context.Context, f *Field) error {
			others := w.database.Others(w.primary)
			victim, w.survivors = others[0], []string{w.primary, others[1]}
			if err := on(ctx, f, victim, "systemctl", "stop", "atolld.service"); err != nil {
				return err
			}
			if err := w.database.Exec(ctx, victim, "STOP GROUP_REPLICATION", "SET GLOBAL super_read_only = OFF",
				"CREATE TABLE "+w.database.Name()+"."+table+" (id INT PRIMARY KEY)", "SET GLOBAL super_read_only = ON"); err != nil {
				return err
			}
			return on(ctx, f, victim, "systemctl", "start", "atolld.service")
		},
		Settle: func(ctx context.Context, f *Field) error {
			err := f.Measure(ctx, "the status says so", time.Minute, func(ctx context.Context) error {
				status, _, err := f.Status(ctx)
				if err != nil {
					return err
				}
				if p := status.Databases[w.database.Name()].Members[victim].Problem; !strings.Contains(p, "transactions") {
					return fmt.Errorf("the problem of %s is %q", victim, p)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if _, err := w.database.Value(ctx, victim, "SELECT COUNT(*) FROM "+w.database.Name()+"."+table); err != nil {
				return fmt.Errorf("what only %s had is gone: %w", victim, err)
			}
			if err := on(ctx, f, victim, "sh", "-c", aside); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: func(ctx context.Context, f *Field) error {
			if victim == "" {
				return healDatabase(ctx, f)
			}
			return errors.Join(on(ctx, f, victim, "rm", "-rf", "/root/aside"), healDatabase(ctx, f))
		},
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			return errors.Join(w.within(momentObjective), w.invariants(ctx, f, o))
		},
	}
}

// databaseNoPrimaryKey makes a table that the group could not replicate.
func databaseNoPrimaryKey(c *Cluster) Drill {
	w := &writers{}
	var refused error
	return Drill{
		Name: "database/no-primary-key", Proves: "a table without a primary key is refused when it is made, and nothing else notices",
		Cluster: c, Traffic: w.begin,
		Inject: func(ctx context.Context, _ *Field) error {
			refused = w.database.Router(databaseNodes[0]).Exec(ctx, "CREATE TABLE without_key (name VARCHAR(20))")
			return nil
		},
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			var errs []error
			if refused == nil || !strings.Contains(refused.Error(), "primary key") {
				errs = append(errs, fmt.Errorf("a table without a primary key: %w", orNone(refused)))
			}
			if o.Failed > 0 {
				errs = append(errs, fmt.Errorf("%d writes failed: %s", o.Failed, o.Detail))
			}
			return errors.Join(append(errs, w.invariants(ctx, f, o))...)
		},
	}
}

// errNone stands for an error that was expected and did not come.
var errNone = errors.New("nothing was refused")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// settled applies the reference topology with settings of the database's server.
func settled(f *Field, settings string) {
	f.Work.Env = append(f.Work.Env, rig.WithDatabase(settings, databaseNodes...))
}
