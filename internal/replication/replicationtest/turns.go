//go:build linux

package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// The pairs of a star whose centre has a backup. On the leaf, the two that end there take turns.
const (
	home    = "home"    // the centre and the leaf
	trunk   = "trunk"   // the centre and its backup
	standby = "standby" // the backup and the leaf
)

// turns is a star of three machines whose centre has a backup.
type turns struct {
	suite                Suite
	centre, backup, leaf *side

	mu sync.Mutex
	// away tells that the centre is cut off from the others, open are the streams to it.
	away bool
	open map[io.Closer]struct{}
}

// RunTurns runs a star of three machines whose centre goes away, and comes back.
func (s Suite) RunTurns(t *testing.T, centre, backup, leaf *Machine) {
	w := &turns{
		suite:  s,
		centre: &side{Machine: centre, path: "/srv/uploads"}, backup: &side{Machine: backup, path: "/srv/uploads"}, leaf: &side{Machine: leaf, path: "/srv/leaf"},
		open: map[io.Closer]struct{}{},
	}
	for _, side := range w.all() {
		side.driver = s.New(t, side.Machine)
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"NobodysTurn", w.nobodys},
		{"Home", w.home},
		{"BackupTakesOver", w.takesOver},
		{"CentreIsBack", w.comesBack},
		{"HandedBack", w.handedBack},
		{"WhileEverybodyWrites", w.whileWriting},
		{"Unaware", w.unaware},
	} {
		if !t.Run(test.name, test.run) {
			for _, side := range w.all() {
				for _, pair := range []string{home, trunk, standby} {
					status, err := side.driver.Status(t.Context(), pair)
					t.Logf("%s, %s: %+v, %v", side.Name, pair, status, err)
				}
				t.Log(side.Run(t, `ps axo pid,stat,wchan:24,etimes,args | grep 'unison.*atoll$\|unison.*rpc' || true; tail -n 80 /run/journal 2>/dev/null || true`))
			}
			return // each goes on from where the one before it has left the nodes
		}
	}
}

func (w *turns) all() []*side { return []*side{w.centre, w.backup, w.leaf} }

// ends returns the two sides of a pair, the one that leads first.
func (w *turns) ends(pair string) (lead, back *side) {
	switch pair {
	case home:
		return w.centre, w.leaf
	case trunk:
		return w.centre, w.backup
	}
	return w.backup, w.leaf
}

// pairs are those of a side.
func (w *turns) pairs(s *side, aware bool) []replication.Pair {
	var out []replication.Pair
	for _, name := range []string{home, trunk, standby} {
		lead, back := w.ends(name)
		if s != lead && s != back {
			continue
		}
		p := replication.Pair{
			Name: name, Node: s.Name, Leads: s == lead, Path: s.path, Owner: "www-data", Group: "www-data", Exclude: []string{"*.tmp"}, Alternates: name != trunk && aware,
		}
		if p.Peer, p.PeerPath = back.Name, back.path; s == back {
			p.Peer, p.PeerPath = lead.Name, lead.path
		}
		if s == lead {
			p.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) { return w.dial(ctx, name) }
		}
		out = append(out, p)
	}
	return out
}

func (w *turns) dial(_ context.Context, pair string) (io.ReadWriteCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away && pair != standby {
		return nil, errCut
	}
	here, there := net.Pipe()
	if pair != standby {
		w.open[here], w.open[there] = struct{}{}, struct{}{}
	}
	_, back := w.ends(pair)
	go func() { //nolint:contextcheck // the stream outlives the call that opens it
		_ = back.driver.Accept(context.Background(), pair, there) // it closes the stream, as the other side sees
	}()
	return here, nil
}

// setAway cuts the centre off from the others, or heals that.
func (w *turns) setAway(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
	for c := range w.open {
		if away {
			_ = c.Close()
		}
		delete(w.open, c)
	}
}

func (w *turns) apply(t *testing.T, s *side, aware bool) {
	t.Helper()
	if err := s.driver.Apply(t.Context(), w.pairs(s, aware)); err != nil {
		t.Fatal(err)
	}
}

// turn makes it the turn of one of the leaf's pairs: the other one rests before.
func (w *turns) turn(t *testing.T, from, to string) {
	t.Helper()
	await.NoError(t, "the leaf takes turns", long, func(ctx context.Context) error {
		if err := w.leaf.driver.Turn(ctx, from, false); err != nil {
			return err
		}
		if s, err := w.leaf.driver.Status(ctx, from); err != nil || !s.Resting {
			return errors.Join(err, fmt.Errorf("pair %s does not rest: %+v", from, s))
		}
		return w.leaf.driver.Turn(ctx, to, true)
	})
}

// awaitState waits until the node that leads a pair says that it is in a state.
func (w *turns) awaitState(t *testing.T, pair string, state spec.PairState) {
	t.Helper()
	lead, _ := w.ends(pair)
	await.NoError(t, fmt.Sprintf("pair %s is %s", pair, state), long, func(ctx context.Context) error {
		s, err := lead.driver.Status(ctx, pair)
		if err == nil && (s.State != state || s.Problem != "") {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
}

// everywhere waits until a file has a content on all of some sides, "" for none.
func everywhere(t *testing.T, path, content string, sides ...*side) {
	t.Helper()
	for _, s := range sides {
		check := has(s, path, content)
		if content == "" {
			check = hasNot(s, path)
		}
		await.NoError(t, fmt.Sprintf("%s on %s is %q", path, s.Name, content), long, check)
	}
}

// noConflicts fails when there is a kept copy anywhere.
func (w *turns) noConflicts(t *testing.T) {
	t.Helper()
	for _, s := range w.all() {
		if copies := s.Run(t, `find "$1" -name '*conflict*'`, s.path); copies != "" {
			t.Errorf("%s has conflicts: %q", s.Name, copies)
		}
	}
}

// nobodys has all pairs run while nobody has said whose turn it is: neither of the two carries anything over, whatever differs.
func (w *turns) nobodys(t *testing.T) {
	w.centre.write(t, "of the centre", "1")
	w.backup.write(t, "of the backup", "2")
	w.backup.write(t, "different", "here")
	w.leaf.write(t, "of the leaf", "3")
	w.leaf.write(t, "different", "there, longer")
	w.leaf.write(t, "not\nof the \xff leaf/.atol/l", "4")
	w.leaf.write(t, ".atoll-x", "4")
	w.leaf.Run(t, `chown -R www-data:www-data "$1"`, w.leaf.path)
	for _, s := range w.all() {
		w.apply(t, s, true)
	}
	w.awaitState(t, home, spec.PairStandingBy)
	w.awaitState(t, standby, spec.PairStandingBy)
	w.awaitState(t, trunk, spec.PairSynced)
	w.leaf.write(t, "later", "5")
	w.backup.write(t, "trunk", "6")
	everywhere(t, "trunk", "6", w.centre)
	everywhere(t, "of the centre", "1", w.backup)
	if got := strings.Fields(w.leaf.Run(t, `cd "$1"; find . -name .atoll -prune -o -name .atoll-canary -prune -o -type f -print | tr ' \n' '_ '`, w.leaf.path)); len(got) != 6 {
		t.Errorf("the leaf has %q", got)
	}
	for _, s := range []*side{w.centre, w.backup} {
		for _, path := range []string{"of the leaf", "later", ".atoll-x"} {
			if err := hasNot(s, path)(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	if got := w.backup.read("different"); got != "here" {
		t.Errorf("the backup reads %q", got)
	}
	w.noConflicts(t)
}

func (w *turns) home(t *testing.T) {
	w.turn(t, standby, home)
	for _, path := range []string{"of the centre", "of the backup", "of the leaf", "later", "trunk", "not\nof the \xff leaf/.atol/l"} {
		everywhere(t, path, map[string]string{"of the centre": "1", "of the backup": "2", "of the leaf": "3", "later": "5", "trunk": "6"}[path]+map[bool]string{true: "4"}[path[0] == 'n'], w.all()...)
	}
	w.awaitState(t, home, spec.PairSynced)
	everywhere(t, "different", "here", w.all()...)
	for _, s := range w.all() {
		s.Run(t, `cd "$1"; for i in $(seq 60); do test -n "$(ls | grep conflict)" && exit; sleep 1; done; exit 1`, s.path)
	}
	w.leaf.Run(t, `cd "$1"; rm different*conflict*`, w.leaf.path)
	for _, s := range w.all() {
		s.Run(t, `cd "$1"; for i in $(seq 60); do test -z "$(ls | grep conflict)" && exit; sleep 1; done; exit 1`, s.path)
	}
	for _, path := range []string{"changed on the leaf", "changed on the backup", "deleted on the leaf", "deleted on the backup", "replaced", "again"} {
		w.leaf.write(t, path, "before")
		everywhere(t, path, "before", w.all()...)
	}
	w.leaf.Run(t, `rm "$1/again"`, w.leaf.path)
	everywhere(t, "again", "", w.all()...)
	began := time.Now()
	w.leaf.write(t, "last", "1")
	everywhere(t, "last", "1", w.all()...)
	w.observed(t, standby, "last", began)
}

// observed waits until a pair that rests knows of a file that both its sides have, and knows of no difference, which began to be so after a moment.
func (w *turns) observed(t *testing.T, pair, path string, after time.Time) {
	t.Helper()
	lead, _ := w.ends(pair)
	await.True(t, "pair "+pair+" has seen "+path, long, func() bool {
		return lead.Run(t, `cat `+w.suite.Knowledge(pair)+` | grep -a -c -F "$1" || true`, path) != "0\n"
	})
	await.NoError(t, "pair "+pair+" knows of no difference", long, func(ctx context.Context) error {
		s, err := lead.driver.Status(ctx, pair)
		if err == nil && !s.Synced.After(after) {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
}

// takesOver has the centre go away, and changes on both others before and after it is the standby pair's turn. What was changed on one of them, or deleted,
// is so on the other: the pair knows what both had.
func (w *turns) takesOver(t *testing.T) {
	w.setAway(true)
	w.leaf.replace(t, "changed on the leaf", "after")
	w.backup.replace(t, "changed on the backup", "after")
	w.leaf.Run(t, `cd "$1"; rm "deleted on the leaf"; echo new >"new on the leaf"; chown www-data:www-data new*`, w.leaf.path)
	w.backup.Run(t, `cd "$1"; rm "deleted on the backup"`, w.backup.path)
	w.turn(t, home, standby)
	two := []*side{w.backup, w.leaf}
	everywhere(t, "changed on the leaf", "after", two...)
	everywhere(t, "changed on the backup", "after", two...)
	everywhere(t, "deleted on the leaf", "", two...)
	everywhere(t, "deleted on the backup", "", two...)
	everywhere(t, "new on the leaf", "new\n", two...)
	w.awaitState(t, standby, spec.PairSynced)
	w.noConflicts(t)
	// The centre's own programs, which run on without the others, have their own idea.
	w.centre.replace(t, "replaced", "by the centre")
	w.leaf.replace(t, "replaced", "by the leaf, longer")
	w.leaf.write(t, "again", "it is there again")
	everywhere(t, "again", "it is there again", two...)
	everywhere(t, "replaced", "by the leaf, longer", two...)
}

// comesBack has the centre get everything from its backup while that still stands in.
func (w *turns) comesBack(t *testing.T) {
	w.setAway(false)
	w.awaitState(t, home, spec.PairStandingBy)
	everywhere(t, "changed on the leaf", "after", w.all()...)
	everywhere(t, "deleted on the leaf", "", w.all()...)
	everywhere(t, "deleted on the backup", "", w.all()...)
	everywhere(t, "again", "it is there again", w.all()...)
	everywhere(t, "replaced", "by the centre", w.all()...)
	for _, s := range w.all() {
		s.Run(t, `cd "$1"; for i in $(seq 60); do test "$(cat replaced*conflict*)" = "by the leaf, longer" && exit; sleep 1; done; ls; exit 1`, s.path)
	}
	w.leaf.Run(t, `cd "$1"; rm replaced*conflict*`, w.leaf.path)
	await.True(t, "the copy is gone", long, func() bool {
		return w.centre.Run(t, `ls "$1" | grep -c conflict || true`, w.centre.path) == "0\n"
	})
	began := time.Now()
	w.leaf.write(t, "by way of the backup", "1")
	everywhere(t, "by way of the backup", "1", w.all()...)
	w.observed(t, home, "by way of the backup", began)
}

func (w *turns) handedBack(t *testing.T) {
	w.turn(t, standby, home)
	w.leaf.replace(t, "by way of the backup", "2")
	w.centre.replace(t, "changed on the leaf", "by the centre")
	w.leaf.Run(t, `cd "$1"; rm again`, w.leaf.path)
	everywhere(t, "by way of the backup", "2", w.all()...)
	everywhere(t, "changed on the leaf", "by the centre", w.all()...)
	everywhere(t, "again", "", w.all()...)
	w.awaitState(t, home, spec.PairSynced)
	w.awaitState(t, standby, spec.PairStandingBy)
	w.noConflicts(t)
}

// whileWriting changes turns again and again while each machine makes, changes and removes files of its own. Every last version is on all of them afterwards, if
// not under its name then as a kept copy: what is changed twice around a turn is a conflict.
func (w *turns) whileWriting(t *testing.T) {
	const files, changes = 40, 4
	last := func(s *side, n int) (path, content string) {
		path = fmt.Sprintf("storm-%s-%d", s.Name, n%files)
		return path, fmt.Sprintf("%s of change %d", path, n/files)
	}
	var writing sync.WaitGroup
	for _, s := range w.all() {
		writing.Go(func() {
			for n := range files * changes {
				path, content := last(s, n)
				if n/files == changes-1 && n%4 == 0 {
					s.Run(t, `rm -f "$1/$2"`, s.path, path)
					continue
				}
				s.write(t, path, content)
				s.Run(t, "sleep 0.05")
			}
		})
	}
	from, to := home, standby
	for range 4 {
		w.turn(t, from, to)
		w.leaf.Run(t, "sleep 1")
		from, to = to, from
	}
	writing.Wait()
	w.awaitState(t, from, spec.PairSynced)
	w.awaitState(t, to, spec.PairStandingBy)
	// What an interrupted transfer has left is removed some time later.
	list := func(s *side) string {
		return s.Run(t, `cd "$1"; find . -name .atoll -prune -o -name '.unison.*' -prune -o -name .atoll-canary -prune -o -type f -print | sort | while read -r f; do echo "$f: $(cat "$f")"; done`, s.path)
	}
	var everything string
	await.NoError(t, "all machines have the same", long, func(context.Context) error {
		everything = list(w.centre)
		for _, s := range []*side{w.backup, w.leaf} {
			if diff := cmp.Diff(strings.Split(everything, "\n"), strings.Split(list(s), "\n")); diff != "" {
				return fmt.Errorf("the centre has (-), and %s (+):\n%s", s.Name, diff)
			}
		}
		return nil
	})
	deleted := 0
	for _, s := range w.all() {
		for n := files * (changes - 1); n < files*changes; n++ {
			path, content := last(s, n)
			switch {
			case n%4 != 0 && !strings.Contains(everything, ": "+content+"\n"):
				t.Errorf("%q is lost", content)
			case n%4 == 0 && strings.Contains(everything, "./"+path+": "):
				deleted++
			}
		}
	}
	t.Logf("%d kept copies, %d of %d deleted files came back", strings.Count(everything, "conflict"), deleted, 3*files/4)
}

// unaware has a centre that has not heard of the standby pair: the leaf takes no stream of it.
func (w *turns) unaware(t *testing.T) {
	w.turn(t, home, standby)
	w.apply(t, w.centre, false)
	w.leaf.write(t, "not for the unaware", "1")
	everywhere(t, "not for the unaware", "1", w.all()...) // by way of the backup
	await.NoError(t, "it is not let in", long, func(ctx context.Context) error {
		s, err := w.centre.driver.Status(ctx, home)
		if err == nil && s.State != spec.PairDisconnected {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
	w.apply(t, w.centre, true)
	w.awaitState(t, home, spec.PairStandingBy)
	for _, s := range w.all() {
		if err := s.driver.Apply(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
}
