//go:build linux

package e2e_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
)

// databaseSite is a site with the reference topology's database.
type databaseSite struct {
	*site
	database *rig.Database
}

// TestDatabase runs the reference topology's database: it begins, outlives its primary, comes back after an outage of all, takes
// new settings, and goes. Applications write through the router of every node all the while. The other faults are drills.
func TestDatabase(t *testing.T) {
	t.Parallel()
	onceForAllEngines(t)
	s := newSite(t)
	d := databaseSite{site: s, database: s.Database(everyNode...)}
	d.settle(t, "")
	if err := writer.Prepare(t.Context(), d.database.Router("hk1")); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"begins", d.begins},
		{"ports", func(t *testing.T) { portsAreOpen(t, s) }},
		{"primary dies", d.primaryDies},
		{"all lose power", d.allLosePower},
		{"settings", d.settings},
		{"primary is removed", d.primaryIsRemoved},
		{"no secret leaks", func(t *testing.T) { noSecretLeaks(t, s) }},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
	d.mustRun(t, "destroy", "-auto-approve")
}

// settle applies the stack with settings of the database's server.
func (d databaseSite) settle(t *testing.T, settings string) {
	t.Helper()
	d.Work.Env = append(d.Work.Env, rig.WithDatabase(settings, everyNode...))
	d.apply(t)
}

// whole waits until all members are there and every node's application can write.
func (d databaseSite) whole(t *testing.T) {
	t.Helper()
	d.eventually(t, "the database is whole", 2*time.Minute, d.database.Ready)
}

func (d databaseSite) begins(t *testing.T) {
	d.whole(t)
	d.wantNoChange(t)
	if primary, err := d.database.Primary(t.Context()); err != nil || primary != "hk1" {
		t.Errorf("the primary is %q, %v, want the preferred one", primary, err)
	}
	d.eventually(t, "the cluster is healthy", time.Minute, d.healthy)
}

// during lets applications on all nodes write while something happens, and demands afterwards that no write that was acknowledged
// is lost, that two members never took writes at the same time, and that all have the same data. It returns how long none of the
// nodes that live could write.
func (d databaseSite) during(t *testing.T, live []string, happens func()) time.Duration {
	t.Helper()
	crowd, watch := writer.Start(t.Context(), writer.Plan{Servers: d.database.Routers(), Every: 50 * time.Millisecond}), writer.StartWatch(t.Context(), d.database.Members())
	var record writer.Record
	var probes writer.Probes
	stop := func() { record, probes = crowd.Stop(), watch.Stop() }
	t.Cleanup(func() {
		if record == nil {
			stop()
		}
	})
	d.eventually(t, "writes are acknowledged", time.Minute, func(context.Context) error {
		if n := crowd.Acknowledged(); n < 50 {
			return errNot("%d were", n)
		}
		return nil
	})
	fault := time.Now()
	happens()
	before := crowd.Acknowledged()
	d.eventually(t, "writes are acknowledged again", time.Minute, func(context.Context) error {
		if n := crowd.Acknowledged() - before; n < 50 {
			return errNot("%d were", n)
		}
		return nil
	})
	d.whole(t)
	stop()
	primary, err := d.database.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if lost, err := record.Lost(t.Context(), d.database.Root(primary).In(d.database.Name())); err != nil || len(lost) > 0 {
		t.Errorf("%d of %d acknowledged writes are lost: %v, %v", len(lost), len(record.Acknowledged()), lost, err)
	}
	if err := probes.OneWriter(); err != nil {
		t.Error(err)
	}
	d.eventually(t, "all members have the same data", time.Minute, d.database.Equal)
	outage, err := record.By(live...).Outage(fault)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("nobody could write for %.1f s; %d of %d writes failed: %s", outage.Length().Seconds(), len(record.Failed()), len(record), record.Failed().Reasons())
	return outage.Length()
}

func (d databaseSite) primaryDies(t *testing.T) {
	const dead = "hk1"
	outage := d.during(t, d.database.Others(dead), func() {
		if err := d.Kill(t.Context(), dead); err != nil {
			t.Fatal(err)
		}
		d.eventually(t, "another member is the primary", time.Minute, func(ctx context.Context) error {
			primary, err := d.Database(d.database.Others(dead)...).Primary(ctx)
			if err == nil && primary == dead {
				err = errNot("%s is", primary)
			}
			return err
		})
		if err := d.PowerOn(t.Context(), dead); err != nil {
			t.Fatal(err)
		}
	})
	if outage > 15*time.Second {
		t.Errorf("nobody could write for %v", outage)
	}
	d.eventually(t, "the cluster is healthy", time.Minute, d.healthy)
	d.wantNoChange(t)
}

// healthy returns an error unless `atoll status` finds nothing wrong.
func (d databaseSite) healthy(ctx context.Context) error {
	status, healthy, err := d.Status(ctx)
	if err == nil && !healthy {
		err = errNot("%v", status.Reasons)
	}
	return err
}

func (d databaseSite) allLosePower(t *testing.T) {
	d.during(t, d.database.Nodes, func() {
		done := make(chan error, len(d.database.Nodes))
		for _, n := range d.database.Nodes {
			go func() { done <- d.Kill(t.Context(), n) }()
		}
		var errs []error
		for range d.database.Nodes {
			errs = append(errs, <-done)
		}
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for _, n := range d.database.Nodes {
			if err := d.PowerOn(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
	})
	d.eventually(t, "the cluster is healthy", time.Minute, d.healthy)
	d.wantNoChange(t)
}

// settings changes one that takes a restart of every server, while applications write.
func (d databaseSite) settings(t *testing.T) {
	const name = "ft_min_word_len"
	outage := d.during(t, d.database.Nodes, func() {
		d.settle(t, name+` = "5"`)
		for _, n := range d.database.Nodes {
			if got, err := d.database.Value(t.Context(), n, "SELECT @@GLOBAL."+name); err != nil || got != "5" {
				t.Errorf("%s of %s is %q, %v", name, n, got, err)
			}
		}
	})
	if outage > 5*time.Second {
		t.Errorf("nobody could write for %v", outage)
	}
	d.wantNoChange(t)
}

// primaryIsRemoved destroys the member that is the primary, and makes it again.
func (d databaseSite) primaryIsRemoved(t *testing.T) {
	primary, err := d.database.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	outage := d.during(t, d.database.Others(primary), func() {
		d.mustRun(t, "destroy", "-auto-approve", `-target=atoll_database_member.app["`+primary+`"]`)
		now, err := d.Database(d.database.Others(primary)...).Primary(t.Context())
		if err != nil || !slices.Contains(d.database.Others(primary), now) {
			t.Errorf("the primary is %q, %v", now, err)
		}
		d.apply(t)
	})
	if outage > 5*time.Second {
		t.Errorf("nobody could write for %v", outage)
	}
	d.wantNoChange(t)
}
