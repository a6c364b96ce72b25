//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// Verdict is how a drill ended.
type Verdict string

// Verdicts.
const (
	// Pass: all is as promised.
	Pass Verdict = "pass"
	// Fail: something is not.
	Fail Verdict = "FAIL"
	// Broken: the drill could not be carried out, which says nothing of the promise.
	Broken Verdict = "BROKEN"
)

// Result is what one drill has shown. In JSON times are nanoseconds.
type Result struct {
	Name   string `json:"name"`
	Proves string `json:"proves"`
	// Injected is when the fault happened, zero when it did not come to that.
	Injected time.Time `json:"injected,omitzero"`
	Seen
	// Found are figures that the drill has measured itself, by name: how long after the fault something was so.
	Found   map[string]time.Duration `json:"found,omitempty"`
	Notes   []string                 `json:"notes,omitempty"`
	Verdict Verdict                  `json:"verdict"`
	// Reason is why the verdict is not Pass.
	Reason string        `json:"reason,omitempty"`
	Took   time.Duration `json:"took"`
}

// Options are what drills run with.
type Options struct {
	Programs *rig.Programs
	// Engine is the path of terraform or tofu, Stack the folder of the reference topology's configuration; that of Programs' source
	// tree when empty.
	Engine, Stack string
	// Dir is where the operators' folders are made. It must exist.
	Dir string
	// Say is told what is going on. It may be nil.
	Say func(string)
	// Report is told of each result as it comes. It may be nil.
	Report func(Result)

	// field brings a cluster up; nil means one in a lab.
	field func(ctx context.Context, c *Cluster) (*Field, func() error, error)
}

// Run carries out drills one after another and returns their results. An error means that it was interrupted, or that what a
// lab takes is not there; a drill that fails is a result.
func Run(ctx context.Context, list []Drill, o Options) ([]Result, error) {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.field == nil {
		o.field = o.bringUp
	}
	r := &runner{options: o}
	var results []Result
	for _, d := range list {
		result := r.drill(ctx, d)
		if ctx.Err() != nil {
			break
		}
		results = append(results, result)
		if o.Report != nil {
			o.Report(result)
		}
	}
	return results, errors.Join(context.Cause(ctx), r.leave())
}

// runner has the cluster that the next drill may happen to.
type runner struct {
	options Options
	cluster *Cluster
	field   *Field
	remove  func() error
}

// leave removes the present cluster.
func (r *runner) leave() error {
	if r.remove == nil {
		return nil
	}
	r.options.Say(fmt.Sprintf("removing the cluster %q", r.cluster.Name))
	err := r.remove()
	r.cluster, r.field, r.remove = nil, nil, nil
	return err
}

// enter brings the cluster of a drill up unless it is there.
func (r *runner) enter(ctx context.Context, c *Cluster) error {
	if r.cluster != c {
		if err := r.leave(); err != nil {
			return fmt.Errorf("remove the cluster of the drill before: %w", err)
		}
		r.options.Say(fmt.Sprintf("bringing up the cluster %q", c.Name))
		field, remove, err := r.options.field(ctx, c)
		if err != nil {
			return fmt.Errorf("bring up the cluster %q: %w", c.Name, err)
		}
		field.say = r.options.Say
		r.cluster, r.field, r.remove = c, field, remove
		if err := c.Prepare(ctx, field); err != nil {
			return errors.Join(fmt.Errorf("prepare the cluster %q: %w", c.Name, err), r.leave())
		}
	}
	if err := r.ready(ctx); err != nil {
		return errors.Join(fmt.Errorf("the cluster is not ready for the drill: %w", err), r.leave())
	}
	return nil
}

func (r *runner) ready(ctx context.Context) error {
	if r.cluster.Ready == nil {
		return nil
	}
	return r.field.Await(ctx, "all is well", ReadyWithin, func(ctx context.Context) error { return r.cluster.Ready(ctx, r.field) })
}

// drill carries out one drill.
func (r *runner) drill(ctx context.Context, d Drill) Result {
	from := time.Now()
	result := Result{Name: d.Name, Proves: d.Proves, Verdict: Pass}
	judge := func(v Verdict, err error) {
		if err == nil || result.Verdict != Pass {
			return
		}
		result.Verdict, result.Reason = v, strings.TrimSpace(err.Error())
	}
	err := r.enter(ctx, d.Cluster)
	judge(Broken, err)
	if err == nil {
		r.options.Say(fmt.Sprintf("%s: %s", d.Name, d.Proves))
		f := r.field
		f.Injected, f.found, f.notes = time.Time{}, map[string]time.Duration{}, nil
		verdict, err := d.happen(ctx, f, &result.Seen)
		judge(verdict, err)
		result.Injected, result.Found, result.Notes = f.Injected, f.found, f.notes
		err = d.heal(ctx, f)
		if err == nil {
			err = r.ready(ctx)
		}
		if err != nil {
			judge(Fail, fmt.Errorf("the cluster did not heal: %w", err))
			// What comes next is not to suffer from it.
			judge(Broken, r.leave())
		}
	}
	result.Took = time.Since(from)
	return result
}

func (d *Drill) heal(ctx context.Context, f *Field) error {
	if d.Heal == nil {
		return nil
	}
	return d.Heal(ctx, f)
}

// happen goes from the cluster that is well to the verdict.
func (d *Drill) happen(ctx context.Context, f *Field, seen *Seen) (Verdict, error) {
	if d.Setup != nil {
		if err := d.Setup(ctx, f); err != nil {
			return Broken, fmt.Errorf("prepare the drill: %w", err)
		}
	}
	var traffic Traffic
	if d.Traffic != nil {
		var err error
		if traffic, err = d.Traffic(ctx, f); err != nil {
			return Broken, fmt.Errorf("begin the traffic: %w", err)
		}
		before := d.Before
		if before == 0 {
			before = LeadIn
		}
		pause(ctx, before)
	}
	f.Injected = time.Now()
	err := d.Inject(ctx, f)
	verdict := Broken
	if err != nil {
		err = fmt.Errorf("let it happen: %w", err)
	} else if d.Settle != nil {
		verdict, err = Fail, d.Settle(ctx, f)
	}
	if traffic != nil {
		if err == nil {
			err = calm(ctx, traffic)
		}
		var stopErr error
		*seen, stopErr = traffic.Stop(ctx, f.Injected)
		if err == nil && stopErr != nil {
			verdict, err = Broken, fmt.Errorf("end the traffic: %w", stopErr)
		}
	}
	if err != nil {
		return verdict, err
	}
	if d.Verdict == nil {
		return Pass, nil
	}
	return Fail, d.Verdict(ctx, f, Outcome{Seen: *seen, Found: f.found})
}

// calm waits until nothing of the traffic fails any more.
func calm(ctx context.Context, t Traffic) error {
	from := time.Now()
	_, err := await.Attempt(ctx, CalmWithin, func(context.Context) error {
		if since := min(t.Calm(), time.Since(from)); since < Calm {
			return fmt.Errorf("something has failed %s ago", since.Round(100*time.Millisecond))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("what is asked of the cluster goes on to fail after %s: %w", CalmWithin, err)
	}
	return nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// bringUp makes a lab with the stack, ready to be applied.
func (o Options) bringUp(ctx context.Context, c *Cluster) (*Field, func() error, error) {
	dir, err := os.MkdirTemp(o.Dir, "operator-")
	if err != nil {
		return nil, nil, err
	}
	site, err := rig.NewSite(ctx, o.Programs, rig.SiteOptions{
		Engine: o.Engine, Stack: o.Stack, Dir: dir, Env: slices.Clone(c.Env),
		Lab: lab.Options{
			Name: fmt.Sprintf("drills-%d", os.Getpid()), Temporary: true, Machines: c.Machines,
			Progress: o.Say,
		},
	})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	remove := func() error { return errors.Join(site.Close(), os.RemoveAll(dir)) }
	for name, text := range c.Files {
		if err := site.Work.Write(filepath.Base(name), text); err != nil {
			return nil, nil, errors.Join(err, remove())
		}
	}
	return &Field{Site: site}, remove, nil
}
