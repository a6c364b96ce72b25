//go:build linux

package drills

import (
	"context"
	"time"
)

// filesCutOff cuts a node off from all others while both write as much as an hour brings elsewhere.
func filesCutOff(c *Cluster) Drill {
	u := &uploads{pause: "0.02"}
	return Drill{
		Name: "files/cut-off", Cluster: c, Traffic: u.begin,
		Proves: "a node that was cut off while both made thousands of changes has all of them afterwards, and so has the other",
		Setup:  func(ctx context.Context, f *Field) error { return u.base(ctx, f, contested) },
		Inject: func(ctx context.Context, f *Field) error {
			if err := cutBetween(ctx, f, []string{filesOne, filesThird}, []string{filesOther}); err != nil {
				return err
			}
			f.Injected = time.Now()
			for _, node := range u.pair.Nodes {
				if err := u.start(ctx, node, "make", "many-"+node, "count=10000", "sync=0"); err != nil {
					return err
				}
				if err := u.start(ctx, node, "rewrite", "both", "count=200"); err != nil {
					return err
				}
			}
			pause(ctx, 20*time.Second)
			return nil
		},
		Settle: func(ctx context.Context, f *Field) error { return u.settled(ctx, f.HealAll) },
		Heal:   u.clear, Verdict: u.nothingLost,
	}
}

// outageLasts is how long a node has no power.
const outageLasts = 5 * time.Second

// filesPowerCut takes a node's power while both write. All of its processes end at once; what they have written stays, since machines of a
// lab share a kernel, which lives on: that a disk lacks what was not synced is for virtual machines to show.
func filesPowerCut(c *Cluster, name, victim string) Drill {
	u := &uploads{pause: "0.01"}
	return Drill{
		Name: "files/" + name, Cluster: c, Traffic: u.begin, Setup: u.prepare,
		Proves: "when all processes of a node end at once while both write, the other goes on, and everything that was acknowledged on either is on both afterwards",
		Inject: func(ctx context.Context, f *Field) error { return f.Kill(ctx, victim) },
		Settle: func(ctx context.Context, f *Field) error {
			pause(ctx, outageLasts)
			return u.settled(ctx, func(ctx context.Context) error { return f.PowerOn(ctx, victim) })
		},
		Heal: u.clear, Verdict: u.nothingLost,
	}
}

// filesFlood makes more files in a minute than there is time for each.
func filesFlood(c *Cluster) Drill {
	u := &uploads{pause: "0.2", within: 15 * time.Minute}
	return Drill{
		Name: "files/flood", Cluster: c, Traffic: u.begin, Setup: u.prepare,
		Proves: "100,000 files that one node makes in a minute are on the other, with what was written besides",
		Inject: func(ctx context.Context, f *Field) error {
			r, err := launch(ctx, f, u.account, filesOne, "make", u.dir+"/flood", "flood", "count=100000", "size=100", "sync=0", "rate=1700")
			if err != nil {
				return err
			}
			if err := r.wait(); err != nil {
				return err
			}
			f.Found("the files were made", time.Since(f.Injected))
			return nil
		},
		Settle: func(ctx context.Context, _ *Field) error { return u.settled(ctx, nil) },
		Heal:   u.clear, Verdict: u.nothingLost,
	}
}
