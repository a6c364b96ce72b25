//go:build linux

package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// star is three machines, two pairs, and one tree that both have on the machine in the middle.
type star struct {
	hub    *side
	leaves []*side
	pairs  []string
}

// RunStar runs two pairs that share the tree of one of three machines.
func (s Suite) RunStar(t *testing.T, hub, left, right *Machine) {
	st := &star{
		hub:    &side{Machine: hub, path: "/srv/uploads"},
		leaves: []*side{{Machine: left, path: "/srv/left"}, {Machine: right, path: "/srv/right"}},
		pairs:  []string{"one", "two"},
	}
	for _, side := range append([]*side{st.hub}, st.leaves...) {
		side.driver = s.New(t, side.Machine)
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"FirstSynchronization", st.first},
		{"ThroughTheMiddle", st.through},
		{"Canaries", st.canaries},
		{"Leftovers", st.leftovers},
		{"OneGoes", st.oneGoes},
		{"NothingLeft", st.nothingLeft},
	} {
		if !t.Run(test.name, test.run) {
			for _, side := range append([]*side{st.hub}, st.leaves...) {
				for _, pair := range st.pairs {
					status, err := side.driver.Status(t.Context(), pair)
					t.Logf("%s, %s: %+v, %v", side.Name, pair, status, err)
				}
				t.Log(side.Run(t, `tail -n 60 /run/journal 2>/dev/null || true`))
			}
			return // each goes on from where the one before it has left the nodes
		}
	}
}

// pair is the pair of a leaf, as the leaf or the hub has it. The hub leads. All names that begin with a dot stay where they are, of the data.
func (s *star) pair(leaf int, atHub bool) replication.Pair {
	here, there := s.leaves[leaf], s.hub
	if atHub {
		here, there = there, here
	}
	p := replication.Pair{
		Name: s.pairs[leaf], Node: here.Name, Peer: there.Name, Leads: atHub, Path: here.path, PeerPath: there.path, Owner: "www-data", Group: "www-data",
		Exclude: []string{".*"},
	}
	if atHub {
		p.Dial = func(context.Context) (io.ReadWriteCloser, error) {
			here, there := net.Pipe()
			go func() { //nolint:contextcheck // the stream outlives the call that opens it
				_ = s.leaves[leaf].driver.Accept(context.Background(), p.Name, there) // it has closed the stream, as the other side sees
			}()
			return here, nil
		}
	}
	return p
}

func (s *star) apply(t *testing.T, leaves ...int) {
	t.Helper()
	var atHub []replication.Pair
	for i, leaf := range s.leaves {
		var own []replication.Pair
		if slices.Contains(leaves, i) {
			atHub, own = append(atHub, s.pair(i, true)), append(own, s.pair(i, false))
		}
		if err := leaf.driver.Apply(t.Context(), own); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.hub.driver.Apply(t.Context(), atHub); err != nil {
		t.Fatal(err)
	}
}

// awaitSynced waits until pairs say that their sides are equal, and that nothing is wrong.
func (s *star) awaitSynced(t *testing.T, leaves ...int) {
	t.Helper()
	for _, leaf := range leaves {
		await.NoError(t, "pair "+s.pairs[leaf]+" is equal and says so", long, func(ctx context.Context) error {
			status, err := s.hub.driver.Status(ctx, s.pairs[leaf])
			if err == nil && (status.State != spec.PairSynced || status.Problem != "") {
				err = fmt.Errorf("it is %+v", status)
			}
			return err
		})
	}
}

func (s *star) first(t *testing.T) {
	s.leaves[0].write(t, "of the left/file", "1")
	s.leaves[0].Run(t, `chown -R www-data:www-data "$1"`, s.leaves[0].path)
	s.leaves[1].write(t, "of the right/file", "2")
	s.apply(t, 0, 1)
	for _, side := range append([]*side{s.hub}, s.leaves...) {
		await.NoError(t, "everybody has everything", long, func(ctx context.Context) error {
			return errors.Join(has(side, "of the left/file", "1")(ctx), has(side, "of the right/file", "2")(ctx))
		})
	}
	s.awaitSynced(t, 0, 1)
}

// through has changes of each machine get to both others.
func (s *star) through(t *testing.T) {
	for _, from := range append([]*side{s.hub}, s.leaves...) {
		for _, content := range []string{"new on " + from.Name, "changed on " + from.Name + ", and longer"} {
			began := time.Now()
			from.write(t, "news", content)
			for _, to := range append([]*side{s.hub}, s.leaves...) {
				await.NoError(t, "it is everywhere", long, has(to, "news", content))
			}
			t.Logf("from %s to both others: %s", from.Name, time.Since(began).Round(time.Millisecond))
		}
		s.awaitSynced(t, 0, 1)
		from.Run(t, `rm "$1/news"`, from.path)
		for _, to := range append([]*side{s.hub}, s.leaves...) {
			await.NoError(t, "it is gone everywhere", long, hasNot(to, "news"))
		}
		s.awaitSynced(t, 0, 1)
	}
	if pace := s.hub.Run(t, `cd "$1/.atoll"; echo *.pace; stat -c %U . *.pace`, s.hub.path); pace != "one.pace two.pace\nroot\nroot\nroot\n" {
		t.Errorf("what sets the pace: %q", pace)
	}
	for _, leaf := range s.leaves {
		if others := leaf.Run(t, `find "$1" -name '*pace*' -o -name '*.unison*'`, leaf.path); others != "" {
			t.Errorf("%s has %q", leaf.Name, others)
		}
	}
}

// canaries measures both pairs at once, both ways.
func (s *star) canaries(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	for range 3 {
		var running sync.WaitGroup
		for leaf, pair := range s.pairs {
			for _, way := range [][2]*side{{s.hub, s.leaves[leaf]}, {s.leaves[leaf], s.hub}} {
				running.Go(func() {
					sent, err := way[0].driver.Canary(ctx, pair)
					if err != nil {
						t.Errorf("a canary of %s from %s: %v", pair, way[0].Name, err)
						return
					}
					var last replication.Canary
					for last.Nonce != sent.Nonce {
						if last, err = way[1].driver.Canaries(ctx, pair, last); err != nil {
							t.Errorf("a canary of %s from %s did not come: %v", pair, way[0].Name, err)
							return
						}
					}
					t.Logf("a canary of %s from %s took %s", pair, way[0].Name, time.Since(sent.Written).Round(time.Millisecond))
				})
			}
		}
		running.Wait()
	}
	for leaf, side := range s.leaves {
		if there := strings.Fields(side.Run(t, `cd "$1/.atoll-canary"; find . -type f | sort`, side.path)); len(there) != 2 || !strings.HasPrefix(there[0], "./"+s.pairs[leaf]+"/") || !strings.HasPrefix(there[1], "./"+s.pairs[leaf]+"/") {
			t.Errorf("%s has the canaries %q", side.Name, there)
		}
	}
	s.awaitSynced(t, 0, 1)
}

// leftovers has one pair begin anew while the other's unfinished files are there.
func (s *star) leftovers(t *testing.T) {
	s.hub.Run(t, `cd "$1"; for p in one two; do
hash=$(ls /var/lib/atoll-pairs/$p/home/.unison | sed -n 's/^ar//p' | head -n 1)
echo $p >".unison.x.$hash.unison.tmp"; done; chown www-data:www-data .unison*; kill -9 $(pgrep -f 'unison.* atoll$' | head -n 1) || true`, s.hub.path)
	var left string
	await.True(t, "what one pair has left is removed", long, func() bool {
		left = strings.TrimSpace(s.hub.Run(t, `cat "$1"/.unison.x* 2>/dev/null || true`, s.hub.path))
		return left == "one" || left == "two"
	})
	s.awaitSynced(t, 0, 1)
	s.hub.Run(t, `rm -f "$1"/.unison.x*`, s.hub.path)
}

// started returns when the worker of a leaf's pair began on the hub: one that is busy may not answer at once.
func (s *star) started(t *testing.T, leaf int) (at time.Time) {
	t.Helper()
	await.NoError(t, "the worker of pair "+s.pairs[leaf]+" answers", long, func(ctx context.Context) error {
		status, err := s.hub.driver.Status(ctx, s.pairs[leaf])
		if at = status.Started; err == nil && at.IsZero() {
			err = fmt.Errorf("it is %+v", status)
		}
		return err
	})
	return at
}

// oneGoes takes one of the pairs away; the other goes on.
func (s *star) oneGoes(t *testing.T) {
	began := s.started(t, 1)
	s.apply(t, 1)
	for _, from := range []*side{s.hub, s.leaves[1]} {
		from.write(t, "after", from.Name)
		for _, to := range []*side{s.hub, s.leaves[1]} {
			await.NoError(t, "the other pair goes on", long, has(to, "after", from.Name))
		}
	}
	s.awaitSynced(t, 1)
	if now := s.started(t, 1); !now.Equal(began) {
		t.Errorf("the other pair was interrupted: it began at %s, and at %s", began, now)
	}
	if err := hasNot(s.leaves[0], "after")(t.Context()); err != nil {
		t.Error(err)
	}
	if left := s.hub.Run(t, `cd "$1"; ls -d .atoll/one* .atoll-canary/one 2>/dev/null || true`, s.hub.path) + s.leaves[0].Run(t, `ls -A "$1" | grep '^\.atoll' || true`, s.leaves[0].path); left != "" {
		t.Errorf("the pair that went has left %q", left)
	}
	sent, err := s.hub.driver.Canary(t.Context(), s.pairs[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.leaves[1].driver.Canaries(t.Context(), s.pairs[1], replication.Canary{}); err != nil {
		t.Errorf("canary %s: %v", sent.Nonce, err)
	}
}

func (s *star) nothingLeft(t *testing.T) {
	s.apply(t)
	for _, side := range append([]*side{s.hub}, s.leaves...) {
		if left := side.Run(t, `ls -A "$1" | grep '^\.' || true`, side.path); left != "" {
			t.Errorf("%s: left in the tree: %q", side.Name, left)
		}
	}
}
