//go:build linux

package replicationtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// manyUnreadable has more files that the account may not read than are told in one word, or named: a part of them come with their directory.
func (r *run) manyUnreadable(t *testing.T) {
	const many = 2000
	reached := func() string {
		return r.lead.Run(t, `{ cat /run/journal 2>/dev/null || journalctl --no-pager -o cat -u "$1"; } | grep -c "the other side is reached"`, r.Unit(pairName))
	}
	before := reached()
	r.lead.Run(t, `name="a file that is root's, with a name of some length so that all of them are long"
mkdir "$1.new"; cd "$1.new"; (umask 077; for i in $(seq $(($2 / 2))); do echo secret >"$name $i"; done); chown www-data:www-data .; mv "$1.new" "$1/preview"
umask 077; for i in $(seq $(($2 / 2 + 1)) "$2"); do echo secret >"$1/preview/$name $i"; done`, r.lead.path, fmt.Sprint(many))
	st := r.lead.awaitStatus(t, "counts what it cannot read", func(st replication.Status) bool { return strings.HasPrefix(st.Problem, fmt.Sprint(many)+" paths ") })
	if len(st.Problem) > 4000 {
		t.Errorf("the problem is told in %d bytes", len(st.Problem))
	}
	r.lead.write(t, "beside", "many that are unreadable")
	r.lead.Run(t, `cd "$1/preview"; ls | tail -n +1500 | tr '\n' '\0' | xargs -0 rm`, r.lead.path)
	r.lead.awaitStatus(t, "counts fewer", func(st replication.Status) bool { return strings.HasPrefix(st.Problem, "1499 paths ") })
	r.lead.Run(t, `cd "$1/preview"; chown -R www-data:www-data .`, r.lead.path)
	r.awaitSynced(t, long)
	r.lead.awaitStatus(t, "has no more to complain of", func(st replication.Status) bool { return st.Problem == "" && st.State == spec.PairSynced })
	if after := reached(); after != before {
		t.Errorf("the stream to the other side was opened %s times, before %s", after, before)
	}
	r.lead.Run(t, `rm -r "$1/preview"`, r.lead.path)
	r.awaitSynced(t, long)
}

// full has one side run out of room, and out of inodes: what does not fit waits, and the sides do not count as equal meanwhile, not after a
// start either.
func (r *run) full(t *testing.T) {
	for _, s := range r.sides() {
		other := r.other(s)
		stop := func() {
			t.Helper()
			if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
				t.Fatal(err)
			}
		}
		remount := func(options string) { s.Run(t, `mount -o "remount,$2" "$1"`, s.path, options) }
		stop()
		s.Run(t, `mv "$1" "$1.large"; mkdir "$1"; mount -t tmpfs -o size=64m,mode=755 small "$1"; chown www-data:www-data "$1"; cp -a "$1.large/." "$1"`, s.path)
		r.apply(t, s)
		r.awaitHealed(t, s)
		used := strings.Fields(s.Run(t, `df --output=used,iused "$1" | tail -n 1`, s.path))

		for name, test := range map[string]struct {
			tight, wide string
			files       int
			size        int
		}{
			"room":   {tight: "size=$((" + used[0] + " + 1024))k", wide: "size=64m", files: 20, size: 200_000},
			"inodes": {tight: "nr_inodes=$((" + used[1] + " + 20))", wide: "nr_inodes=100k", files: 100, size: 1},
		} {
			remount(s.Run(t, `echo "`+test.tight+`"|tr -d '\n'`))
			content := strings.Repeat("x", test.size)
			for i := range test.files {
				other.write(t, fmt.Sprintf("%s/%d", name, i), content)
			}
			waits := func(st replication.Status) bool {
				return st.State == spec.PairSyncing && strings.Contains(st.Problem, "No space left on device") && strings.Contains(st.Problem, name+"/")
			}
			t.Log(r.lead.awaitStatus(t, "names what there is no room for", waits).Problem)
			r.restart(t, s)
			r.lead.awaitStatus(t, "says so after a start", waits)
			for i := range test.files {
				file := fmt.Sprintf("%s/%d", name, i)
				if err := has(other, file, content)(t.Context()); err != nil {
					t.Fatalf("what was written is lost: %v", err)
				}
				if got := s.read(file); got != content && got != "" {
					t.Fatalf("%s has %d bytes of %s", s.Name, len(got), file)
				}
			}
			remount(test.wide)
			r.awaitSynced(t, 3*long)
			other.Run(t, `rm -r "$1/$2"`, other.path, name)
			r.awaitSynced(t, long)
		}

		stop()
		s.Run(t, `cp -a "$1/." "$1.large.new"; umount "$1"; rm -r "$1.large"; rmdir "$1"; mv "$1.large.new" "$1"`, s.path)
		r.apply(t, s)
		r.awaitHealed(t, s)
	}
}
