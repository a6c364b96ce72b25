//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// undecided is how long nothing may begin by itself while only the operator can decide.
const undecided = 10 * time.Second

// recovery is what an operator sees and decides after an outage of all members.
type recovery struct {
	// evidence is what the command shows before anything is decided, decision what it says of that.
	evidence, decision string
	decided            time.Time
}

// looks waits until the command shows the case and names the member that is in the way, and that it decides nothing.
func (r *recovery) looks(ctx context.Context, f *Field, w *writers, heard, lost string) error {
	// At the end of a line: nobody else is missing any more.
	words := []string{heard + " of its 3 voting members are heard", "--accept-loss-from " + lost + "\n"}
	return f.Await(ctx, "the command shows what is missing", ReadyWithin, func(ctx context.Context) error {
		out, err := f.Atoll(ctx, "recover", "--database", w.database.Name())
		// Exit code 1 is for a database that takes no writes.
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
			return fmt.Errorf("atoll recover: %w, exit code 1 is expected: %s", orNone(err), out)
		}
		for _, word := range words {
			if !strings.Contains(out, word) {
				return fmt.Errorf("atoll recover does not say %q:\n%s", word, out)
			}
		}
		r.evidence = out
		return nil
	})
}

// decides lets some time pass, in which nothing may happen, and gives a member up.
func (r *recovery) decides(ctx context.Context, f *Field, w *writers, lost, reason string) error {
	pause(ctx, undecided)
	r.decided = time.Now()
	out, err := f.Atoll(ctx, "recover", "--database", w.database.Name(), "--accept-loss-from", lost, "--reason", reason, "--yes")
	if err != nil {
		return err
	}
	r.decision = out
	f.Found("writes go on after the decision", time.Since(r.decided))
	f.Say("atoll recover:\n%s\natoll recover --accept-loss-from %s --reason %q --yes:\n%s", r.evidence, lost, reason, r.decision)
	return nil
}

// names demands that the decision said what is given up, in words.
func (r *recovery) names(words string) error {
	if !strings.Contains(r.decision, words) {
		return fmt.Errorf("the decision does not say %q:\n%s", words, r.decision)
	}
	return nil
}

// onTheWay is how long before a power cut of all a write may have been acknowledged that is on the primary's disk and, besides, only
// in the memory of others: where the primary's disk is lost, too, so is that.
const onTheWay = time.Second

// databaseDataLost takes the power of all members at once. The primary's comes back without its data.
func databaseDataLost(c *Cluster) Drill {
	w, r := &writers{}, &recovery{}
	return Drill{
		Name: "database/recover", Cluster: c, Traffic: w.begin,
		Proves: "all members lose power and one its data: nothing begins by itself, the operator's decision names the member, and it gets a copy",
		Inject: func(ctx context.Context, f *Field) error {
			done := make(chan error, len(databaseNodes))
			for _, n := range databaseNodes {
				go func() { done <- f.Kill(ctx, n) }()
			}
			var errs []error
			for range databaseNodes {
				errs = append(errs, <-done)
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			// Alone it begins nothing, so its data is gone before anybody can have asked for it.
			if err := f.PowerOn(ctx, w.primary); err != nil {
				return err
			}
			return f.Await(ctx, "the machine is up, and its data gone", ReadyWithin, func(ctx context.Context) error {
				return on(ctx, f, w.primary, "sh", "-c", wipe)
			})
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := powerOn(ctx, f, w.database.Others(w.primary)...); err != nil {
				return err
			}
			if err := r.looks(ctx, f, w, "3", w.primary); err != nil {
				return err
			}
			if err := r.decides(ctx, f, w, w.primary, "disk of "+w.primary+" is gone"); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: healDatabase,
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			f.Note("%d writes that were acknowledged in the last moment are lost with the disk", len(w.gone))
			errs := []error{
				r.names(w.primary + " has no data any more"), w.silent(f.Injected.Add(twoDeadKnown), r.decided), w.lostOnly(f.Injected.Add(-onTheWay), f.Injected.Add(twoDeadKnown)),
			}
			// They were counted above.
			o.Lost = 0
			return errors.Join(append(errs, w.invariants(ctx, f, o))...)
		},
	}
}

// onlyThere is a table that only the member has that is given up.
const onlyThere = "only_there_of_a_drill"

// databaseGivenUp takes the secondaries out of the group in order, has the primary go on alone for a while, and takes its power: what
// it acknowledged alone is nowhere else. The others go on without it, and then it comes back.
func databaseGivenUp(c *Cluster) Drill {
	w, r := &writers{}, &recovery{}
	// leaving is when the last of the others begins to leave, alone when all have left.
	var leaving, alone time.Time
	table := ""
	return Drill{
		Name: "database/recover-diverged", Cluster: c, Traffic: w.begin,
		Proves: "the decision to go on without the last primary names what is lost, that alone is lost, and the member is kept out with its data until it is rebuilt",
		Inject: func(ctx context.Context, f *Field) error {
			w.survivors, table = w.database.Others(w.primary), w.database.Name()+"."+onlyThere
			for _, n := range w.survivors {
				leaving = time.Now()
				if err := on(ctx, f, n, "systemctl", "stop", "atolld.service", databaseUnit); err != nil {
					return err
				}
			}
			if err := f.Await(ctx, "the primary is alone", time.Minute, func(ctx context.Context) error { return w.database.Online(ctx, w.primary, 1) }); err != nil {
				return err
			}
			alone = time.Now()
			if err := w.database.Exec(ctx, w.primary, "CREATE TABLE "+table+" (id INT PRIMARY KEY)"); err != nil {
				return err
			}
			pause(ctx, LeadIn)
			f.Injected = time.Now()
			if err := f.Kill(ctx, w.primary); err != nil {
				return err
			}
			for _, n := range w.survivors {
				if err := on(ctx, f, n, "systemctl", "start", "atolld.service"); err != nil {
					return err
				}
			}
			return nil
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := r.looks(ctx, f, w, "2", w.primary); err != nil {
				return err
			}
			if err := r.decides(ctx, f, w, w.primary, w.primary+" burnt"); err != nil {
				return err
			}
			if err := f.PowerOn(ctx, w.primary); err != nil {
				return err
			}
			if err := w.diverged(ctx, f, w.primary, table); err != nil {
				return err
			}
			if err := on(ctx, f, w.primary, "sh", "-c", aside); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: func(ctx context.Context, f *Field) error {
			err := healDatabase(ctx, f)
			if w.primary != "" {
				err = errors.Join(err, on(ctx, f, w.primary, "rm", "-rf", "/root/aside"))
			}
			return err
		},
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			f.Note("%d writes that %s had acknowledged alone are lost, as the decision said", len(w.gone), w.primary)
			errs := []error{
				r.names("nobody knows what " + w.primary + " has had since it was last heard of"),
				w.silent(f.Injected.Add(twoDeadKnown), r.decided), w.lostOnly(leaving, f.Injected.Add(twoDeadKnown)), w.lostAll(alone, f.Injected),
			}
			// They were counted above.
			o.Lost = 0
			return errors.Join(append(errs, w.invariants(ctx, f, o))...)
		},
	}
}

// lostOnly demands that what is lost was acknowledged between two moments, and by whoever was the primary then.
func (w *writers) lostOnly(from, to time.Time) error {
	for _, one := range w.gone {
		if one.Ended.Before(from) || one.Began.After(to) {
			return fmt.Errorf("a write by way of %s is lost that was acknowledged at %s, not between %s and %s",
				one.By, one.Ended.Format(clock), from.Format(clock), to.Format(clock))
		}
	}
	for _, member := range w.goneAt {
		if member != w.primary {
			return fmt.Errorf("a write that %s itself took is lost", member)
		}
	}
	return nil
}

const clock = "15:04:05.000"

// lostAll demands that everything that was acknowledged between two moments is lost: else somebody had it besides the one that was
// given up, and nothing is shown.
func (w *writers) lostAll(from, to time.Time) error {
	type key struct {
		client string
		number int64
	}
	gone := map[key]bool{}
	for _, one := range w.gone {
		gone[key{one.Client, one.Number}] = true
	}
	for _, one := range w.record.Acknowledged() {
		if one.Began.After(from) && one.Ended.Before(to) && !gone[key{one.Client, one.Number}] {
			return fmt.Errorf("a write by way of %s that %s acknowledged alone is there", one.By, w.primary)
		}
	}
	if len(gone) == 0 {
		return fmt.Errorf("%s acknowledged nothing alone", w.primary)
	}
	return nil
}

// diverged waits until the status says that a member has transactions of its own, and demands that it still has the table that is
// part of them.
func (w *writers) diverged(ctx context.Context, f *Field, node, table string) error {
	err := f.Measure(ctx, "the status says so", ReadyWithin, func(ctx context.Context) error {
		status, _, err := f.Status(ctx)
		if err != nil {
			return err
		}
		if p := status.Databases[w.database.Name()].Members[node].Problem; !strings.Contains(p, "transactions") {
			return fmt.Errorf("the problem of %s is %q", node, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := w.database.Value(ctx, node, "SELECT COUNT(*) FROM "+table); err != nil {
		return fmt.Errorf("what only %s had is gone: %w", node, err)
	}
	return nil
}
