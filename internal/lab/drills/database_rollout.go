//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// databaseWrongSetting applies a setting that the server does not take.
func databaseWrongSetting(c *Cluster) Drill {
	w := &writers{}
	var refused error
	return Drill{
		Name: "database/wrong-setting", Proves: "a setting that the server refuses changes nothing, also not for a member that starts anew, and the apply says which",
		Cluster: c, Traffic: w.begin,
		Inject: func(ctx context.Context, f *Field) error {
			settled(f, `ft_min_word_len = "many"`)
			refused = f.Apply(ctx)
			// Whoever starts anew meanwhile does so with the settings before.
			return on(ctx, f, w.database.Others(w.primary)[0], "systemctl", "restart", "atolld.service", databaseUnit)
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := f.Await(ctx, "all members are online", ReadyWithin, w.database.Ready); err != nil {
				return err
			}
			settled(f, "")
			if err := f.Apply(ctx); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: func(ctx context.Context, f *Field) error { settled(f, ""); return f.Apply(ctx) },
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			var errs []error
			if refused == nil || !strings.Contains(refused.Error(), "ft_min_word_len") {
				errs = append(errs, fmt.Errorf("a setting that the server refuses: %w", orNone(refused)))
			}
			// A secondary goes and comes, at which the group pauses for less than a write waits.
			if o.Failed > 0 {
				errs = append(errs, fmt.Errorf("%d writes failed: %s", o.Failed, o.Detail))
			}
			return errors.Join(append(errs, w.within(switchoverObjective), w.invariants(ctx, f, o))...)
		},
	}
}

// databaseRemoved destroys the member that is the primary, and makes it again.
func databaseRemoved(c *Cluster) Drill {
	w := &writers{}
	return Drill{
		Name: "database/removed", Proves: "a member that is removed while it is the primary hands over first, and can be made again",
		Cluster: c, Traffic: w.begin,
		Inject: func(ctx context.Context, f *Field) error {
			w.survivors = w.database.Others(w.primary)
			_, err := f.Work.Run(ctx, "destroy", "-auto-approve", `-target=atoll_database_member.app["`+w.primary+`"]`)
			return err
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := w.failedOver(ctx, f); err != nil {
				return err
			}
			if err := f.Apply(ctx); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: func(ctx context.Context, f *Field) error { return errors.Join(f.Apply(ctx), healDatabase(ctx, f)) },
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			return errors.Join(w.within(momentObjective), w.invariants(ctx, f, o))
		},
	}
}

// onlineWatch looks at how many members are online all the time.
type onlineWatch struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	lowest int
}

// begin looks until end.
func (o *onlineWatch) begin(ctx context.Context, w *writers) {
	ctx, o.stop = context.WithCancel(context.WithoutCancel(ctx))
	o.lowest = len(databaseNodes)
	o.done.Go(func() {
		for ctx.Err() == nil {
			down := 0
			for _, n := range databaseNodes {
				if _, err := w.database.Value(ctx, n, "SELECT 1"); err != nil && ctx.Err() == nil {
					down++
				}
			}
			o.mu.Lock()
			o.lowest = min(o.lowest, len(databaseNodes)-down)
			o.mu.Unlock()
			pause(ctx, 50*time.Millisecond)
		}
	})
}

// end returns how few servers ever answered.
func (o *onlineWatch) end() int {
	o.stop()
	o.done.Wait()
	return o.lowest
}

// databaseInterrupted changes a setting that takes restarts, and interrupts Terraform when the first member has restarted.
func databaseInterrupted(c *Cluster) Drill {
	const variable, value = "ft_min_word_len", "5"
	w, watch := &writers{}, &onlineWatch{}
	lowest := len(databaseNodes)
	running := func(ctx context.Context, node string) error {
		got, err := w.database.Value(ctx, node, "SELECT @@GLOBAL."+variable)
		if err == nil && got != value {
			err = fmt.Errorf("%s of %s is %s", variable, node, got)
		}
		return err
	}
	return Drill{
		Name: "database/interrupted-rollout", Cluster: c, Traffic: w.begin,
		Proves: "Terraform is interrupted while members restart one after another: never two are away, the next apply ends it, writers lose a moment",
		Inject: func(ctx context.Context, f *Field) error {
			watch.begin(ctx, w)
			settled(f, variable+` = "`+value+`"`)
			apply := f.Work.Command(ctx, "apply", "-auto-approve")
			if err := apply.Start(); err != nil {
				return err
			}
			first := f.Await(ctx, "a member has restarted", 2*time.Minute, func(ctx context.Context) error {
				var err error
				for _, n := range databaseNodes {
					if err = running(ctx, n); err == nil {
						return nil
					}
				}
				return err
			})
			// Once, as somebody who presses Ctrl-C: the engine ends with an error, and writes its state before.
			interrupted := apply.Process.Signal(os.Interrupt)
			_ = apply.Wait() // its exit code says that it was interrupted, or that it was quicker
			return errors.Join(first, interrupted)
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := f.Apply(ctx); err != nil {
				return err
			}
			for _, n := range databaseNodes {
				if err := f.Await(ctx, "all run with the setting", 2*time.Minute, func(ctx context.Context) error { return running(ctx, n) }); err != nil {
					return err
				}
			}
			if err := w.whole(ctx, f); err != nil {
				return err
			}
			lowest = watch.end()
			if _, err := f.Work.Run(ctx, "plan", "-detailed-exitcode"); err != nil {
				return fmt.Errorf("the plan afterwards is not empty: %w", err)
			}
			return nil
		},
		Heal: func(ctx context.Context, f *Field) error {
			watch.end()
			settled(f, "")
			return f.Apply(ctx)
		},
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			var errs []error
			if lowest < len(databaseNodes)-1 {
				errs = append(errs, fmt.Errorf("only %d servers answered at a time", lowest))
			}
			return errors.Join(append(errs, w.within(momentObjective), w.invariants(ctx, f, o))...)
		},
	}
}
