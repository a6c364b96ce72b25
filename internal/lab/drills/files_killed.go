//go:build linux

package drills

import (
	"context"
	"fmt"
	"time"
)

// killPause is the time between two things that are killed.
const killPause = 3 * time.Second

// filesProgramsKilled kills everything that keeps the pair, on either node, while both write.
func filesProgramsKilled(c *Cluster) Drill {
	u := &uploads{pause: "0.01"}
	return Drill{
		Name: "files/programs-killed", Cluster: c, Traffic: u.begin, Setup: u.prepare,
		Proves: "everything that was written before, while and after unison, the pair's worker and the agent were killed, on either node, is on both",
		Inject: func(ctx context.Context, f *Field) error {
			for _, kill := range []string{
				// Between two runs of unison there is none.
				"for i in 1 2 3 4 5 6 7 8 9; do pkill -KILL -x unison && exit 0; sleep 0.1; done; exit 1",
				"systemctl kill --signal=KILL " + u.pair.Unit(),
				"systemctl kill --signal=KILL atolld.service",
			} {
				for _, node := range u.pair.Nodes {
					if err := on(ctx, f, node, "sh", "-c", kill); err != nil {
						return err
					}
					pause(ctx, killPause)
				}
			}
			return nil
		},
		Settle: func(ctx context.Context, _ *Field) error { return u.settled(ctx, nil) },
		Heal:   u.clear, Verdict: u.nothingLost,
	}
}

// loseArchives removes what unison knows of the last time, and kills it with everything that keeps the pair.
const loseArchives = `n=$(find /var/lib/atoll-pairs \( -name 'ar??????*' -o -name 'fp??????*' \) -type f -print -delete | wc -l)
systemctl kill --signal=KILL "$1"
test "$n" -gt 0`

// filesArchivesLost takes away what unison knows of the last time, on one node, on the other, and on both, while both write.
func filesArchivesLost(c *Cluster) Drill {
	u := &uploads{pause: "0.02"}
	return Drill{
		Name: "files/archives-lost", Cluster: c, Traffic: u.begin, Setup: u.prepare,
		Proves: "nothing is lost when what unison knows of the last time is deleted, on one node, on the other and on both",
		Inject: func(ctx context.Context, f *Field) error {
			for _, nodes := range [][]string{{filesOne}, {filesOther}, {filesOne, filesOther}} {
				for _, node := range nodes {
					if err := on(ctx, f, node, "sh", "-c", loseArchives, "sh", u.pair.Unit()); err != nil {
						return fmt.Errorf("%s has no archive to lose: %w", node, err)
					}
				}
				if err := f.Await(ctx, "the pair is kept again", time.Minute, func(ctx context.Context) error {
					pause(ctx, killPause)
					return on(ctx, f, filesOne, "sh", "-c", "find /var/lib/atoll-pairs -name 'ar??????*' -type f | grep -q .")
				}); err != nil {
					return err
				}
			}
			return nil
		},
		Settle: func(ctx context.Context, _ *Field) error { return u.settled(ctx, nil) },
		Heal:   u.clear, Verdict: u.nothingLost,
	}
}
