//go:build linux

package replicationtest

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

// knowledgeLost has each side forget, and then both, what was synchronized.
func (r *run) knowledgeLost(t *testing.T) {
	r.lead.write(t, "kept", "1")
	r.awaitSynced(t, long)
	for i, forget := range [][]*side{{r.lead}, {r.back}, {r.lead, r.back}} {
		for _, s := range forget {
			if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
				t.Fatal(err)
			}
			s.Run(t, `rm `+r.Knowledge(pairName))
		}
		r.lead.write(t, fmt.Sprintf("lost%d/file", i), "of the leader")
		r.back.write(t, fmt.Sprintf("lost%d/file", i), "of the other")
		for _, s := range forget {
			r.apply(t, s)
		}
		r.awaitSynced(t, long)
		for _, s := range r.sides() {
			if diff := cmp.Diff([]string{"of the leader", "of the other"}, versions(t, s, fmt.Sprintf("lost%d", i))); diff != "" {
				t.Errorf("%s lost a version (-want +got):\n%s", s.Name, diff)
			}
			if got := s.read("kept"); got != "1" {
				t.Errorf("%s lost a file: %q", s.Name, got)
			}
		}
	}
}

// knowledgeDamaged has bytes flipped, in one place and another, and the end missing, in what a side knows.
func (r *run) knowledgeDamaged(t *testing.T) {
	damages := []string{`truncate -s $(($(stat -c %s "$f") * 2 / 3)) "$f"`, `: >"$f"`}
	for eighth := range 7 {
		damages = append(damages, fmt.Sprintf(`printf '\377\377\377\377' | dd of="$f" bs=1 seek=$(($(stat -c %%s "$f") * %d / 8)) conv=notrunc status=none`, eighth+1))
	}
	for _, s := range r.sides() {
		for i, damage := range damages {
			if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
				t.Fatal(err)
			}
			s.Run(t, `for f in `+r.Knowledge(pairName)+`; do `+damage+`; done`)
			dir := fmt.Sprintf("damaged%d on %s", i, s.Name)
			r.lead.write(t, dir+"/file", "of the leader")
			r.back.write(t, dir+"/file", "of the other")
			r.apply(t, s)
			r.awaitSynced(t, long)
			for _, side := range r.sides() {
				if diff := cmp.Diff([]string{"of the leader", "of the other"}, versions(t, side, dir)); diff != "" {
					t.Errorf("%s lost a version (-want +got):\n%s", side.Name, diff)
				}
				if got := side.read("kept"); got != "1" {
					t.Errorf("%s lost a file: %q", side.Name, got)
				}
			}
		}
	}
}

// knowledgeRolledBack has a side know what was so a while ago, as after a restored backup of its disk without the tree.
func (r *run) knowledgeRolledBack(t *testing.T) {
	for _, s := range r.sides() {
		stop := func() {
			t.Helper()
			if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
				t.Fatal(err)
			}
		}
		r.lead.write(t, "rolled/old", "1")
		r.awaitSynced(t, long)
		stop()
		s.Run(t, `mkdir /run/rolled; cp -a `+r.Knowledge(pairName)+` /run/rolled`)
		r.apply(t, s)
		r.awaitSynced(t, long)
		for _, side := range r.sides() {
			side.write(t, "rolled/since on "+side.Name, side.Name)
			// In its place it would be the second of two changes that dates do not tell apart.
			side.write(t, "rolled/old.tmp", "changed on "+side.Name)
			if err := os.Rename(side.file("rolled/old.tmp"), side.file("rolled/old")); err != nil {
				t.Fatal(err)
			}
			r.awaitSynced(t, long)
		}
		stop()
		s.Run(t, `set -- `+r.Knowledge(pairName)+`; cp -a /run/rolled/* "${1%/*}"; rm -r /run/rolled`)
		r.apply(t, s)
		r.awaitSynced(t, long)
		for _, side := range r.sides() {
			if err := errors.Join(has(side, "rolled/since on "+r.lead.Name, r.lead.Name)(t.Context()), has(side, "rolled/since on "+r.back.Name, r.back.Name)(t.Context()),
				has(side, "rolled/old", "changed on "+r.back.Name)(t.Context())); err != nil {
				t.Error(err)
			}
		}
		r.lead.Run(t, `rm -r "$1/rolled"`, r.lead.path)
		r.awaitSynced(t, long)
	}
}

// powerCut has each side lose its power: what it has received last is empty, with names, dates and all, as a file system has it that had not
// come to write the contents. The other side's are good, and so is what was changed there meanwhile.
func (r *run) powerCut(t *testing.T) {
	for _, s := range r.sides() {
		other := r.other(s)
		other.write(t, "power/received", "1")
		other.write(t, "power/changed", "1")
		s.write(t, "power/own", "1")
		r.awaitSynced(t, long)
		if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		s.Run(t, `cd "$1/power"; for f in received changed; do touch -r $f date; : >$f; touch -r date $f; done; rm date`, s.path)
		s.Run(t, r.PowerCut(pairName))
		other.write(t, "power/changed", "2, meanwhile")
		r.apply(t, s)
		r.awaitSynced(t, long)
		for _, side := range r.sides() {
			if err := errors.Join(has(side, "power/received", "1")(t.Context()), has(side, "power/changed", "2, meanwhile")(t.Context()), has(side, "power/own", "1")(t.Context())); err != nil {
				t.Errorf("after %s lost its power: %v", s.Name, err)
			}
		}
		// It is as usual again, also for what was written in its place moments before the service was begun. What the other side has written may be dated there
		// just now, which is a change of its own that this one is not to meet.
		s.write(t, "power/own", "3")
		await.NoError(t, "changes go on", long, has(other, "power/own", "3"))
		r.awaitSynced(t, long)
		r.lead.Run(t, `rm -r "$1/power"`, r.lead.path)
		r.awaitSynced(t, long)
	}
}
