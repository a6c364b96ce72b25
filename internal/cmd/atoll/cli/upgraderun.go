package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/barrier"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// takenSnapshot is a snapshot as a run shows it.
type takenSnapshot struct {
	snapshot.Snapshot
	// Verified tells that its digest is that of the trees on both nodes.
	Verified bool `json:"verified"`
}

// restoredPair is what was put back of a pair.
type restoredPair struct {
	snapshot.Restored
	// Same tells that both nodes had exactly what they had before the change afterwards.
	Same bool `json:"same"`
}

// newID returns the ID of an upgrade that begins now.
func newID(now time.Time) string {
	return "u" + now.UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:4])
}

// start begins an upgrade and does all of it.
func (u *upgrade) start(ctx context.Context, change []string) error {
	if err := u.look(ctx); err != nil {
		return err
	}
	switch have, err := u.found(); {
	case err != nil:
		return err
	case have != nil:
		return fmt.Errorf("upgrade %s on %s is under way since %s (%s): go on with atoll upgrade resume, or take it back with atoll upgrade abort",
			have.ID, have.Node, have.At.Format(time.RFC3339), have.Step)
	}
	if err := u.choose(); err != nil {
		return err
	}
	if err := u.reachable(); err != nil {
		return err
	}
	u.state.ID, u.state.Backup, u.state.Verify = newID(u.env.Now()), u.backup != "", u.verify != ""
	if err := u.room(ctx); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	u.out.say("upgrade %s: taking all nodes out of service", u.state.ID)
	return u.before(ctx, change)
}

// resume goes on with an upgrade.
func (u *upgrade) resume(ctx context.Context, change []string) error {
	if err := u.goOnWith(ctx); err != nil {
		return err
	}
	if u.state.Verify && u.verify == "" && !u.noVerify {
		return errors.New("it was begun with --verify: give that again, or --no-verify")
	}
	u.state.Verify = u.verify != ""
	u.out.say("upgrade %s on %s goes on: %s", u.state.ID, u.state.Node, u.state.Step)
	switch u.state.Step {
	case spec.UpgradeSnapshot:
		if len(change) == 0 {
			return errors.New("nothing was changed yet: say which command makes the change, after --")
		}
		if u.state.Backup && u.backup == "" {
			return errors.New("it was begun with --backup, and it is not known whether that was made: give it again")
		}
		u.state.Backup = u.state.Backup || u.backup != ""
		return u.before(ctx, change)
	case spec.UpgradeChange:
		switch {
		case u.again:
			return u.change(ctx, change)
		case !u.changed:
			return errors.New("it was interrupted during the change, which may be made in part: look, then say --changed, or --again -- COMMAND, or abort")
		}
		return u.after(ctx)
	case spec.UpgradeVerify:
		return u.after(ctx)
	case spec.UpgradeRestore:
		return errors.New("it is being taken back: go on with atoll upgrade abort")
	}
	return fmt.Errorf("this program does not know step %q: update it", u.state.Step)
}

// abort takes an upgrade back.
func (u *upgrade) abort(ctx context.Context) error {
	if err := u.goOnWith(ctx); err != nil {
		return err
	}
	if u.state.Step == spec.UpgradeSnapshot {
		u.out.say("upgrade %s on %s had changed nothing yet", u.state.ID, u.state.Node)
		if err := u.leave(ctx); err != nil {
			return err
		}
		u.result.Outcome = outcomeUnchanged
		return nil
	}
	return u.restore(ctx)
}

// before does everything before the change, and goes on. What fails here has changed nothing: the nodes are put back into service.
func (u *upgrade) before(ctx context.Context, change []string) error {
	u.result.Outcome = outcomeStopped
	err := u.record(ctx, spec.UpgradeSnapshot)
	if err == nil {
		err = u.prepare(ctx)
	}
	if err == nil {
		return u.change(ctx, change)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted before the change: %w", err)
	}
	u.out.say("nothing was changed: %s", plainly(err))
	if leaveErr := u.leave(ctx); leaveErr != nil {
		return errors.Join(err, leaveErr)
	}
	u.result.Outcome = outcomeUnchanged
	return err
}

// prepare makes sure that there is a way back.
func (u *upgrade) prepare(ctx context.Context) error {
	equal, err := u.equal(ctx)
	if err != nil {
		return err
	}
	if u.backup != "" {
		if err := u.shell(ctx, "--backup", u.backup); err != nil {
			return err
		}
	}
	snapped := map[string]string{}
	for _, pair := range u.here() {
		tree := u.report.Pairs[pair].Sides[u.state.Node].Path
		if first := snapped[tree]; first != "" && equal[first] == equal[pair] {
			u.out.say("pair %s: its tree on %s is that of pair %s: one snapshot is enough", pair, u.state.Node, first)
			continue
		}
		snapped[tree] = pair
		result, err := u.snapshot(ctx, pair, snapshot.Take)
		if err != nil {
			return err
		}
		if len(result.Snapshots) != 1 {
			return fmt.Errorf("pair %s: the agent of %s has not said which snapshot it has taken", pair, u.state.Node)
		}
		taken := takenSnapshot{Snapshot: result.Snapshots[0]}
		taken.Verified = taken.Digest == equal[pair]
		if !taken.Verified {
			return fmt.Errorf("pair %s: something has changed the tree on %s since all nodes are in maintenance: stop it (cron jobs, workers, users with a shell) and begin again", pair, u.state.Node)
		}
		u.result.Snapshots = append(u.result.Snapshots, taken)
		u.out.say("pair %s: snapshot %s of %s on %s, %s: digest %.*s, as on both nodes", pair, taken.ID, files(taken.Totals), u.state.Node, taken.Method, digestShown, taken.Digest)
	}
	return nil
}

// change makes the change, and goes on.
func (u *upgrade) change(ctx context.Context, change []string) error {
	if err := u.record(ctx, spec.UpgradeChange); err != nil {
		return err
	}
	if err := u.command(ctx, "the change", change); err != nil {
		return u.failed(ctx, err)
	}
	return u.after(ctx)
}

// after does everything after the change.
func (u *upgrade) after(ctx context.Context) error {
	if u.state.Step != spec.UpgradeVerify {
		if err := u.record(ctx, spec.UpgradeVerify); err != nil {
			return err
		}
	}
	if _, err := u.equal(ctx); err != nil {
		return u.failed(ctx, err)
	}
	if u.verify != "" {
		if err := u.shell(ctx, "--verify", u.verify); err != nil {
			return u.failed(ctx, err)
		}
	}
	if err := u.leave(ctx); err != nil {
		return err
	}
	u.result.Outcome = outcomeDone
	return nil
}

// failed does what is to be done when the change has failed.
func (u *upgrade) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil || u.onFailure != onFailureRestore {
		return err
	}
	u.out.say("%s: it is taken back", plainly(err))
	if restoreErr := u.restore(ctx); restoreErr != nil {
		return errors.Join(err, restoreErr)
	}
	return fmt.Errorf("the change was taken back: %w", err)
}

// restore puts everything back.
func (u *upgrade) restore(ctx context.Context) error {
	if u.state.Backup && u.undo == "" && !u.noUndo {
		return errors.New("it has a --backup: say with --undo which command puts that back, or --no-undo to leave it alone")
	}
	if err := u.record(ctx, spec.UpgradeRestore); err != nil {
		return err
	}
	if u.undo != "" {
		if err := u.shell(ctx, "--undo", u.undo); err != nil {
			return err
		}
	}
	u.result.Restored = map[string]restoredPair{}
	snapped, err := u.snapped(ctx)
	if err != nil {
		return err
	}
	for _, pair := range snapped {
		result, err := u.snapshot(ctx, pair, snapshot.Restore)
		if err != nil {
			return err
		}
		if result.Restored == nil {
			return fmt.Errorf("pair %s: the agent of %s has not said what it has put back", pair, u.state.Node)
		}
		r := *result.Restored
		u.result.Restored[pair] = restoredPair{Restored: r}
		u.out.say("pair %s: put back on %s: %d paths were missing, %d new, %d changed", pair, u.state.Node, r.Added, r.Removed, r.Changed)
		if r.Replaced != "" {
			u.out.say("pair %s: what was in their place is on %s in %s", pair, u.state.Node, r.Replaced)
		}
	}
	equal, err := u.equal(ctx)
	if err != nil {
		return err
	}
	for pair, r := range u.result.Restored {
		r.Same = r.Digest == equal[pair]
		u.result.Restored[pair] = r
		if !r.Same {
			u.warn("pair %s: both nodes are equal, but not all is as it was before: something was written meanwhile, or a conflict was kept (atoll status)", pair)
		}
	}
	if err := u.leave(ctx); err != nil {
		return err
	}
	u.result.Outcome = outcomeRestored
	return nil
}

// equal waits until the trees of all pairs are equal, and returns their digests.
func (u *upgrade) equal(ctx context.Context) (map[string]digest.Sum, error) {
	pairs, err := u.report.sidesOf(u.state.Pairs, u.hotOnly, u.client)
	if err != nil {
		return nil, err
	}
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if u.timeout > 0 {
		waiting, cancel = context.WithTimeout(ctx, u.timeout)
	}
	defer cancel()
	began := time.Now()
	states, err := barrier.Wait(waiting, pairs, barrier.Options{Report: u.out.report, Hopeless: hopeless})
	result := waitedFor(u.report.Cluster, states, time.Since(began))
	u.result.Equal = &result
	switch {
	case err != nil && waiting.Err() == nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, fmt.Errorf("interrupted before the trees were equal: %w", ctx.Err())
	case !result.Equal:
		return nil, fmt.Errorf("the trees were not equal on all nodes within %s: atoll wait-synced says what differs", u.timeout)
	}
	out := map[string]digest.Sum{}
	for _, s := range states {
		if s.Part == digest.Hot {
			out[s.Pair] = s.Sides[0].Snapshot.Sum
		}
		u.out.say("pair %s: equal on %s and %s: %s, digest %.*s", partName(s), s.Nodes[0], s.Nodes[1], files(s.Sides[0].Snapshot.Totals), digestShown, s.Sides[0].Snapshot.Sum)
	}
	return out, nil
}
