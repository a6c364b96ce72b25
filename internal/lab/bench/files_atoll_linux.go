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
func (o filesOptions) measureAtoll(ctx context.Context, report *filesReport) error {
	return o.withAtoll(ctx, func(site *rig.Site) error { return o.measure(ctx, report, o.atollFiles(site)) })
}

// withAtoll brings the reference topology up, without a pair, for as long as something is done with it.
func (o filesOptions) withAtoll(ctx context.Context, do func(site *rig.Site) error) (err error) {
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
			Progress: func(doing string) { filesSay(ours, "%s", doing) },
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	site.Work.Env = append(site.Work.Env, "TF_VAR_mesh_driver="+o.mesh)
	if _, err := site.Work.Run(ctx, "apply", "-auto-approve"); err != nil {
		return err
	}
	return do(site)
}

// withoutPair takes the pair of a site away again.
func withoutPair(ctx context.Context, site *rig.Site) error {
	site.Work.Env = append(site.Work.Env, "TF_VAR_files={}")
	_, err := site.Work.Run(ctx, "apply", "-auto-approve")
	return err
}

// atollFiles is the pair of a site.
func (o filesOptions) atollFiles(site *rig.Site) *filesWay {
	pair := site.Pair("hk1", "sg1")
	w := &filesWay{
		name: ours, live: true, twoWay: true,
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
		note: "first synchronization from the beginning of terraform apply; a look at everything from a restart on the first machine until a change is on the second; over a mesh of " + o.mesh + ", which encrypts, and TLS in it, and a canary is sent all the time",
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
