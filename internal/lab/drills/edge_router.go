//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// How soon a node must have its way to the database again once nothing but its router is in the way of it: a router that hangs is started
// again when the node has reached the primary for six seconds. cutFor is how long a node is cut off from the database: longer than that.
const (
	backObjective = 15 * time.Second
	cutFor        = 20 * time.Second
)

// The figures of what follows.
const (
	unfitFigure = "the node is unfit"
	backFigure  = "the node is fit again"
)

// edgeRouterStuck stops a node's router in its tracks: it runs, and has its ports, and does nothing more, not even end. Nobody but
// the agent is there to help.
func edgeRouterStuck(c *Cluster) Drill {
	v := noteWriters()
	const node = routerNode
	var before, after string
	return Drill{
		Name: "edge/router-stuck", Proves: "a node whose router hangs serves nobody, and soon has a way to the database again by itself", Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) (err error) {
			if before, err = routerProcess(ctx, f); err != nil {
				return err
			}
			return on(ctx, f, node, "systemctl", "kill", "--signal=STOP", database(f).RouterUnit())
		},
		Settle: func(ctx context.Context, f *Field) (err error) {
			if err := f.Measure(ctx, unfitFigure, 30*time.Second, func(ctx context.Context) error { return servesNot(ctx, f, node) }); err != nil {
				return err
			}
			if err := serve(ctx, f, "hk1", "hk2"); err != nil {
				return err
			}
			if err := f.Measure(ctx, backFigure, time.Minute, func(ctx context.Context) error { return serve(ctx, f, databaseNodes...) }); err != nil {
				return err
			}
			after, err = routerProcess(ctx, f)
			return err
		},
		Heal: func(ctx context.Context, f *Field) error {
			// There is nothing to continue when the agent has done its work.
			return on(ctx, f, node, "sh", "-c", "systemctl kill --signal=CONT "+database(f).RouterUnit()+" || true")
		},
		Verdict: func(_ context.Context, _ *Field, o Outcome) error {
			var again error
			if before == after {
				again = errors.New("it is the same router as before, which was stopped: the drill has shown nothing")
			}
			return errors.Join(again, withinObjective(o, unfitFigure, routeObjective), withinObjective(o, backFigure, backObjective), v.servedAfter(o.Found[unfitFigure]+leaveObjective))
		},
	}
}

// edgeDatabaseCutOff cuts a node off from the others, who have the database, for long enough that its router has lost all of them, and
// gives the paths back.
func edgeDatabaseCutOff(c *Cluster) Drill {
	v := noteWriters()
	const node = routerNode
	others := []string{"hk1", "hk2"}
	return Drill{
		Name: "edge/database-cut-off", Proves: "a node that was cut off from the others, who have the database, soon has a way to it again", Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return cutBetween(ctx, f, []string{node}, others) },
		Settle: func(ctx context.Context, f *Field) error {
			before, err := routerProcess(ctx, f)
			if err != nil {
				return err
			}
			if err := f.Measure(ctx, unfitFigure, 30*time.Second, func(ctx context.Context) error { return servesNot(ctx, f, node) }); err != nil {
				return err
			}
			pause(ctx, time.Until(f.Injected.Add(cutFor)))
			if err := errors.Join(servesNot(ctx, f, node), serve(ctx, f, others...)); err != nil {
				return err
			}
			from := time.Now()
			if err := f.HealAll(ctx); err != nil {
				return err
			}
			err = f.Await(ctx, backFigure, time.Minute, func(ctx context.Context) error { return serve(ctx, f, databaseNodes...) })
			if err != nil {
				return err
			}
			f.Found(backFigure, time.Since(from))
			after, err := routerProcess(ctx, f)
			if before == after {
				f.Note("the router found the primary by itself")
			} else {
				f.Note("the router was started again")
			}
			return err
		},
		Heal: func(ctx context.Context, f *Field) error { return f.HealAll(ctx) },
		Verdict: func(_ context.Context, _ *Field, o Outcome) error {
			return errors.Join(withinObjective(o, backFigure, backObjective), v.servedAfter(routeObjective))
		},
	}
}

// routerNode is the node whose router it is about.
const routerNode = "sg1"

// routerProcess tells the router's process there from those before and after it.
func routerProcess(ctx context.Context, f *Field) (string, error) {
	out, err := f.Exec(ctx, routerNode, "systemctl", "show", "--property=MainPID,ExecMainStartTimestampMonotonic", database(f).RouterUnit())
	return strings.TrimSpace(string(out)), err
}

// withinObjective demands that a figure is no more than was promised.
func withinObjective(o Outcome, figure string, limit time.Duration) error {
	if took := o.Found[figure]; took > limit {
		return fmt.Errorf("%s: after %s, promised are %s", figure, seconds(took), seconds(limit))
	}
	return nil
}
