//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// equalFigure is what is measured of every drill with files: from the end of the fault, when nobody writes any more.
const equalFigure = "both trees are equal, after the end of it and of all writing"

// uploads are applications on both nodes that write into a pair's tree, and what has to be there afterwards. A drill has one value of
// it.
type uploads struct {
	// pause is what each waits between two files; 0 writes nothing but what the drill starts itself.
	pause string
	// options are for all of them, such as a clock that is wrong. elsewhere allows versions to be under any name.
	options   []string
	elsewhere bool
	// within is how soon both trees have to be equal; three minutes when 0.
	within time.Duration

	f       *Field
	pair    *rig.Pair
	dir     string
	account *account
	running []*running
	started int
	// unfinished is how many files of unison's own there were when the trees were last compared.
	unfinished int
}

var _ Traffic = (*uploads)(nil)

// prepare makes a drill's directory. It is a drill's Setup, unless that does more.
func (u *uploads) prepare(ctx context.Context, f *Field) error {
	u.f, u.pair, u.account, u.running = f, filesPair(f), newAccount(), nil
	u.dir = fmt.Sprintf("drill-%d", time.Now().UnixMilli())
	_, err := u.pair.Run(ctx, filesOne, "mkdir "+u.dir)
	if err != nil {
		return err
	}
	return u.equal(ctx, "the drill's directory is on both nodes")
}

// begin is a drill's Traffic: both nodes write, each into a directory of its own.
func (u *uploads) begin(ctx context.Context, _ *Field) (Traffic, error) {
	if u.pause != "" {
		for _, node := range u.pair.Nodes {
			if err := u.start(ctx, node, "steady", node, "pause="+u.pause); err != nil {
				return nil, err
			}
		}
	}
	return u, nil
}

// start starts an application that writes into a directory of the drill's.
func (u *uploads) start(ctx context.Context, node, mode, dir string, options ...string) error {
	u.started++
	by := fmt.Sprintf("%s-%d", node, u.started)
	r, err := launch(ctx, u.f, u.account, node, mode, path.Join(u.dir, dir), by, slices.Concat(u.options, options)...)
	if err == nil {
		u.running = append(u.running, r)
	}
	return err
}

// finish waits for all that was started, which ends by itself.
func (u *uploads) finish() error {
	var errs []error
	for _, r := range u.running {
		errs = append(errs, r.wait())
	}
	u.running = nil
	return errors.Join(errs...)
}

// quit has all that writes end. It may be called again.
func (u *uploads) quit() error {
	var errs []error
	for _, r := range u.running {
		errs = append(errs, r.stop())
	}
	u.running = nil
	return errors.Join(errs...)
}

// Calm implements Traffic. What fails is counted, and is no outage: no application has to wait for the other node.
func (u *uploads) Calm() time.Duration { return max(u.account.calm(), Calm) }

// settled ends the fault and all writing, and measures until both trees are equal.
func (u *uploads) settled(ctx context.Context, end func(context.Context) error) error {
	if end != nil {
		if err := end(ctx); err != nil {
			return err
		}
	}
	if err := u.quit(); err != nil {
		return err
	}
	from := time.Now()
	if err := u.equal(ctx, "both trees are equal"); err != nil {
		return err
	}
	u.f.Found(equalFigure, time.Since(from))
	return nil
}

// sweptWithin is how long hidden files of unison's may stay that it has begun and given up.
const sweptWithin = 4 * time.Minute

// swept waits until none of unison's own unfinished files are left, as long as nothing happens.
func (u *uploads) swept(ctx context.Context) error {
	from := time.Now()
	err := u.f.Await(ctx, "no file is left that unison has begun and given up", sweptWithin, func(ctx context.Context) error {
		err := u.same(ctx)
		if err == nil && u.unfinished > 0 {
			err = fmt.Errorf("%d are left", u.unfinished)
		}
		if err != nil {
			pause(ctx, 2*time.Second)
		}
		return err
	})
	if err == nil {
		u.f.Found("nothing unfinished is left", time.Since(from))
	}
	return err
}

// equal waits until both trees hold the same.
func (u *uploads) equal(ctx context.Context, what string) error {
	within := u.within
	if within == 0 {
		within = 3 * time.Minute
	}
	return u.f.Await(ctx, what, within, func(ctx context.Context) error {
		from := time.Now()
		// What an application that died has not given its name yet belongs to its node.
		for _, node := range u.pair.Nodes {
			if _, err := u.pair.Run(ctx, node, "find "+u.dir+" -name '*.tmp' ! -name '.*' -delete 2>/dev/null || true"); err != nil {
				return err
			}
		}
		err := u.same(ctx)
		if err != nil {
			// Looking is work for the nodes, too.
			pause(ctx, min(time.Since(from), 2*time.Second))
		}
		return err
	})
}

// same is sameTrees, which counts what is left of unison's own.
func (u *uploads) same(ctx context.Context) (err error) {
	u.unfinished, err = sameTrees(ctx, u.pair)
	return err
}

// sameTrees returns an error that says where both trees of a pair differ, unless what applications made in them is the same. What unison had
// begun and given up, under names of its own, is counted.
func sameTrees(ctx context.Context, p *rig.Pair) (unfinished int, err error) {
	var listings [2][]string
	for i, node := range p.Nodes {
		text, err := p.Listing(ctx, node)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(text) {
			if rig.Unfinished(line) {
				unfinished++
			} else {
				listings[i] = append(listings[i], line)
			}
		}
	}
	unfinished /= 2 // a line of what it is, and one of what is in it
	if diff := cmp.Diff(listings[0], listings[1]); diff != "" {
		return unfinished, fmt.Errorf("the trees of %s (-) and %s (+) differ in %d and %d lines:\n%s",
			p.Nodes[0], p.Nodes[1], len(listings[0]), len(listings[1]), diff[:min(len(diff), 4000)])
	}
	return unfinished, nil
}

// Stop implements Traffic: every version that was acknowledged, and that no application has replaced or removed, has to be on both
// nodes.
func (u *uploads) Stop(ctx context.Context, fault time.Time) (Seen, error) {
	err := u.quit()
	text, failed := u.account.reasons()
	seen := Seen{Failed: failed, Detail: text}
	seen.Asked = u.account.since(fault) + failed
	if err != nil {
		return seen, err
	}
	copies := 0
	gone := map[string]bool{}
	for _, node := range u.pair.Nodes {
		there, err := versionsOn(ctx, u.pair, node, u.dir)
		if err != nil {
			return seen, err
		}
		var lost []string
		copies = 0
		for id, v := range u.account.demanded() {
			names := there[id]
			for _, next := range u.account.successors(id) {
				names = append(names, there[next]...)
			}
			if !slices.ContainsFunc(names, func(name string) bool { return u.elsewhere || isFor(name, v.path) }) {
				gone[id] = true
				lost = append(lost, fmt.Sprintf("%s of %s (found as %q)", id, v.path, names))
			}
		}
		for _, names := range there {
			for _, name := range names {
				if strings.Contains(name, "(conflict") {
					copies++
				}
			}
		}
		if len(lost) > 0 {
			slices.Sort(lost)
			u.f.Note("lost on %s: %s", node, strings.Join(lost[:min(len(lost), 5)], ", "))
		}
	}
	seen.Lost = len(gone)
	if u.unfinished > 0 {
		u.f.Note("%d files that unison has begun and given up are left", u.unfinished)
	}
	if copies > 0 {
		u.f.Note("%d conflict copies", copies)
	}
	return seen, nil
}

// nothingLost is a drill's Verdict.
func (u *uploads) nothingLost(_ context.Context, f *Field, o Outcome) error {
	if o.Asked == 0 {
		return errors.New("nobody has written anything")
	}
	if o.Lost > 0 {
		return fmt.Errorf("%d acknowledged versions are lost: %s", o.Lost, strings.Join(f.notes, "; "))
	}
	return nil
}

// clear is a drill's Heal, or the end of it: the next drill finds no more than the first did.
func (u *uploads) clear(ctx context.Context, f *Field) error {
	if u.f == nil {
		return nil
	}
	err := errors.Join(u.quit(), f.HealAll(ctx), powerOn(ctx, f, u.pair.Nodes[0], u.pair.Nodes[1]))
	// One of them removes it: what both do at once is one more drill.
	if _, runErr := u.pair.Run(ctx, filesOne, "rm -rf "+u.dir+"*"); runErr != nil {
		return errors.Join(err, runErr)
	}
	return err
}
