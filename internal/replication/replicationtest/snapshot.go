//go:build linux

package replicationtest

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

// snapshotID is what the suite calls its snapshot.
const snapshotID = "before-the-change"

// act has a side do something with snapshots, as an agent's caller does.
func (s *side) act(ctx context.Context, action snapshot.Action) (snapshot.Result, error) {
	keeper, ok := s.driver.(replication.Snapshotter)
	if !ok {
		return snapshot.Result{}, errors.New("the driver keeps no snapshots")
	}
	for {
		result, err := keeper.Snapshot(ctx, pairName, snapshot.Request{Action: action, ID: snapshotID})
		if err != nil || result.Done {
			return result, err
		}
	}
}

// snapshots has a change go wrong on either side, which is put back to what it was before: the other side follows, and nothing that was written
// meanwhile is lost.
func (r *run) snapshots(t *testing.T) {
	for _, s := range r.sides() {
		o := r.other(s)
		s.write(t, "app/version", "1")
		s.write(t, "app/lib/code", "of version 1")
		s.Run(t, `cd "$1/app"; ln -s lib link; chmod 2750 lib; chown -h www-data:www-data link`, s.path)
		r.awaitSynced(t, long)
		before, err := r.waitEqual(t.Context(), long)
		if err != nil {
			t.Fatal(err)
		}
		if room, err := s.act(t.Context(), snapshot.Check); err != nil || room.Room == nil || room.Room.Totals.Files == 0 {
			t.Errorf("%s: the room for it is %+v, %v", s.Name, room, err)
		}
		taken, err := s.act(t.Context(), snapshot.Take)
		if err != nil {
			t.Fatalf("%s: take a snapshot: %v", s.Name, err)
		}
		if taken.Snapshots[0].Digest != before.Sides[0].Snapshot.Sum {
			t.Errorf("%s: the snapshot's digest is not that of both trees: %+v", s.Name, taken.Snapshots[0])
		}
		if mode := s.Run(t, `stat -c '%a %U' "$1"`, taken.Snapshots[0].Path); mode != "700 root\n" {
			t.Errorf("%s: others may look into the snapshot: %s", s.Name, mode)
		}
		s.Run(t, `cd "$1/app"; rm -r lib link; mkdir -p new/deep; echo 2 >version; echo 2 >lib; echo 2 >new/deep/file; chown -hR www-data:www-data .`, s.path)
		letter := "letter of " + o.Name
		o.write(t, "app/"+letter, "of a user")
		r.awaitSynced(t, long)
		// What is removed in the moment in which it has arrived is kept as what somebody may have changed meanwhile.
		arrived := time.Now()
		await.True(t, "what has arrived is no longer new", long, func() bool { return time.Since(arrived) > 100*time.Millisecond })
		restored, err := s.act(t.Context(), snapshot.Restore)
		if err != nil {
			t.Fatalf("%s: put back: %v", s.Name, err)
		}
		await.NoError(t, "the other side has what was put back", long, has(o, "app/lib/code", "of version 1"))
		r.awaitSynced(t, long)
		after, err := r.waitEqual(t.Context(), long)
		if err != nil || after.Sides[0].Snapshot.Sum != before.Sides[0].Snapshot.Sum {
			t.Errorf("the trees are not what they were: %v, %+v", err, after.Comparison)
		}
		for _, side := range r.sides() {
			if got := side.read("app/version"); got != "1" {
				t.Errorf("%s has version %q", side.Name, got)
			}
		}
		replaced := restored.Restored.Replaced
		kept := s.Run(t, `cd "$1"; cat "1/app/$2" 1/app/version 1/app/lib 1/app/new/deep/file; stat -c %a .`, replaced, letter)
		if kept != "of a user2\n2\n2\n700\n" {
			t.Errorf("%s: what was replaced is not all in %s: %q", s.Name, replaced, kept)
		}
		list, err := s.act(t.Context(), snapshot.List)
		if err != nil || len(list.Snapshots) != 1 || list.Snapshots[0].Replaced != replaced {
			t.Errorf("%s: the list is %+v, %v", s.Name, list, err)
		}
		if _, err := s.act(t.Context(), snapshot.Remove); err != nil {
			t.Errorf("%s: remove it: %v", s.Name, err)
		}
		if left := s.Run(t, `find "$1" "$2" -mindepth 1 2>/dev/null || true`, replaced, filepath.Dir(taken.Snapshots[0].Path)); left != "" {
			t.Errorf("%s: after it was removed there is %s", s.Name, left)
		}
		var refused *snapshot.RefusedError
		if _, err := s.act(t.Context(), snapshot.Restore); !errors.As(err, &refused) {
			t.Errorf("%s: what was removed is put back: %v", s.Name, err)
		}
		s.Run(t, `rm -r "$1/app"`, s.path)
		r.awaitSynced(t, long)
		if _, err := s.Digest(t.Context(), true, func(digest.Progress) {}); err != nil {
			t.Error(err)
		}
	}
}
