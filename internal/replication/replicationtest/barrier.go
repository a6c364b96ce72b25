//go:build linux

package replicationtest

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/barrier"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Digest implements barrier.Side as an agent's caller does.
func (s *side) Digest(ctx context.Context, full bool, progress func(digest.Progress)) (*digest.Snapshot, error) {
	request := digest.Request{ID: rand.Text(), Full: full}
	for {
		result, err := s.driver.Digest(ctx, pairName, request)
		if err != nil || result.Snapshot != nil {
			return result.Snapshot, err
		}
		progress(result.Progress)
	}
}

// Directory implements digest.Lister.
func (s *side) Directory(ctx context.Context, path string) (digest.Directory, error) {
	return s.driver.Directory(ctx, pairName, digest.Hot, path)
}

// waitEqual waits until the digests of both sides are equal, and returns how the pair is then.
func (r *run) waitEqual(ctx context.Context, within time.Duration) (barrier.State, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	states, err := barrier.Wait(ctx, []barrier.Pair{{
		Name: pairName, Nodes: [2]string{r.lead.Name, r.back.Name}, Sides: [2]barrier.Side{r.lead, r.back},
	}}, barrier.Options{Interval: 100 * time.Millisecond})
	return states[0], err
}

// barrier checks that digests are equal when the trees are, and only then.
func (r *run) barrier(t *testing.T) {
	for _, s := range r.sides() {
		// What each side has for itself does not count.
		s.write(t, "mine.tmp", s.Name)
		s.write(t, ".unison.mine.0123456789.unison.tmp", s.Name)
		s.write(t, "barrier/of "+s.Name+"/\xff\n", s.Name)
		s.Run(t, `cd "$1/barrier/of $2"; ln -s ../nowhere link; mkdir shared; chown -h www-data:www-data link shared; chmod 2770 shared; chmod 604 *[!dk]`, s.path, s.Name)
		for name, value := range map[string][]byte{"user.origin": []byte(s.Name), "system.posix_acl_access": accessList()} {
			if err := unix.Setxattr(s.file("barrier/of "+s.Name+"/\xff\n"), name, value, 0); err != nil {
				t.Fatalf("set %s: %v", name, err)
			}
		}
	}
	state, err := r.waitEqual(t.Context(), long)
	if err != nil {
		t.Fatalf("the digests are not equal: %+v, %+v", state, state.Comparison)
	}
	if difference := r.difference(); difference != "" {
		t.Errorf("equal digests of trees that are not: %s", difference)
	}

	r.setCut(true)
	r.lead.write(t, "barrier/late/one", "1234567")
	r.lead.write(t, "barrier/late/two", "1234567")
	await.NoError(t, "the barrier says what is behind", long, func(ctx context.Context) error {
		state, err := r.waitEqual(ctx, 2*time.Second)
		c := state.Comparison
		switch {
		case err == nil:
			t.Fatal("the digests are equal, and the trees are not")
		case c == nil || len(c.Differences) != 1 || string(c.Differences[0].Path) != "barrier/late" || c.Differences[0].Kind != digest.MissingThere || c.BehindThere.Files != 2 || c.BehindThere.Bytes != 14:
			t.Logf("it says %+v, %+v", state, c)
			return errors.New("it does not say what is behind")
		}
		return nil
	})
	r.setCut(false)
	if state, err = r.waitEqual(t.Context(), long); err != nil {
		t.Fatalf("the digests are not equal: %+v, %+v", state, state.Comparison)
	}
	if difference := r.difference(); difference != "" {
		t.Errorf("equal digests of trees that are not: %s", difference)
	}

	// A tree that is not mounted is not empty.
	r.lead.Run(t, `mv "$1" "$1.away"; mkdir "$1"`, r.lead.path)
	var unavailable *replication.UnavailableError
	if snapshot, err := r.lead.Digest(t.Context(), true, func(digest.Progress) {}); !errors.As(err, &unavailable) {
		t.Errorf("the digest of a tree that is not there: %+v, %v", snapshot, err)
	}
	r.lead.Run(t, `rmdir "$1"; mv "$1.away" "$1"; rm "$1/mine.tmp" "$1"/.unison.mine*`, r.lead.path)
	r.awaitHealed(t, r.lead)
	r.back.Run(t, `rm -r "$1/barrier" "$1/mine.tmp" "$1"/.unison.mine*`, r.back.path)
	r.awaitSynced(t, long)
}

// unseen changes a file without its date, its length or its inode telling: who waits for equality has both versions kept.
func (r *run) unseen(t *testing.T) {
	// Contents are read but now and then; the leader, which has it done, begins anew here the second time.
	for _, s := range []*side{r.back, r.lead} {
		file := "unseen/of " + s.Name
		s.write(t, file, "version 1")
		r.awaitSynced(t, long)
		if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		s.Run(t, `cd "$1"; touch -r "$2" unseen/date; printf "version 2" >"$2"; touch -r unseen/date "$2"; rm unseen/date`, s.path, file)
		r.apply(t, s)
		r.lead.awaitStatus(t, "says that all is equal", func(st replication.Status) bool { return st.State == spec.PairSynced })
		if got := r.other(s).read(file); got != "version 1" {
			t.Fatalf("the change was seen: the test is none: %q", got)
		}
		if state, err := r.waitEqual(t.Context(), long); err != nil {
			t.Fatalf("the digests are not equal: %+v, %+v", state, state.Comparison)
		}
		r.awaitSynced(t, long)
		for _, side := range r.sides() {
			// It may as well be the disk that has changed it.
			if diff := cmp.Diff([]string{"version 1", "version 2"}, versions(t, side, "unseen")); diff != "" {
				t.Errorf("%s lost a version (-want +got):\n%s", side.Name, diff)
			}
		}
		r.lead.Run(t, `rm -r "$1/unseen"`, r.lead.path)
		r.awaitSynced(t, long)
	}
}
