//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/demo"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// How soon a node that alone has lost its way to the database must be unfit, and how soon visitors must be served by others than
// those who have: a node whose member has lost the majority is unfit soon after its group has noticed, and the monitor asks every 10 s, twice. Who is on a
// connection through the proxy of a node that is unfit is served by another node that soon.
const (
	routeObjective     = 5 * time.Second
	leaveObjective     = time.Second
	partitionObjective = 30 * time.Second
)

// databaseNodePart is what the health endpoint calls a node's way to the database, and noRouter what it says without a router.
const (
	databaseNodePart = "database"
	noRouter         = "the router does not run"
)

// withDatabase gives a cluster the reference topology's database, on databaseNodes.
func withDatabase(c *Cluster) *Cluster {
	c.Env = append(c.Env, rig.WithDatabase("", databaseNodes...))
	visitorsServed := c.Ready
	c.Ready = func(ctx context.Context, f *Field) error {
		return errors.Join(database(f).Ready(ctx), visitorsServed(ctx, f))
	}
	return c
}

// noteWriters are visitors who write to the database, fewer of them than those who only read: each note is two transactions on disk.
func noteWriters() *visitors {
	return &visitors{method: http.MethodPost, path: demo.NotesPath + "?text=hello", rate: 10}
}

// edgeRouterStopped takes one node's way to the database away, and gives it back.
func edgeRouterStopped(c *Cluster) Drill {
	v := noteWriters()
	const node = "sg1"
	return Drill{
		Name: "edge/router-stopped", Proves: "a node that alone has lost its way to the database serves nobody until it has it again", Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return f.HoldDown(ctx, database(f).RouterUnit(), node) },
		Settle: func(ctx context.Context, f *Field) error {
			if err := f.Measure(ctx, unfitFigure, 30*time.Second, func(ctx context.Context) error { return servesNot(ctx, f, node) }); err != nil {
				return err
			}
			if err := serve(ctx, f, "hk1", "hk2"); err != nil {
				return err
			}
			pause(ctx, Calm)
			if err := servesNot(ctx, f, node); err != nil {
				return err
			}
			from := time.Now()
			if err := f.LetGo(ctx, database(f).RouterUnit(), node); err != nil {
				return err
			}
			defer func() { f.Found(backFigure, time.Since(from)) }()
			return f.Await(ctx, backFigure, 30*time.Second, func(ctx context.Context) error { return serve(ctx, f, databaseNodes...) })
		},
		Heal: func(ctx context.Context, f *Field) error { return f.LetGo(ctx, database(f).RouterUnit(), node) },
		Verdict: func(_ context.Context, _ *Field, o Outcome) error {
			return errors.Join(withinObjective(o, unfitFigure, routeObjective), v.servedAfter(o.Found[unfitFigure]+leaveObjective))
		},
	}
}

// edgeRoutersStopped takes every node's way to the database away, and gives it back.
func edgeRoutersStopped(c *Cluster) Drill {
	v := &visitors{}
	const kept, fit = "one node is kept in service and the others are not", "all nodes are fit again"
	keeps := func(ctx context.Context, f *Field) error {
		return errors.Join(servesAllTheSame(ctx, f, "hk1"), servesNot(ctx, f, "hk2"), servesNot(ctx, f, "sg1"))
	}
	return Drill{
		Name: "edge/routers-stopped", Proves: "when every node has lost its way to the database, as many as the load balancer is to have at least serve all the same",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error {
			return f.HoldDown(ctx, database(f).RouterUnit(), databaseNodes...)
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := f.Measure(ctx, kept, 30*time.Second, func(ctx context.Context) error { return keeps(ctx, f) }); err != nil {
				return err
			}
			pause(ctx, Calm)
			if err := keeps(ctx, f); err != nil {
				return err
			}
			from := time.Now()
			if err := f.LetGo(ctx, database(f).RouterUnit(), databaseNodes...); err != nil {
				return err
			}
			defer func() { f.Found(fit, time.Since(from)) }()
			return f.Await(ctx, fit, 30*time.Second, func(ctx context.Context) error { return serve(ctx, f, databaseNodes...) })
		},
		Heal: func(ctx context.Context, f *Field) error {
			return f.LetGo(ctx, database(f).RouterUnit(), databaseNodes...)
		},
		Verdict: func(context.Context, *Field, Outcome) error { return v.nobody() },
	}
}

// edgeHalvesOfADatabase cuts four nodes into halves, of which one has two of the database's three votes. The edge reaches them all.
func edgeHalvesOfADatabase(c *Cluster) Drill {
	v := noteWriters()
	writes, blocked := []string{"hk1", "hk2"}, []string{"hk3", "sg1"}
	return Drill{
		Name: "edge/halves-of-a-database", Proves: "of two halves that think each other dead visitors are soon served by the one that can write, and by no other",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error { return cutBetween(ctx, f, writes, blocked) },
		Settle: func(ctx context.Context, f *Field) error {
			err := f.Measure(ctx, "the half that cannot write is unfit", time.Minute, func(ctx context.Context) error {
				return errors.Join(servesNot(ctx, f, "hk3"), servesNot(ctx, f, "sg1"))
			})
			if err != nil {
				return err
			}
			for range 2 {
				if err := stays(ctx, f); err != nil {
					return err
				}
				if err := errors.Join(serve(ctx, f, writes...), servesNot(ctx, f, "hk3"), servesNot(ctx, f, "sg1")); err != nil {
					return err
				}
			}
			return nil
		},
		Heal: func(ctx context.Context, f *Field) error { return f.HealAll(ctx) },
		Verdict: func(context.Context, *Field, Outcome) error {
			return errors.Join(v.servedAfter(partitionObjective), v.lastAnsweredBySome(writes...))
		},
	}
}

// serve demands that nodes are fit to serve in their own right.
func serve(ctx context.Context, f *Field, nodes ...string) error {
	for _, n := range nodes {
		h, err := f.HealthFor(ctx, n, edgeHost)
		if err != nil {
			return err
		}
		if !h.Healthy || h.Parts[databaseNodePart] != "ok" {
			return fmt.Errorf("%s is not fit: %v", n, h.Parts)
		}
	}
	return nil
}

// servesNot demands that a node is unfit, since it has no way to the database.
func servesNot(ctx context.Context, f *Field, node string) error {
	h, err := f.HealthFor(ctx, node, edgeHost)
	if err == nil && (h.Healthy || h.Parts[databaseNodePart] == "ok") {
		err = fmt.Errorf("%s serves (%t): %v", node, h.Healthy, h.Parts)
	}
	return err
}

// servesAllTheSame demands that a node is kept in service although it has no router.
func servesAllTheSame(ctx context.Context, f *Field, node string) error {
	h, err := f.HealthFor(ctx, node, edgeHost)
	part := h.Parts[databaseNodePart]
	if err == nil && (!h.Healthy || !strings.HasPrefix(part, "kept in service") || !strings.HasSuffix(part, noRouter)) {
		err = fmt.Errorf("%s is not kept in service (%t): %v", node, h.Healthy, h.Parts)
	}
	return err
}
