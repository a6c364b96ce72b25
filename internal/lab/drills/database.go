//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
)

// databaseNodes are the voting members of the database that drills happen to, and databaseUnit is their server.
var databaseNodes = []string{"hk1", "hk2", "sg1"}

const databaseUnit = "atoll-mysql.service"

// failoverObjective is how long nobody may be able to write after a primary is gone. On a quiet machine it is 7 s, of which the
// server waits for 5 before it suspects anybody; the benchmark measures that. Drills run wherever somebody runs them, and are given one
// second more.
const failoverObjective = 8 * time.Second

// momentObjective is how long nobody may be able to write when the primary hands over or another member goes or comes: a fraction of
// a second, and somewhat more where much else is going on.
const momentObjective = 1500 * time.Millisecond

// databaseDrills are what may happen to a database.
func databaseDrills() []Drill {
	c := databaseCluster()
	list := []Drill{
		databaseCrash(c), databasePowerCut(c), databaseHang(c), databaseSwitchover(c),
		databaseCutOff(c), databaseOneWay(c), databaseLoss(c), databaseTwoDead(c),
		databaseJoined(c), databaseWiped(c), databaseErrant(c), databaseDiskFills(c), databaseDiskFull(c), databaseNoPrimaryKey(c),
		databaseWrongSetting(c), databaseRemoved(c), databaseInterrupted(c),
		databaseHAProxy(c), databaseDataLost(c), databaseGivenUp(c),
	}
	return append(list, databaseOutages(c)...)
}

// databaseCluster is the reference topology with its database.
func databaseCluster() *Cluster {
	return &Cluster{
		Name: "a database of three members", Env: []string{rig.WithDatabase("", databaseNodes...)},
		Prepare: func(ctx context.Context, f *Field) error {
			if err := f.Apply(ctx); err != nil {
				return err
			}
			return writer.Prepare(ctx, database(f).Router(databaseNodes[0]))
		},
		Ready: databaseReady,
	}
}

// databaseReady returns what keeps the database from being whole, and known to be.
func databaseReady(ctx context.Context, f *Field) error {
	if err := database(f).Ready(ctx); err != nil {
		return err
	}
	status, healthy, err := f.Status(ctx)
	if err == nil && !healthy {
		err = fmt.Errorf("atoll status: %s", strings.Join(status.Reasons, "; "))
	}
	return err
}

// allReady waits until that is so.
func allReady(ctx context.Context, f *Field) error {
	return f.Await(ctx, "all is well", ReadyWithin, func(ctx context.Context) error { return databaseReady(ctx, f) })
}

func database(f *Field) *rig.Database { return f.Database(databaseNodes...) }

// writers are applications on all members' nodes that write through their routers, and somebody who tries to write at each
// member itself all the time. A drill has one value of it.
type writers struct {
	// survivors are the nodes whose applications count for the outage; all when empty. Inject sets it.
	survivors []string
	// patience is how long one write may take before the application gives it up; the writer's own when 0.
	patience time.Duration
	// primary is who took writes before the fault.
	primary  string
	database *rig.Database

	crowd  *writer.Crowd
	watch  *writer.Watch
	record writer.Record
	probes writer.Probes
	fault  time.Time
	// gone are the writes that were acknowledged and are not there any more, goneAt the members that lost one which they took themselves.
	gone   writer.Record
	goneAt []string
}

var _ Traffic = (*writers)(nil)

// begin is a drill's Traffic.
func (w *writers) begin(ctx context.Context, f *Field) (Traffic, error) {
	d := database(f)
	var err error
	if w.primary, err = d.Primary(ctx); err != nil {
		return nil, err
	}
	w.survivors, w.database = nil, d
	w.crowd, w.watch = writer.Start(ctx, writer.Plan{Servers: d.Routers(), Clients: 3, Every: 40 * time.Millisecond, Patience: w.patience}), writer.StartWatch(ctx, d.Members())
	return w, nil
}

// Calm implements Traffic.
func (w *writers) Calm() time.Duration { return w.crowd.Calm() }

// Stop implements Traffic. What was acknowledged and is not there any more is lost.
func (w *writers) Stop(ctx context.Context, fault time.Time) (Seen, error) {
	w.record, w.probes, w.fault = w.crowd.Stop(), w.watch.Stop(), fault
	since := w.record.Since(fault)
	seen := Seen{Asked: len(since), Failed: len(since.Failed())}
	if since.Failed() != nil {
		seen.Detail = since.Reasons()
	}
	outage, err := w.outage()
	if err != nil {
		return seen, err
	}
	if seen.Failed > 0 {
		seen.Outage = outage
	}
	primary, err := w.database.Primary(ctx)
	if err != nil {
		return seen, err
	}
	there := w.database.Root(primary).In(w.database.Name())
	if w.gone, err = w.record.Lost(ctx, there); err != nil {
		return seen, err
	}
	if w.goneAt, err = w.probes.Lost(ctx, there); err != nil {
		return seen, err
	}
	seen.Lost = len(w.gone) + len(w.goneAt)
	return seen, nil
}

// outage is how long none of the survivors could write.
func (w *writers) outage() (time.Duration, error) {
	record := w.record
	if len(w.survivors) > 0 {
		record = record.By(w.survivors...)
	}
	o, err := record.Outage(w.fault)
	return o.Length(), err
}

// invariants demands what must be so after every fault: nothing that was acknowledged is lost, two members never took writes at
// the same time, and all members have the same data. The cluster must have healed.
func (w *writers) invariants(ctx context.Context, f *Field, o Outcome) error {
	var errs []error
	if o.Lost > 0 {
		errs = append(errs, fmt.Errorf("%d acknowledged writes are lost", o.Lost))
	}
	errs = append(errs, w.probes.OneWriter(), f.Await(ctx, "all members have the same data", time.Minute, w.database.Equal))
	return errors.Join(errs...)
}

// within demands that survivors could write again that soon.
func (w *writers) within(limit time.Duration) error {
	outage, err := w.outage()
	if err == nil && outage > limit {
		err = fmt.Errorf("nobody could write for %s, promised are %s", seconds(outage), seconds(limit))
	}
	return err
}

// failedOver waits until a survivor's server has another primary, and measures it.
func (w *writers) failedOver(ctx context.Context, f *Field) error {
	return f.Measure(ctx, "another member is the primary", time.Minute, func(ctx context.Context) error {
		primary, err := f.Database(w.survivors...).Primary(ctx)
		if err == nil && primary == w.primary {
			err = fmt.Errorf("%s is still the primary", primary)
		}
		return err
	})
}

// whole waits until all members are there again, and measures it.
func (w *writers) whole(ctx context.Context, f *Field) error {
	return f.Measure(ctx, "all members are online", ReadyWithin, w.database.Ready)
}

// on runs a command on a node.
func on(ctx context.Context, f *Field, node string, argv ...string) error {
	_, err := f.Exec(ctx, node, argv...)
	return err
}

// healDatabase undoes what any of the drills may have left.
func healDatabase(ctx context.Context, f *Field) error {
	errs := []error{f.HealAll(ctx), powerOn(ctx, f, databaseNodes...)}
	for _, n := range databaseNodes {
		err := on(ctx, f, n, "sh", "-c", "systemctl kill --signal=CONT "+databaseUnit+"; systemctl start atolld.service")
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = nil // there was nothing to continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
