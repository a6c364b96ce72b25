//go:build linux

package replicationtest

import (
	"errors"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// mountedInside mounts a file system inside of each side's tree, over files, while the pair works and while it does not: what is beneath was
// not deleted, and neither was what is on it when it is not there.
func (r *run) mountedInside(t *testing.T) {
	for _, s := range r.sides() {
		other := r.other(s)
		intact := func() {
			t.Helper()
			if err := errors.Join(has(other, "inside/beneath", s.Name)(t.Context()), hasNot(other, "inside/on it")(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		refused := func() {
			t.Helper()
			st := s.awaitStatus(t, "says what is mounted", func(st replication.Status) bool {
				return st.State == spec.PairFailed && strings.Contains(st.Problem, "inside is another file system")
			})
			t.Log(st.Problem)
			other.write(t, "meanwhile", s.Name)
			intact()
		}
		// As systemd has it on a machine that is no container: what is mounted gets into the namespaces of units.
		s.Run(t, `mount --make-rshared /`)
		r.restart(t, s)
		s.write(t, "inside/beneath", s.Name)
		r.awaitSynced(t, long)

		s.Run(t, `mount -t tmpfs -o size=1m inside "$1/inside"; echo x >"$1/inside/on it"; chown 33:33 "$1/inside" "$1/inside/on it"`, s.path)
		refused()
		if beneath := strings.TrimSpace(s.Run(t, `for p in $(pgrep -f 'pair --config'); do [ ! -e "/proc/$p/root$1/inside/on it" ] || cat "/proc/$p/mountinfo"; done`, s.path)); strings.Contains(beneath, " "+strings.ReplaceAll(s.path, " ", `\040`)+" ") {
			t.Errorf("%s: what was mounted while it worked has come into its unit:\n%s", s.Name, beneath)
		}
		r.apply(t, s)
		refused()
		r.restart(t, s)
		refused()

		s.Run(t, `umount "$1/inside"`, s.path)
		r.awaitHealed(t, s)
		await.NoError(t, "what was written meanwhile is there", long, has(s, "meanwhile", s.Name))
		intact()

		// It comes and goes while nobody looks.
		if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		s.Run(t, `mount -t tmpfs -o size=1m inside "$1/inside"; echo x >"$1/inside/on it"; chown 33:33 "$1/inside" "$1/inside/on it"`, s.path)
		r.apply(t, s)
		refused()
		if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		s.Run(t, `umount "$1/inside"`, s.path)
		r.apply(t, s)
		r.awaitHealed(t, s)
		intact()
		other.Run(t, `rm -r "$1/inside"`, other.path)
		await.NoError(t, "deletions go on", long, hasNot(s, "inside"))
		r.awaitSynced(t, long) // what is written there next is no conflict with that
	}
}

// restart has a side's worker begin anew.
func (r *run) restart(t *testing.T, s *side) {
	t.Helper()
	if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
		t.Fatal(err)
	}
	r.apply(t, s)
}
