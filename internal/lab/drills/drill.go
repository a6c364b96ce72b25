//go:build linux

package drills

import (
	"context"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// Drill is one fault, and what must come of it. Its functions share what they find in variables of the function that makes the
// drill. Those that may be nil are left out.
type Drill struct {
	// Name is unique: AREA/FAULT, such as "edge/power-cut". Those of one area and cluster stand together in All.
	Name string
	// Proves is what the drill shows, in one sentence without a full stop.
	Proves string
	// Cluster is what it happens to; drills with the same pointer share one.
	Cluster *Cluster
	// Long drills take minutes more than others, and are left out unless asked for.
	Long bool
	// Setup prepares the cluster. Heal must undo it. It may be nil.
	Setup func(ctx context.Context, f *Field) error
	// Traffic begins what somebody does with the cluster all the while. It may be nil.
	Traffic func(ctx context.Context, f *Field) (Traffic, error)
	// Before is how long the traffic runs before the fault; LeadIn when 0.
	Before time.Duration
	// Inject lets it happen. Field.Injected is when it was called.
	Inject func(ctx context.Context, f *Field) error
	// Settle waits for what must come of it, such as a new primary, and returns an error when that does not come. Afterwards the
	// traffic goes on until it was calm for Calm. It may be nil.
	Settle func(ctx context.Context, f *Field) error
	// Heal ends the fault. It is called also when something before it went wrong. The cluster must be ready again afterwards.
	Heal func(ctx context.Context, f *Field) error
	// Verdict says in an error what is not as promised, after the traffic was stopped and before Heal.
	Verdict func(ctx context.Context, f *Field, o Outcome) error
}

// How long the runner waits.
const (
	// LeadIn is how long traffic runs before a fault.
	LeadIn = 3 * time.Second
	// Calm is how long nothing of the traffic must have failed for the fault to be over.
	Calm = 5 * time.Second
	// CalmWithin bounds the wait for that, Ready the wait for a cluster that is to be well.
	CalmWithin  = 3 * time.Minute
	ReadyWithin = 4 * time.Minute
)

// Cluster is a kind of cluster that drills happen to.
type Cluster struct {
	// Name is what progress calls it.
	Name string
	// Machines are in the lab besides what Terraform makes; those of the reference topology when nil.
	Machines []lab.Machine
	// Files are written into the operator's folder beside the stack, by their names. The stack is the reference topology's.
	Files map[string]string
	// Env is added to the environment of Terraform, as NAME=value.
	Env []string
	// Prepare brings the cluster up when the operator's folder is ready and nothing was applied yet.
	Prepare func(ctx context.Context, f *Field) error
	// Ready returns what is not well yet. It is asked again and again, before each drill.
	Ready func(ctx context.Context, f *Field) error
}

// Traffic is what somebody does with a cluster while something happens to it.
type Traffic interface {
	// Calm is how long nothing has failed by now.
	Calm() time.Duration
	// Stop ends it and says what came of everything that began or failed after the fault.
	Stop(ctx context.Context, fault time.Time) (Seen, error)
}

// Seen is what became of traffic.
type Seen struct {
	// Asked counts what was asked after the fault, Failed what failed.
	Asked  int `json:"asked"`
	Failed int `json:"failed"`
	// Outage is from the fault until the last failure ended, 0 when nothing failed.
	Outage time.Duration `json:"outage"`
	// Lost counts what was acknowledged and is gone: writes, or sessions of those who were logged in.
	Lost int `json:"lost"`
	// Detail is what else the traffic has to say, in a few words.
	Detail string `json:"detail,omitempty"`
}

// Outcome is what a verdict is about.
type Outcome struct {
	Seen
	// Found are figures that the drill has measured itself, by name.
	Found map[string]time.Duration
}

// Field is the cluster that a drill happens to, with everything that an operator has.
type Field struct {
	*rig.Site
	// Injected is when the fault happened; zero before.
	Injected time.Time

	found map[string]time.Duration
	notes []string
	say   func(string)
}

// Say tells whoever watches what is going on.
func (f *Field) Say(format string, values ...any) { f.say(fmt.Sprintf(format, values...)) }

// Await waits until a condition holds, and returns its last complaint when it does not come in time.
func (f *Field) Await(ctx context.Context, what string, within time.Duration, condition func(context.Context) error) error {
	if took, err := await.Attempt(ctx, within, condition); err != nil {
		return fmt.Errorf("%s: not within %s: %w", what, took.Round(time.Second), err)
	}
	return nil
}

// Measure is Await for what follows from the fault: how long after it that came is a figure of the drill, under what.
func (f *Field) Measure(ctx context.Context, what string, within time.Duration, condition func(context.Context) error) error {
	if err := f.Await(ctx, what, within, condition); err != nil {
		return err
	}
	f.found[what] = time.Since(f.Injected)
	return nil
}

// Found adds a figure to the drill's row.
func (f *Field) Found(what string, took time.Duration) { f.found[what] = took }

// Note adds a sentence to the drill's row.
func (f *Field) Note(format string, values ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, values...))
}

// Apply applies the operator's folder.
func (f *Field) Apply(ctx context.Context) error {
	_, err := f.Work.Run(ctx, "apply", "-auto-approve")
	return err
}
