package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// The health benchmark: on which node something happens, how often its health endpoint is asked, for how long at most, and for how long
// at least when the node is to stay in service.
const (
	healthNode  = "sg1"
	healthEvery = 5 * time.Millisecond
	healthWait  = time.Minute
	healthKept  = 10 * time.Second
)

// The units that are held down on the node.
const (
	healthMesh  = "atoll-tinc.service"
	healthProxy = "atoll-haproxy.service"
)

// healthApplication is the program that the nodes serve. The nodes have perl.
const healthApplication = `use IO::Socket::INET; my $l = IO::Socket::INET->new(LocalPort => 8080, Listen => 512, ReuseAddr => 1) or die; ` +
	`while (my $c = $l->accept) { while (<$c>) { last if /^\r?$/ } print $c "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"; close $c }`

// cause is one thing that makes a node unfit, and what ends it.
type cause struct {
	name string
	// check is that of the application; its zero value asks for a page.
	check spec.ApplicationCheck
	// proxy tells that the load balancer has a local proxy.
	proxy bool
	// cutOff tells that the node does not hear the others. Keeps tells that a floor keeps it in service.
	cutOff, keeps bool
	// database tells that the node has a part in one.
	database   bool
	begin, end func(context.Context) error
}

// healthRow is what was measured of a cause.
type healthRow struct {
	cause   *cause
	floor   int
	out, in sample
}

// benchHealth measures how soon a node's health endpoint says that the node is unfit, by cause, and how soon that it is fit
// again, in a three-site cluster in the lab: without a database, and with one.
func benchHealth(ctx context.Context, out io.Writer) error {
	flags := flag.NewFlagSet("bench health", flag.ContinueOnError)
	runs := flags.Int("runs", 5, "how often each cause is measured")
	only := flags.String("only", "", "measure the causes alone whose names contain this")
	journals := flags.String("journals", "", "a folder for what the node's programs have said in each run")
	if err := flags.Parse(argumentsOf("health", os.Args[1:])); err != nil {
		return err
	}
	wanted := func(causes []*cause) []*cause {
		return slices.DeleteFunc(causes, func(c *cause) bool { return !strings.Contains(c.name, *only) })
	}
	return withLab(ctx, out, func(b *labBench) error {
		b.journals = *journals
		if r, err := b.Work.Run(ctx, "apply", "-auto-approve"); err != nil {
			return fmt.Errorf("%w\n%s", err, r.Stdout)
		}
		status, _, err := b.Status(ctx)
		if err != nil {
			return err
		}
		b.cluster = status.Cluster
		for _, node := range labNodes {
			if err := b.startApplication(ctx, node); err != nil {
				return err
			}
		}
		var rows []*healthRow
		defer func() { b.printReactions(rows) }() // what there is, also when something fails
		if rows, err = b.reactions(ctx, wanted(b.nodeCauses()), *runs); err != nil {
			return err
		}
		b.Work.Env = append(b.Work.Env, rig.WithDatabase("", labNodes...))
		if r, err := b.Work.Run(ctx, "apply", "-auto-approve"); err != nil {
			return fmt.Errorf("%w\n%s", err, r.Stdout)
		}
		more, err := b.reactions(ctx, wanted(b.databaseCauses()), *runs)
		rows = append(rows, more...)
		return err
	})
}

// nodeCauses are what may be wrong with a node that has no part in a database.
func (b *labBench) nodeCauses() []*cause {
	return []*cause{
		{
			name:  "the application is killed",
			begin: func(ctx context.Context) error { return b.run(ctx, "systemctl", "kill", "--signal=KILL", "www") },
			end:   func(ctx context.Context) error { return b.startApplication(ctx, healthNode) },
		},
		{
			name:  "the application hangs",
			begin: func(ctx context.Context) error { return b.run(ctx, "systemctl", "kill", "--signal=STOP", "www") },
			end:   func(ctx context.Context) error { return b.run(ctx, "systemctl", "kill", "--signal=CONT", "www") },
		},
		{
			// Beside an agent that may do little itself: systemd runs it.
			name:  "the check's command fails",
			check: spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/bin/sh", "-c", "test ! -e /srv/broken && test $(id -un) = nobody"}},
			begin: func(ctx context.Context) error { return b.run(ctx, "touch", "/srv/broken") },
			end:   func(ctx context.Context) error { return b.run(ctx, "rm", "/srv/broken") },
		},
		{
			name: "maintenance, told to another node",
			begin: func(ctx context.Context) error {
				return b.order(ctx, spec.KindMaintenance, healthNode, spec.Maintenance{Since: time.Now()})
			},
			end: func(ctx context.Context) error { return b.order(ctx, spec.KindMaintenance, healthNode, nil) },
		},
		{
			name: "the local proxy is stopped", proxy: true,
			begin: func(ctx context.Context) error { return b.HoldDown(ctx, healthProxy, healthNode) },
			end:   func(ctx context.Context) error { return b.LetGo(ctx, healthProxy, healthNode) },
		},
		{
			name:  "the mesh's daemon is stopped",
			begin: func(ctx context.Context) error { return b.HoldDown(ctx, healthMesh, healthNode) },
			end:   func(ctx context.Context) error { return b.LetGo(ctx, healthMesh, healthNode) },
		},
		b.cutFromOthers("cut off from the other nodes", true),
	}
}

// databaseCauses are what may be wrong with a node's way to a database.
func (b *labBench) databaseCauses() []*cause {
	unit := b.Database(labNodes...).RouterUnit()
	cut := b.cutFromOthers("cut off from the other nodes, who have the database", false)
	cut.database = true
	return []*cause{
		{
			name: "the database's router is stopped", database: true,
			begin: func(ctx context.Context) error { return b.HoldDown(ctx, unit, healthNode) },
			end:   func(ctx context.Context) error { return b.LetGo(ctx, unit, healthNode) },
		},
		cut,
	}
}

// cutFromOthers is a node that does not hear the others, and whom visitors reach.
func (b *labBench) cutFromOthers(name string, keeps bool) *cause {
	return &cause{
		name: name, cutOff: true, keeps: keeps,
		begin: func(ctx context.Context) error {
			return errors.Join(b.Network().Impair(ctx, healthNode, "hk1", 100, false), b.Network().Impair(ctx, healthNode, "hk2", 100, false))
		},
		end: func(ctx context.Context) error { return b.Network().HealAll(ctx) },
	}
}

// reactions measures every cause, without a floor and with a floor of one node. With an error it returns what it has measured.
func (b *labBench) reactions(ctx context.Context, causes []*cause, runs int) ([]*healthRow, error) {
	var rows []*healthRow
	for _, c := range causes {
		for floor := range 2 {
			row := &healthRow{cause: c, floor: floor}
			rows = append(rows, row)
			if err := b.measure(ctx, row, runs); err != nil {
				return rows, fmt.Errorf("%s, minimum_nodes %d: %w", c.name, floor, err)
			}
		}
	}
	return rows, nil
}

// standingHostname is that of a load balancer that lasts for all runs of a cause.
const standingHostname = "standing.example.com"

// measure measures a cause.
func (b *labBench) measure(ctx context.Context, row *healthRow, runs int) (err error) {
	if row.cause.cutOff && row.floor > 0 {
		// Only whom it has heard at their public addresses can a node find dead, and it listens while it has load balancers with a floor.
		lb := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}, MinimumNodes: row.floor}
		for _, node := range labNodes {
			lb.Nodes[node] = spec.ServingNode{Enabled: true, Port: 8080}
		}
		if err := b.order(ctx, spec.KindLoadBalancer, standingHostname, lb); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.order(ctx, spec.KindLoadBalancer, standingHostname, nil)) }()
		if err := b.await(ctx, []string{healthNode}, func(node string) bool { return b.provesOthers(ctx, node) }); err != nil {
			return fmt.Errorf("it hears the others in public: %w", err)
		}
	}
	for run := range runs {
		if err := b.react(ctx, row, run+1); err != nil {
			return err
		}
	}
	return nil
}

func (b *labBench) printReactions(rows []*healthRow) {
	fmt.Fprint(b.out, "A node's health endpoint, from the cause until it says so and from the cause's end until it says 200 in its own right (check every second, fall 2, rise 2):\n\n")
	var cells [][]string
	for _, r := range rows {
		out := "503"
		if r.kept() {
			out = "kept in service, 200 all the time"
		}
		cells = append(cells,
			append([]string{r.cause.name, fmt.Sprint(r.floor), out}, r.out.cells()...),
			append([]string{"", "", "200"}, r.in.cells()...))
	}
	printTable(b.out, append([]string{"cause", "minimum_nodes", "until"}, sampleColumns...), cells)
}

// kept tells that the node is to stay in service.
func (r *healthRow) kept() bool { return r.cause.keeps && r.floor > 0 }

// react measures a cause once, for a load balancer of its own: of one, an application that has fallen a few times would have to
// be well for a minute.
func (b *labBench) react(ctx context.Context, r *healthRow, run int) (err error) {
	check := r.cause.check
	if check.Type == "" {
		check.Type = spec.CheckHTTP
	}
	lb := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}, MinimumNodes: r.floor, Check: &check}
	if r.cause.proxy {
		lb.Proxy = &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80}
	}
	for _, node := range labNodes {
		lb.Nodes[node] = spec.ServingNode{Enabled: true, Port: 8080}
	}
	b.balancers++
	hostname := fmt.Sprintf("www%d.example.com", b.balancers)
	if err := b.order(ctx, spec.KindLoadBalancer, hostname, lb); err != nil {
		return err
	}
	if err := b.await(ctx, labNodes, func(node string) bool { return b.look(ctx, node, hostname) == inService }); err != nil {
		return err
	}
	diary, err := b.newDiary(ctx, r, run)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, diary.end(ctx, err)) }()
	want := outOfService
	if r.kept() {
		want = keptInService
	}
	if diary.out, err = b.follows(ctx, diary, r.cause.begin, hostname, want); err != nil {
		return err
	}
	r.out = append(r.out, diary.out)
	if err := b.stays(ctx, hostname, want); err != nil {
		return err
	}
	if diary.in, err = b.follows(ctx, diary, r.cause.end, hostname, inService); err != nil {
		return err
	}
	r.in = append(r.in, diary.in)
	return b.order(ctx, spec.KindLoadBalancer, hostname, nil)
}

// follows does something and returns how long it then takes until the health endpoint says what is wanted. With an error it returns how
// long it has waited.
func (b *labBench) follows(ctx context.Context, d *diary, do func(context.Context) error, hostname string, want standing) (time.Duration, error) {
	from := time.Now()
	err := do(ctx)
	if err == nil {
		err = b.awaitLook(ctx, d, hostname, want)
	}
	return time.Since(from), err
}

// provesOthers tells whether a node has had answers at the public addresses of all others.
func (b *labBench) provesOthers(ctx context.Context, node string) bool {
	report, err := b.Report(ctx, b.cluster, node)
	if err != nil {
		return false
	}
	for _, other := range without(node) {
		if p := report.Peers[other]; p.Public == nil || !p.Public.Answers {
			return false
		}
	}
	return true
}

// order signs an object, or a tombstone when body is nil, and gives it to one node.
func (b *labBench) order(ctx context.Context, kind spec.Kind, name string, body spec.Body) error {
	now := uint64(time.Now().UnixMilli()) //nolint:gosec // after 1970
	o := spec.NewTombstone(b.cluster, spec.Ref{Kind: kind, Name: name}, now, now)
	if body != nil {
		var err error
		if o, err = spec.NewObject(b.cluster, name, now, now, body); err != nil {
			return err
		}
	}
	e, err := trust.SignObject(b.Key, o)
	if err != nil {
		return err
	}
	agent, err := b.Agent(b.cluster, "hk1")
	if err != nil {
		return err
	}
	defer agent.Close()
	outcomes, err := agent.Push(ctx, []store.Record{store.ObjectRecord(e)})
	if err == nil && outcomes[0].Result != store.Accepted {
		err = fmt.Errorf("%s: %s", outcomes[0].Result, outcomes[0].Message)
	}
	return err
}

// startApplication runs the application on a node.
func (b *labBench) startApplication(ctx context.Context, node string) error {
	program := base64.StdEncoding.EncodeToString([]byte(healthApplication))
	// As a file, because systemd would look for variables of its own in the program.
	start := "echo " + program + " | base64 -d >/srv/www.pl && systemd-run --quiet --collect --unit=www perl /srv/www.pl"
	_, err := b.Exec(ctx, node, "sh", "-c", start)
	return err
}

// run runs a command on the node that is measured.
func (b *labBench) run(ctx context.Context, argv ...string) error {
	_, err := b.Exec(ctx, healthNode, argv...)
	return err
}
