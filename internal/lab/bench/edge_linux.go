package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/load"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// The edge benchmark: how many requests begin each second, by how many visitors with cookies, how long one waits before it counts
// as failed, on which node something happens, and how long nothing must have failed for it to be over.
const (
	edgeRate     = 50
	edgeSessions = 30
	edgePatience = 5 * time.Second
	edgeNode     = "sg1"
	edgeCalm     = 12 * time.Second
	edgeBefore   = 3 * time.Second
	edgeWait     = 3 * time.Minute
	edgeHost     = "www.example.com"
)

// edgeApplication is the program that the nodes serve: it says which node it is on. The nodes have perl.
const edgeApplication = `use IO::Socket::INET; $SIG{CHLD} = "IGNORE"; ` +
	`my $l = IO::Socket::INET->new(LocalPort => 8080, Listen => 512, ReuseAddr => 1) or die; ` +
	`while (my $c = $l->accept) { if (!fork) { while (<$c>) { last if /^\r?$/ } ` +
	`chomp(my $h = qx(hostname)); print $c "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " . length($h) . "\r\n\r\n$h"; exit } close $c }`

// edgeConfig is the load balancer, with what is particular of a way to notice a death, and of a node.
const edgeConfig = `
resource "atoll_load_balancer" "site" {
  hostname      = "` + edgeHost + `"
  zone          = "example.com"
  nodes         = local.nodes
  port          = 8080
  steering      = "random"
  node_settings = { %s }
  %s
}
`

// edgeWay is one way to notice that a node is dead.
type edgeWay struct{ name, config string }

// edgeCause is one thing that happens to a node, and what ends it.
type edgeCause struct {
	name       string
	begin, end func(context.Context) error
}

// benchEdge measures what visitors see of a node's death, with the monitor alone and with quick removal, and of a node that is taken
// out as planned.
func benchEdge(ctx context.Context, out io.Writer) error {
	return withLab(ctx, out, func(b *labBench) error {
		if r, err := b.Work.Run(ctx, "apply", "-auto-approve"); err != nil {
			return fmt.Errorf("%w\n%s", err, r.Stdout)
		}
		for _, node := range labNodes {
			if err := b.serveEdge(ctx, node); err != nil {
				return err
			}
		}
		return b.edges(ctx)
	})
}

func (b *labBench) edges(ctx context.Context) error {
	ways := []edgeWay{
		{"monitor every 60 s", `monitor = { interval = 60, timeout = 2, retries = 0 }`},
		{"monitor every 10 s", `monitor = { interval = 10, timeout = 2, retries = 0 }`},
		{
			"quick removal, monitor every 60 s", `monitor = { interval = 60, timeout = 2, retries = 0 }
  quick_removal     = { api_token = var.removal_token }
  application_check = { type = "http" }`,
		},
	}
	causes := []edgeCause{
		{
			"kill -9 of the application",
			func(ctx context.Context) error { return b.unit(ctx, "kill", "--signal=KILL", "www") },
			func(ctx context.Context) error { return b.serveEdge(ctx, edgeNode) },
		},
		{
			"power cut",
			func(ctx context.Context) error { return b.Kill(ctx, edgeNode) },
			func(ctx context.Context) error {
				return errors.Join(b.PowerOn(ctx, edgeNode), b.serveEdge(ctx, edgeNode))
			},
		},
		{
			"cut off from everything",
			func(ctx context.Context) error { return b.Cut(ctx, edgeNode, network.Everything, false) },
			b.HealAll,
		},
	}
	var rows [][]string
	for _, way := range ways {
		if err := b.describe(ctx, way, ""); err != nil {
			return err
		}
		for _, cause := range causes {
			r, out, err := b.suffer(ctx, cause)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", way.name, cause.name, err)
			}
			rows = append(rows, edgeRow(way.name, cause.name, r, out))
		}
	}
	drain := edgeCause{
		"planned: enabled = false, applied",
		func(ctx context.Context) error { return b.describe(ctx, ways[2], edgeNode+" = { enabled = false }") },
		func(ctx context.Context) error { return b.describe(ctx, ways[2], "") },
	}
	maintenance := edgeCause{
		"planned: atoll maintenance enter",
		func(ctx context.Context) error { return b.atoll(ctx, "maintenance", "enter", edgeNode) },
		func(ctx context.Context) error { return b.atoll(ctx, "maintenance", "leave", edgeNode) },
	}
	for _, cause := range []edgeCause{drain, maintenance} {
		r, out, err := b.suffer(ctx, cause)
		if err != nil {
			return fmt.Errorf("%s: %w", cause.name, err)
		}
		rows = append(rows, edgeRow(ways[2].name, cause.name, r, out))
	}
	fmt.Fprintf(b.out, "One of three nodes under %d requests a second at the edge by %d visitors with cookies; one that waits %s has failed. One run each:\n\n",
		edgeRate, edgeSessions, edgePatience)
	printTable(b.out, []string{
		"noticed by", "what happens to the node", "out of service at the vendor after", "requests after it", "failed", "none fails any more after",
		"the last that failed began after", "sessions that moved",
	}, rows)
	return nil
}

func edgeRow(way, cause string, r *load.Report, out time.Duration) []string {
	e := r.Events[0]
	removed, recovered, until := "-", "-", "-"
	if out > 0 {
		removed = seconds(out)
	}
	if e.Failed > 0 {
		recovered, until = seconds(e.Recovered), seconds(max(e.Until, 0))
	}
	return []string{way, cause, removed, fmt.Sprint(e.Requests), fmt.Sprint(e.Failed), recovered, until, fmt.Sprint(r.Moved)}
}

// watchEndpoint returns how long after now the node's endpoint is disabled at the vendor: a channel that gets it, or 0 when ctx ends
// before that.
func (b *labBench) watchEndpoint(ctx context.Context) <-chan time.Duration {
	out, from := make(chan time.Duration, 1), time.Now()
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, p := range b.Cloudflare().Account().Pools {
				for _, o := range p.Origins {
					if o.Name == edgeNode && !o.Enabled {
						out <- time.Since(from)
						return
					}
				}
			}
			select {
			case <-ctx.Done():
				out <- 0
				return
			case <-tick.C:
			}
		}
	}()
	return out
}

// describe applies the load balancer and waits until every node serves that is to.
func (b *labBench) describe(ctx context.Context, way edgeWay, settings string) error {
	if err := b.Work.Write("balancer.tf", fmt.Sprintf(edgeConfig, settings, way.config)); err != nil {
		return err
	}
	if r, err := b.Work.Run(ctx, "apply", "-auto-approve"); err != nil {
		return fmt.Errorf("%w\n%s", err, r.Stdout)
	}
	if settings != "" {
		return nil
	}
	return b.awaitServing(ctx)
}

// awaitServing waits until the edge finds every node well and has every endpoint enabled.
func (b *labBench) awaitServing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, edgeWait)
	defer cancel()
	for {
		var bad []string
		for _, h := range b.Describe().Edge.Hostnames { //nolint:contextcheck // the monitors outlive the question
			for _, e := range h.Endpoints {
				if e.Health != "healthy" || !e.Enabled {
					bad = append(bad, fmt.Sprintf("%s: %s, enabled=%t", e.Name, e.Health, e.Enabled))
				}
			}
		}
		if len(bad) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not every node serves: %s: %w", strings.Join(bad, "; "), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// awaitCalm waits until every node answers visitors, and none of them waits in vain.
func (b *labBench) awaitCalm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, edgeWait)
	defer cancel()
	for {
		if err := b.openEdge(ctx); err != nil {
			return err
		}
		r, err := load.Run(ctx, load.Plan{
			URL: lab.EdgeURL, Host: edgeHost, Rate: edgeRate, Duration: 2 * time.Second, Timeout: edgePatience, Dial: b.Network().OperatorNamespace().Connect,
		})
		switch {
		case err != nil:
			return err
		case r.Failed == 0 && len(r.Nodes) == len(labNodes) && r.Slowest < time.Second:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("not calm: %d failed (%v), answered by %v, slowest %v: %w", r.Failed, r.Failures, r.Nodes, r.Slowest, ctx.Err())
		}
	}
}

// suffer lets something happen to a node under load, until nothing has failed for a while, and ends it. It also returns how long after
// it the node was out of service at the vendor, 0 when it was not.
func (b *labBench) suffer(ctx context.Context, c edgeCause) (*load.Report, time.Duration, error) {
	if err := b.awaitCalm(ctx); err != nil {
		return nil, 0, err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	last := time.Now()
	done := make(chan *load.Report, 1)
	failed := make(chan error, 1)
	began := time.Now()
	go func() {
		r, err := load.Run(running, load.Plan{
			URL: lab.EdgeURL, Host: edgeHost, Rate: edgeRate, Sessions: edgeSessions, Timeout: edgePatience, Dial: b.Network().OperatorNamespace().Connect,
			Progress: func(s load.Second) {
				mu.Lock()
				defer mu.Unlock()
				if s.Failed > 0 {
					last = time.Now()
				}
			},
		})
		if err != nil {
			failed <- err
			return
		}
		done <- r
	}()
	pause := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := pause(edgeBefore); err != nil {
		return nil, 0, err
	}
	at := time.Since(began)
	disabled := b.watchEndpoint(running)
	if err := c.begin(ctx); err != nil {
		return nil, 0, err
	}
	mu.Lock()
	last = time.Now()
	mu.Unlock()
	for calm := time.Duration(0); calm < edgeCalm; {
		if err := pause(200 * time.Millisecond); err != nil {
			return nil, 0, err
		}
		mu.Lock()
		calm = time.Since(last)
		mu.Unlock()
	}
	stop()
	r := <-done
	r.Note(at, c.name)
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		return nil, 0, err
	}
	slog.Info("measured", "cause", c.name, "report", text.String())
	if err := c.end(ctx); err != nil {
		return nil, 0, err
	}
	return r, <-disabled, b.awaitServing(ctx)
}

// openEdge opens the application's port where the node image has a firewall, which a node that boots loads some time or other.
func (b *labBench) openEdge(ctx context.Context) error {
	const open = "! nft list table inet atoll_base >/dev/null 2>&1 || nft list chain inet atoll_base input | grep -q 'dport 8080' || " +
		"nft insert rule inet atoll_base input tcp dport 8080 accept"
	for _, node := range labNodes {
		if _, err := b.Exec(ctx, node, "sh", "-c", open); err != nil {
			return fmt.Errorf("open the application's port on %s: %w", node, err)
		}
	}
	return nil
}

// serveEdge runs the application on a node, which may be booting.
func (b *labBench) serveEdge(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, edgeWait)
	defer cancel()
	program := base64.StdEncoding.EncodeToString([]byte(edgeApplication))
	start := "echo " + program + " | base64 -d >/srv/www.pl && systemd-run --quiet --collect --unit=www perl /srv/www.pl"
	for {
		_, err := b.Exec(ctx, node, "sh", "-c", start)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start the application on %s: %w", node, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// unit does something to the application of the node that is measured.
func (b *labBench) unit(ctx context.Context, args ...string) error {
	_, err := b.Exec(ctx, edgeNode, slices.Concat([]string{"systemctl"}, args)...)
	return err
}

func (b *labBench) atoll(ctx context.Context, args ...string) error {
	_, err := b.Atoll(ctx, args...)
	return err
}
