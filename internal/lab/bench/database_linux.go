package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
)

// What the benchmark of databases waits for at most, and how long writes must have been acknowledged for an outage to be over.
const (
	databaseReady = 5 * time.Minute
	databaseBack  = 3 * time.Minute
	databaseCalm  = 3 * time.Second
	databaseLead  = 2 * time.Second
)

// databaseGroup is three members with routers in a lab, however they were made.
type databaseGroup interface {
	// nodes are the members, sorted.
	nodes() []string
	// router is an application's way on a node, member one to the server itself, root one that may read everything.
	router(node string) writer.Server
	member(node string) writer.Server
	root(node string) writer.Server
	// ready returns what keeps the group from being whole, and primary who takes writes.
	ready(ctx context.Context) error
	primary(ctx context.Context) (string, error)
	// crash kills the server with SIGKILL.
	crash(ctx context.Context, node string) error
	powerCut(ctx context.Context, node string) error
	powerOn(ctx context.Context, node string) error
	switchover(ctx context.Context, to string) error
	// recover does what an operator has to do after a full outage, when the servers run.
	recover(ctx context.Context) error
	// wipe has a member that was stopped lose its data, start again and take a copy of everything.
	wipe(ctx context.Context, node string) error
	close(ctx context.Context) error
}

// databaseOptions are what is measured.
type databaseOptions struct {
	runs  int
	clone int // MiB; 0 for no copy
	ways  string
	fault string
}

// databaseWay is one way to run a database.
type databaseWay struct {
	name string
	make func(ctx context.Context, out io.Writer) (databaseGroup, error)
}

// benchDatabase measures how long nobody can write, with the settings that MySQL comes with and with Atoll's, in one run.
func benchDatabase(ctx context.Context, out io.Writer) error {
	var o databaseOptions
	flags := flag.NewFlagSet("bench database", flag.ContinueOnError)
	flags.IntVar(&o.runs, "runs", 10, "how often each fault is measured")
	flags.IntVar(&o.clone, "clone", 1024, "MiB that a member without data has to copy; 0 leaves that out")
	flags.StringVar(&o.ways, "ways", "stock,atoll", "what is measured")
	flags.StringVar(&o.fault, "faults", "switchover,crash,silent death,full outage", "what happens")
	if err := flags.Parse(argumentsOf("database", os.Args[1:])); err != nil {
		return err
	}
	table := databaseTable{columns: []string{"event", "way", "p50", "worst", "runs", "of which ended by itself", "lost"}}
	var notes []string
	// What was measured before something went wrong took an hour, perhaps.
	defer func() {
		fmt.Fprintf(out, "Write outage, from the last write that was acknowledged before to the first one after, by way of the routers of the nodes that live:\n\n")
		table.print(out)
		for _, n := range notes {
			fmt.Fprintln(out, n)
		}
	}()
	for _, w := range []databaseWay{{"stock", newStockGroup}, {"atoll", newAtollGroup}} {
		if !slices.Contains(strings.Split(o.ways, ","), w.name) {
			continue
		}
		more, err := o.measure(ctx, out, w, &table)
		notes = append(notes, more...)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

// argumentsOf returns what follows the name of a benchmark: it is its own.
func argumentsOf(name string, args []string) []string {
	if i := slices.Index(args, name); i >= 0 {
		return args[i+1:]
	}
	return nil
}

// databaseTable is the faults side by side.
type databaseTable struct {
	columns []string
	rows    [][]string
}

func (t *databaseTable) print(out io.Writer) {
	slices.SortStableFunc(t.rows, func(a, b []string) int {
		return slices.Index(databaseFaultNames, a[0]) - slices.Index(databaseFaultNames, b[0])
	})
	printTable(out, t.columns, t.rows)
}

// databaseFault is something that happens to a group. It returns the nodes whose routers live on, and what ends it.
type databaseFault struct {
	name   string
	inject func(ctx context.Context, g databaseGroup) (end func(context.Context) error, err error)
	// dead tells that the primary's node is not there to write from, all that none is.
	dead, all bool
}

var databaseFaultNames = []string{"switchover", "crash", "silent death", "full outage"}

func databaseFaults() []databaseFault {
	nothing := func(context.Context) error { return nil }
	return []databaseFault{
		{name: "switchover", inject: func(ctx context.Context, g databaseGroup) (func(context.Context) error, error) {
			primary, err := g.primary(ctx)
			if err != nil {
				return nil, err
			}
			to := slices.DeleteFunc(g.nodes(), func(n string) bool { return n == primary })[0]
			return nothing, g.switchover(ctx, to)
		}},
		{name: "crash", inject: func(ctx context.Context, g databaseGroup) (func(context.Context) error, error) {
			primary, err := g.primary(ctx)
			if err != nil {
				return nil, err
			}
			return nothing, g.crash(ctx, primary)
		}},
		{name: "silent death", dead: true, inject: func(ctx context.Context, g databaseGroup) (func(context.Context) error, error) {
			primary, err := g.primary(ctx)
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) error { return g.powerOn(ctx, primary) }, g.powerCut(ctx, primary)
		}},
		{name: "full outage", all: true, inject: func(ctx context.Context, g databaseGroup) (func(context.Context) error, error) {
			return nothing, together(g.nodes(), func(n string) error { return g.powerCut(ctx, n) })
		}},
	}
}

// together does something to all nodes at the same time.
func together(nodes []string, do func(node string) error) error {
	done := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() { done <- do(n) }()
	}
	var errs []error
	for range nodes {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// measure makes a group and lets everything happen to it.
func (o databaseOptions) measure(ctx context.Context, out io.Writer, w databaseWay, table *databaseTable) (notes []string, err error) {
	g, err := w.make(ctx, out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close(context.WithoutCancel(ctx))) }()
	if err := whole(ctx, g); err != nil {
		return nil, err
	}
	primary, err := g.primary(ctx)
	if err != nil {
		return nil, err
	}
	if err := writer.Prepare(ctx, g.member(primary)); err != nil {
		return nil, err
	}
	for _, f := range databaseFaults() {
		if !slices.Contains(strings.Split(o.fault, ","), f.name) {
			continue
		}
		m := databaseMeasure{group: g, fault: f}
		for n := range o.runs {
			if err := m.once(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			fmt.Fprintf(os.Stderr, "bench: %s: %s, %d of %d: %s\n", w.name, f.name, n+1, o.runs, seconds(m.outages[len(m.outages)-1]))
		}
		table.rows = append(table.rows, []string{
			f.name, w.name, seconds(m.outages.median()), seconds(m.outages.max()), fmt.Sprint(len(m.outages)), fmt.Sprint(m.byItself), fmt.Sprint(m.lost),
		})
	}
	if u, ok := g.(interface {
		memory(context.Context) (string, error)
	}); ok {
		note, err := u.memory(ctx)
		if err != nil {
			return nil, err
		}
		notes = append(notes, note)
	}
	if o.clone > 0 {
		note, err := o.measureClone(ctx, w, g)
		if err != nil {
			return notes, fmt.Errorf("copy: %w", err)
		}
		notes = append(notes, note)
	}
	return notes, nil
}

// databaseMeasure is one fault, measured again and again.
type databaseMeasure struct {
	group    databaseGroup
	fault    databaseFault
	outages  sample
	byItself int
	lost     int
}

// patience is how long a group may take to end an outage by itself before the operator does what is to be done.
const patience = 30 * time.Second

// once lets it happen once and waits until all is well again.
func (m *databaseMeasure) once(ctx context.Context) error {
	g := m.group
	if err := whole(ctx, g); err != nil {
		return err
	}
	primary, err := g.primary(ctx)
	if err != nil {
		return err
	}
	var routers, members, roots []writer.Server
	for _, n := range g.nodes() {
		if n != primary || !m.fault.dead {
			routers = append(routers, g.router(n))
		}
		members, roots = append(members, g.member(n)), append(roots, g.root(n))
	}
	// Ten clients at each node, so that somebody asks every few milliseconds; those who wait for a server that hangs are not missed.
	crowd := writer.Start(ctx, writer.Plan{Servers: routers, Clients: 10, Every: 50 * time.Millisecond})
	if _, stock := g.(*stockGroup); stock && m.fault.all {
		members = nil // what the operator does for a moment lets everybody write to each server
	}
	watch := writer.StartWatch(ctx, members)
	stopped := false
	stop := func() (writer.Record, writer.Probes) { stopped = true; return crowd.Stop(), watch.Stop() }
	defer func() {
		if !stopped {
			stop()
		}
	}()
	if _, err := await.Attempt(ctx, databaseBack, calm(crowd, time.Now())); err != nil {
		return fmt.Errorf("before it happens: %w: %s", err, crowd.Stop().Reasons())
	}
	fault := time.Now()
	end, err := m.fault.inject(ctx, g)
	if err != nil {
		return err
	}
	from := fault
	if m.fault.all {
		if from, err = m.power(ctx, crowd); err != nil {
			return err
		}
	} else if _, err := await.Attempt(ctx, databaseBack, calm(crowd, time.Now())); err != nil {
		return fmt.Errorf("writes do not go on: %w", err)
	} else {
		m.byItself++
	}
	record, probes := stop()
	if err := end(ctx); err != nil {
		return err
	}
	outage, err := record.Outage(fault)
	if err != nil {
		return err
	}
	length := outage.Length()
	if m.fault.all {
		length = outage.First.Sub(from) // from power to the first write
	}
	m.outages = append(m.outages, length)
	if err := probes.OneWriter(); err != nil {
		return err
	}
	if err := whole(ctx, g); err != nil {
		return err
	}
	lost, err := record.Lost(ctx, roots[0].In("app"))
	if err != nil {
		return err
	}
	m.lost += len(lost)
	if _, err := await.Attempt(ctx, time.Minute, func(ctx context.Context) error { return writer.Equal(ctx, roots) }); err != nil {
		return fmt.Errorf("the members differ: %w", err)
	}
	return nil
}

// power gives all nodes power again and returns when that was. What does not end by itself is ended by the operator.
func (m *databaseMeasure) power(ctx context.Context, crowd *writer.Crowd) (time.Time, error) {
	from := time.Now()
	if err := together(m.group.nodes(), func(n string) error { return m.group.powerOn(ctx, n) }); err != nil {
		return from, err
	}
	wait := databaseBack
	if _, stock := m.group.(*stockGroup); stock {
		wait = patience
		if len(m.outages) > 0 {
			wait = 0 // the first time has shown that it does not
		}
	}
	if wait > 0 {
		if _, err := await.Attempt(ctx, wait, calm(crowd, time.Now())); err == nil {
			m.byItself++
			return from, nil
		} else if wait == databaseBack {
			return from, fmt.Errorf("writes do not go on: %w", err)
		}
		// The operator's time counts from power that comes now.
		if err := together(m.group.nodes(), func(n string) error { return m.group.powerCut(ctx, n) }); err != nil {
			return from, err
		}
		from = time.Now()
		if err := together(m.group.nodes(), func(n string) error { return m.group.powerOn(ctx, n) }); err != nil {
			return from, err
		}
	}
	if err := m.group.recover(ctx); err != nil {
		return from, err
	}
	if _, err := await.Attempt(ctx, databaseBack, calm(crowd, time.Now())); err != nil {
		return from, fmt.Errorf("writes do not go on: %w", err)
	}
	return from, nil
}

// calm demands that writes were acknowledged since a moment, and that none has failed for a while.
func calm(crowd *writer.Crowd, since time.Time) func(context.Context) error {
	before := crowd.Acknowledged()
	return func(context.Context) error {
		if crowd.Acknowledged() == before {
			return errors.New("no write is acknowledged")
		}
		if quiet := min(crowd.Calm(), time.Since(since)); quiet < databaseCalm {
			return fmt.Errorf("a write has failed %s ago", seconds(quiet))
		}
		return nil
	}
}

// whole waits until all members of a group are there.
func whole(ctx context.Context, g databaseGroup) error {
	said := time.Now()
	_, err := await.Attempt(ctx, databaseReady, func(ctx context.Context) error {
		err := g.ready(ctx)
		if err != nil && time.Since(said) > 10*time.Second {
			fmt.Fprintln(os.Stderr, "bench: waiting:", err)
			said = time.Now()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("the group is not whole: %w", err)
	}
	return nil
}
