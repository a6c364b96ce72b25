//go:build linux

package drills

import (
	"context"
	"fmt"
)

// How many files both nodes change at once.
const contested = 200

// together starts applications on both nodes at the same moment and waits for both.
func (u *uploads) together(one, other func() error) error {
	if err := one(); err != nil {
		return err
	}
	if err := other(); err != nil {
		return err
	}
	return u.finish()
}

// base makes the files that both nodes are to change.
func (u *uploads) base(ctx context.Context, f *Field, count int) error {
	if err := u.prepare(ctx, f); err != nil {
		return err
	}
	if err := u.start(ctx, filesOne, "make", "both", fmt.Sprintf("count=%d", count), "sync=0"); err != nil {
		return err
	}
	if err := u.finish(); err != nil {
		return err
	}
	return u.equal(ctx, "the files are on both nodes")
}

// filesBothChange has both nodes change the same files at the same moment, and make the same new ones.
func filesBothChange(c *Cluster) Drill {
	u := &uploads{}
	return Drill{
		Name: "files/both-change", Cluster: c, Traffic: u.begin,
		Proves: "when both nodes change the same files at the same moment, or make the same ones, every version is on both afterwards",
		Setup:  func(ctx context.Context, f *Field) error { return u.base(ctx, f, contested) },
		Inject: func(ctx context.Context, _ *Field) error {
			rewrite := func(node string) func() error {
				return func() error { return u.start(ctx, node, "rewrite", "both", fmt.Sprintf("count=%d", contested+100)) }
			}
			return u.together(rewrite(filesOne), rewrite(filesOther))
		},
		Settle: func(ctx context.Context, _ *Field) error {
			if err := u.settled(ctx, nil); err != nil {
				return err
			}
			return u.swept(ctx)
		},
		Heal: u.clear, Verdict: u.nothingLost,
	}
}

// filesDeleteChange has each node delete what the other changes at that moment.
func filesDeleteChange(c *Cluster) Drill {
	u := &uploads{}
	return Drill{
		Name: "files/delete-change", Cluster: c, Traffic: u.begin,
		Proves: "what one node changes while the other deletes it is on both afterwards",
		Setup:  func(ctx context.Context, f *Field) error { return u.base(ctx, f, 2*contested) },
		Inject: func(ctx context.Context, _ *Field) error {
			from := func(mode, node string, first int) func() error {
				return func() error {
					return u.start(ctx, node, mode, "both", fmt.Sprintf("from=%d", first), fmt.Sprintf("count=%d", contested))
				}
			}
			if err := u.together(from("remove", filesOne, 0), from("rewrite", filesOther, 0)); err != nil {
				return err
			}
			return u.together(from("rewrite", filesOne, contested), from("remove", filesOther, contested))
		},
		Settle: func(ctx context.Context, _ *Field) error { return u.settled(ctx, nil) },
		Heal:   u.clear, Verdict: u.nothingLost,
	}
}

// filesRenameStorm gives folders other names, again and again, while the other node writes into them.
func filesRenameStorm(c *Cluster) Drill {
	u := &uploads{elsewhere: true}
	return Drill{
		Name: "files/rename-storm", Cluster: c, Traffic: u.begin,
		Proves: "no version is lost when one node gives folders and files other names, many times a second, into which the other writes",
		Setup:  func(ctx context.Context, f *Field) error { return u.base(ctx, f, 1000) },
		Inject: func(ctx context.Context, _ *Field) error {
			return u.together(
				func() error { return u.start(ctx, filesOne, "storm", "both", "count=1000", "pause=0.01") },
				func() error { return u.start(ctx, filesOther, "among", "both", "count=500", "pause=0.02") },
			)
		},
		Settle: func(ctx context.Context, _ *Field) error { return u.settled(ctx, nil) },
		Heal:   u.clear, Verdict: u.nothingLost,
	}
}

// filesClockWrong has the files of one node dated five minutes late, as a clock that is wrong does, while both change the same ones.
func filesClockWrong(c *Cluster) Drill {
	u := &uploads{pause: "0.02"}
	return Drill{
		Name: "files/clock-wrong", Cluster: c, Traffic: u.begin,
		Proves: "dates of files that are five minutes wrong, in either direction, decide nothing: every version is on both nodes",
		Setup:  func(ctx context.Context, f *Field) error { return u.base(ctx, f, contested) },
		Inject: func(ctx context.Context, _ *Field) error {
			for n, shift := range []string{"shift=300", "shift=-300"} {
				for i, node := range u.pair.Nodes {
					options := []string{fmt.Sprintf("from=%d", n*contested/2), fmt.Sprintf("count=%d", contested/2)}
					if i == 1 {
						options = append(options, shift)
					}
					if err := u.start(ctx, node, "rewrite", "both", options...); err != nil {
						return err
					}
				}
				// On its own, too: what it writes after each other has dates that go forward, but are not of now.
				if err := u.start(ctx, filesOther, "make", "dated"+shift[5:], "count=200", shift); err != nil {
					return err
				}
			}
			return nil
		},
		Settle: func(ctx context.Context, _ *Field) error {
			pause(ctx, Calm)
			return u.settled(ctx, nil)
		},
		Heal: u.clear, Verdict: u.nothingLost,
	}
}
