package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// measureAtoll measures a pair of the reference topology, which is there without it before.
func (o filesOptions) measureAtoll(ctx context.Context, report *filesReport) (err error) {
	dir, err := os.MkdirTemp("", "atoll-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs, err := rig.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	engine, err := engine(ctx, programs)
	if err != nil {
		return err
	}
	site, err := rig.NewSite(ctx, programs, rig.SiteOptions{
		Engine: engine, Dir: dir,
		Lab: lab.Options{
			Name: fmt.Sprintf("bench-%d", os.Getpid()), Temporary: true,
			Progress: func(doing string) { filesSay("atoll", "%s", doing) },
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	if _, err := site.Work.Run(ctx, "apply", "-auto-approve"); err != nil {
		return err
	}
	return o.measure(ctx, report, atollFiles(site))
}

// atollFiles is the pair of a site.
func atollFiles(site *rig.Site) *filesWay {
	pair := site.Pair("hk1", "sg1")
	w := &filesWay{
		name: "atoll", live: true, twoWay: true,
		begin: func(ctx context.Context) error {
			site.Work.Env = append(site.Work.Env, rig.WithPair(pair.Nodes[0], pair.Nodes[1]))
			_, err := site.Work.Run(ctx, "apply", "-auto-approve")
			return err
		},
		again: func(ctx context.Context) error {
			_, err := site.Exec(ctx, pair.Nodes[0], "systemctl", "restart", pair.Unit())
			return err
		},
		ready: func(ctx context.Context) error {
			_, err := await.Attempt(ctx, time.Minute, func(ctx context.Context) error { return healthyWith(ctx, site, pair) })
			return err
		},
		note: "first synchronization from the beginning of terraform apply; a look at everything from a restart on the first machine until a change is on the second; its mesh encrypts, and a canary is sent all the time",
	}
	for i, n := range pair.Nodes {
		w.hosts[i] = filesHost{
			name: n,
			run: func(ctx context.Context, argv ...string) (string, error) {
				out, err := site.Exec(ctx, n, argv...)
				return string(out), err
			},
			pid: func() (int, error) {
				machine, err := site.Node(n)
				return machine.PID, err
			},
			usage: func() (nodes.Usage, error) {
				machine, err := site.Node(n)
				return nodes.Usage{MemoryBytes: machine.MemoryBytes, CPU: machine.CPU}, err
			},
		}
	}
	return w
}

// healthyWith returns an error unless the cluster and its pair are well.
func healthyWith(ctx context.Context, site *rig.Site, pair *rig.Pair) error {
	if err := pair.Synced(ctx); err != nil {
		return err
	}
	status, healthy, err := site.Status(ctx)
	if err == nil && !healthy {
		err = fmt.Errorf("atoll status: %s", strings.Join(status.Reasons, "; "))
	}
	return err
}
