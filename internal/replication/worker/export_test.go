package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// Tree is a worker's tree for tests, as a new start of the worker has it.
type Tree struct{ t *tree }

// NewTree reads the state of a worker.
func NewTree(c Config) (Tree, error) {
	s, err := readState(c.StateDir)
	return Tree{&tree{cfg: c, state: s}}, err
}

// Begin is what a worker does before it synchronizes; it tells whether what was known of an earlier tree is of no use.
func (t Tree) Begin() (distrusted bool, err error) {
	const machine = "0123456789abcdef0123456789abcdef"
	distrusted = !t.t.state.trusts(machine, t.t.cfg.terms())
	return distrusted, errors.Join(t.t.state.settle(machine, t.t.cfg.terms()), t.t.renew())
}

// Check looks whether the tree is there, Emptied whether it was emptied, Remember notes that it is in step.
func (t Tree) Check() error { return t.t.check() }

// Emptied looks whether the tree was emptied.
func (t Tree) Emptied() error { return t.t.emptied() }

// Remember notes that the tree is in step.
func (t Tree) Remember() error { return t.t.remember() }

// Blind is what finds changes that cannot be seen by attributes.
type Blind struct{ b *blind }

// NewBlind makes one.
func NewBlind(root string, within time.Duration) Blind { return Blind{newBlind(root, within, nil)} }

// Wrote, Changed and Date are what a worker calls.
func (b Blind) Wrote(path string) { b.b.wrote(path) }

// Changed takes in a change.
func (b Blind) Changed(c ...watch.Change) { b.b.changed(watch.Batch{Changes: c}) }

// Miss takes in that changes may have been missed, for a reason.
func (b Blind) Miss(reason string) { b.b.changed(watch.Batch{All: true, Reason: reason}) }

// CaughtUp takes in that changes are told again, after they may have been missed for a reason.
func (b Blind) CaughtUp(reason string, now time.Time) {
	b.b.caughtUp(watch.Batch{All: true, Reason: reason}, now)
}

// BornSince tells whether a file was made after a moment.
func BornSince(path string, moment time.Time) bool { return bornSince(path, moment) }

// Run dates until ctx ends.
func (b Blind) Run(ctx context.Context, rests func() bool) { b.b.run(ctx, rests) }

// Date dates files as at a moment.
func (b Blind) Date(now time.Time) {
	b.b.expire(now)
	b.b.date(now)
}

// Sweeping is what is known of a program's leftovers.
type Sweeping struct{ s sweeping }

// NewSweeping makes one.
func NewSweeping(tree string, temporary func(string) bool, resumes func(int64) bool) Sweeping {
	return Sweeping{sweeping{tree, temporary, resumes, slog.New(slog.DiscardHandler)}}
}

// Sweep removes what interrupted transfers have left, and returns what is kept.
func (s Sweeping) Sweep(now time.Time) ([]string, error) { return s.s.sweep(now) }

// Finish removes what was kept.
func (s Sweeping) Finish(kept []string, began time.Time) error { return s.s.finish(kept, began) }

// Tidy removes what failed transfers leave again and again.
func Tidy(tree string, directories []string, temporary func(string) bool, now time.Time) error {
	return tidy(tree, directories, temporary, now)
}

// Doubt finds out that trees differ though nothing says so.
type Doubt struct{ d doubt }

// Compared takes in that directories are compared.
func (d *Doubt) Compared(now time.Time) bool { return d.d.compared(now, doubtAfter) }

// GiveDirectory gives a directory of a tree to an account.
func GiveDirectory(tree, name string, account Account) error {
	root, err := OpenTree(tree)
	if err != nil {
		return err
	}
	return errors.Join(giveDirectory(root, name, account), root.Close())
}
