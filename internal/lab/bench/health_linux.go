package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// The health benchmark: how often each cause is repeated, on which node, and how often its health endpoint is asked.
const (
	healthRuns  = 5
	healthNode  = "sg1"
	healthEvery = 5 * time.Millisecond
	healthWait  = time.Minute
)

// healthApplication is the program that the nodes serve. The nodes have perl.
const healthApplication = `use IO::Socket::INET; my $l = IO::Socket::INET->new(LocalPort => 8080, Listen => 512, ReuseAddr => 1) or die; ` +
	`while (my $c = $l->accept) { while (<$c>) { last if /^\r?$/ } print $c "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"; close $c }`

// cause is one thing that makes a node unfit, and what ends it.
type cause struct {
	name string
	// check is that of the application; its zero value asks for a page.
	check      spec.ApplicationCheck
	begin, end func(context.Context) error
	out, in    sample
}

// benchHealth measures how soon a node's health endpoint says that the node is unfit, by cause, and how soon that it is fit
// again, in a three-site cluster in the lab.
func benchHealth(ctx context.Context, out io.Writer) error {
	return withLab(ctx, out, func(b *labBench) error {
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
		if err := b.reactions(ctx, 0); err != nil {
			return err
		}
		return b.reactions(ctx, 1)
	})
}

// reactions measures every cause with a floor of so many nodes.
func (b *labBench) reactions(ctx context.Context, floor int) error {
	causes := []*cause{
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
			name: "cut off from the other nodes",
			begin: func(ctx context.Context) error {
				return errors.Join(b.Network().Impair(ctx, healthNode, "hk1", 100, false), b.Network().Impair(ctx, healthNode, "hk2", 100, false))
			},
			end: func(ctx context.Context) error { return b.Network().HealAll(ctx) },
		},
	}
	for _, c := range causes {
		for range healthRuns {
			if err := b.react(ctx, c, floor); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	fmt.Fprintf(b.out, "A node's health endpoint, from the cause to 503 and from its end to 200 (check every second, fall 2, rise 2, minimum_nodes %d):\n\n", floor)
	var rows [][]string
	for _, c := range causes {
		rows = append(rows, append([]string{c.name, "503"}, c.out.cells()...), append([]string{"", "200"}, c.in.cells()...))
	}
	printTable(b.out, append([]string{"cause", "until"}, sampleColumns...), rows)
	return nil
}

// react measures a cause once, for a load balancer of its own: of one, an application that has fallen a few times would have to
// be well for a minute.
func (b *labBench) react(ctx context.Context, c *cause, floor int) error {
	check := c.check
	if check.Type == "" {
		check.Type = spec.CheckHTTP
	}
	lb := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}, MinimumNodes: floor, Check: &check}
	for _, node := range labNodes {
		lb.Nodes[node] = spec.ServingNode{Enabled: true, Port: 8080}
	}
	b.balancers++
	hostname := fmt.Sprintf("www%d.example.com", b.balancers)
	if err := b.order(ctx, spec.KindLoadBalancer, hostname, lb); err != nil {
		return err
	}
	if err := b.await(ctx, labNodes, func(node string) bool { return b.fit(ctx, node, hostname) }); err != nil {
		return err
	}
	from := time.Now()
	if err := c.begin(ctx); err != nil {
		return err
	}
	if err := b.awaitFit(ctx, hostname, false); err != nil {
		return err
	}
	c.out = append(c.out, time.Since(from))
	from = time.Now()
	if err := c.end(ctx); err != nil {
		return err
	}
	if err := b.awaitFit(ctx, hostname, true); err != nil {
		return err
	}
	c.in = append(c.in, time.Since(from))
	return b.order(ctx, spec.KindLoadBalancer, hostname, nil)
}

// awaitFit waits until the health endpoint says that.
func (b *labBench) awaitFit(ctx context.Context, hostname string, fit bool) error {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	for b.fit(ctx, healthNode, hostname) != fit {
		select {
		case <-ctx.Done():
			return fmt.Errorf("fit=%t: %w", fit, ctx.Err())
		case <-time.After(healthEvery):
		}
	}
	return nil
}

// fit tells what a node's health endpoint says of the load balancer, asked from the operator's network.
func (b *labBench) fit(ctx context.Context, node, hostname string) bool {
	machine, err := b.Node(node)
	if err != nil {
		return false
	}
	at := net.JoinHostPort(machine.IPv4, strconv.Itoa(spec.DefaultPorts().Health))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+api.HealthPath+"/"+hostname, http.NoBody)
	if err != nil {
		return false
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: b.Network().OperatorNamespace().Dial}}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
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
