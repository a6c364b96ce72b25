//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// starAfter is for how long the centre of a star has to be dead until its backup takes over, in seconds.
const starAfter = 10

// filesStarDrills are what may happen to a tree that three nodes keep equal: the first is the centre, the third its backup.
func filesStarDrills() []Drill {
	c := &Cluster{
		Name: "three nodes keep a tree", Env: []string{rig.WithStar(filesOne, filesThird, filesOther, starAfter)},
		Prepare: func(ctx context.Context, f *Field) error { return f.Apply(ctx) },
		Ready: func(ctx context.Context, f *Field) error {
			if err := filesReady(ctx, f); err != nil {
				return err
			}
			if err := starStandsBy(ctx, f); err != nil {
				return err
			}
			_, err := sameTrees(ctx, f.Pair(filesOne, filesThird))
			return err
		},
	}
	return []Drill{filesStarCentre(c, "star-centre-dies", true), filesStarCentre(c, "star-centre-cut-off", false)}
}

// starStandsBy returns an error unless the standby pair rests and the others work: a node that was away does not know yet that it stands in.
func starStandsBy(ctx context.Context, f *Field) error {
	status, _, err := f.Status(ctx)
	for _, name := range []string{rig.PairName, rig.TrunkName} {
		if v := status.Pairs[name]; err == nil && v.State != spec.PairSynced && v.State != spec.PairSyncing {
			err = fmt.Errorf("pair %s is %q", name, v.State)
		}
	}
	if v := status.Pairs[rig.StandbyName]; err == nil && (v.State != spec.PairStandingBy || !v.StandsIn.IsZero()) {
		err = fmt.Errorf("pair %s is %q, and stands in since %q", rig.StandbyName, v.State, v.StandsIn)
	}
	return err
}

// starUploads are applications on all three nodes.
type starUploads struct{ *uploads }

func (u starUploads) begin(ctx context.Context, f *Field) (Traffic, error) {
	if _, err := u.uploads.begin(ctx, f); err != nil {
		return nil, err
	}
	return u, u.start(ctx, filesThird, "steady", filesThird, "pause="+u.pause)
}

// Stop implements Traffic: what has to be on two of the nodes has to be on the third, too.
func (u starUploads) Stop(ctx context.Context, fault time.Time) (Seen, error) {
	seen, err := u.uploads.Stop(ctx, fault)
	if err != nil {
		return seen, err
	}
	pair := u.pair
	defer func() { u.pair = pair }()
	u.pair = u.f.Pair(filesThird, filesOther)
	third, err := u.uploads.Stop(ctx, fault)
	seen.Lost = max(seen.Lost, third.Lost)
	return seen, err
}

// filesStarCentre takes the centre away, by its power or by all of its ways, while all three nodes write.
func filesStarCentre(c *Cluster, name string, power bool) Drill {
	u := starUploads{&uploads{pause: "0.05"}}
	proves := "when a star's centre loses its power, its backup takes over, and everything that was acknowledged on any of the three nodes is on all of them when it is back"
	if !power {
		proves = "when a star's centre is cut off, and goes on alone, its backup takes over, and everything that was acknowledged on any of the three nodes is on all of them afterwards"
	}
	ways := func(ctx context.Context, way func(context.Context, string, string) error) error {
		return errors.Join(way(ctx, filesOne, filesOther), way(ctx, filesOne, filesThird))
	}
	return Drill{
		Name: "files/" + name, Cluster: c, Setup: u.prepare, Traffic: u.begin, Proves: proves,
		Inject: func(ctx context.Context, f *Field) error {
			if power {
				return f.Kill(ctx, filesOne)
			}
			return ways(ctx, func(ctx context.Context, one, other string) error { return f.Cut(ctx, one, other, false) })
		},
		Settle: func(ctx context.Context, f *Field) error {
			from := time.Now()
			if _, err := u.pair.Run(ctx, filesOther, "echo over >"+u.dir+"-over"); err != nil {
				return err
			}
			if err := f.Await(ctx, "the backup has taken over", 2*time.Minute, func(ctx context.Context) error {
				_, err := u.pair.Run(ctx, filesThird, "test -e "+u.dir+"-over")
				return err
			}); err != nil {
				return err
			}
			f.Found(fmt.Sprintf("what one of the others writes is on the backup (after %d s)", starAfter), time.Since(from))
			pause(ctx, outageLasts)
			end := func(ctx context.Context) error { return f.PowerOn(ctx, filesOne) }
			if !power {
				end = func(ctx context.Context) error { return ways(ctx, f.Heal) }
			}
			if err := end(ctx); err != nil {
				return err
			}
			back := time.Now()
			// Everybody writes on while the centre catches up, and is the centre again.
			if err := f.Await(ctx, "the standby pair rests again", 4*time.Minute, func(ctx context.Context) error { return starStandsBy(ctx, f) }); err != nil {
				return err
			}
			f.Found("the centre is the centre again, while all write", time.Since(back))
			if err := u.settled(ctx, nil); err != nil {
				return err
			}
			return f.Await(ctx, "the backup has the same", 3*time.Minute, func(ctx context.Context) error {
				_, err := sameTrees(ctx, f.Pair(filesOne, filesThird))
				return err
			})
		},
		Heal: u.clear,
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			err := u.nothingLost(ctx, f, o)
			if text := strings.Join(f.notes, "; "); err == nil && strings.Contains(text, "lost on") {
				err = errors.New(text)
			}
			return err
		},
	}
}
