//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// removedKey starts a copy of a node that was removed: first its mesh by itself, with the key that all others knew, then its agent.
// The node that is removed is the line's third.
func (m *meshOf) removedKey(l line) Drill {
	e := &echoes{line: l}
	gone := l.third
	unit := "atoll-tinc.service"
	if m.driver == spec.MeshWireGuard {
		unit = "atoll-wireguard.service"
	}
	var address string
	return Drill{
		Name: m.prefix + "removed-key", Cluster: m.Cluster, Traffic: e.begin,
		Proves: "a copy of a node that was removed gets into neither the mesh nor the cluster, says why, and disturbs nobody",
		Setup: func(ctx context.Context, f *Field) error {
			var err error
			if address, err = f.MeshAddress(ctx, gone); err != nil {
				return err
			}
			_, err = f.Exec(ctx, gone, "sh", "-c", "cd / && tar -cf /root/copy.tar --ignore-failed-read --warning=no-file-changed $(ls -d var/lib/atoll etc/atoll etc/tinc etc/systemd/system/atoll* usr/local/bin/atolld 2>/dev/null) || [ $? = 1 ]")
			return err
		},
		Inject: func(ctx context.Context, f *Field) error {
			f.Work.Env = append(f.Work.Env, "TF_VAR_machines="+machinesVariable([]lab.Machine{{Name: l.from, Site: network.SiteColo}}))
			if err := f.Apply(ctx); err != nil {
				return err
			}
			if err := without(ctx, f, gone); err != nil {
				return err
			}
			f.Injected = time.Now()
			_, err := f.Exec(ctx, gone, "sh", "-c", "systemctl stop atolld.service; tar -C / -xf /root/copy.tar && systemctl daemon-reload && systemctl start "+unit)
			return err
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := stranger(ctx, f, gone, l.from, l.to, address); err != nil {
				return err
			}
			if _, err := f.Exec(ctx, gone, "sh", "-c", "systemctl reset-failed atolld.service; systemctl start atolld.service"); err != nil {
				return err
			}
			err := f.Await(ctx, "the copy has learned that its node was removed, and waits", time.Minute, func(ctx context.Context) error {
				h, err := f.Health(ctx, gone)
				if err != nil {
					return err
				}
				if h.State != "waiting" {
					return fmt.Errorf("its health: %+v", h)
				}
				f.Note("%s says: %s, %s", gone, h.State, h.Waiting)
				return nil
			})
			if err != nil {
				return err
			}
			out, err := f.Exec(ctx, gone, "journalctl", "--unit=atolld.service", "--no-pager", "--output=cat", fmt.Sprintf("--since=@%d", f.Injected.Unix()))
			if err != nil {
				return err
			}
			said := regexp.MustCompile(`(?m)^.*removed.*$`).Find(out)
			if said == nil {
				return fmt.Errorf("the journal of %s does not say that it was removed: %s", gone, out)
			}
			f.Note("its journal: %s", said)
			return errors.Join(stranger(ctx, f, gone, l.from, l.to, address), without(ctx, f, gone))
		},
		Heal: func(ctx context.Context, f *Field) error {
			if n := len(f.Work.Env); n > 0 && strings.HasPrefix(f.Work.Env[n-1], "TF_VAR_machines=") {
				f.Work.Env = f.Work.Env[:n-1]
			}
			if _, err := f.Exec(ctx, gone, "sh", "-c", "rm -f /root/copy.tar; [ ! -x /usr/local/bin/atolld ] || /usr/local/bin/atolld uninstall --purge"); err != nil {
				return err
			}
			return f.Apply(ctx)
		},
		Verdict: func(_ context.Context, f *Field, _ Outcome) error {
			if n := e.missing(f.Injected); n > 1 {
				return fmt.Errorf("%d echoes between the other two were lost", n)
			}
			return nil
		},
	}
}

// without demands that a cluster is healthy and that a node is none of it.
func without(ctx context.Context, f *Field, gone string) error {
	return f.Await(ctx, "the cluster is healthy without "+gone, time.Minute, func(ctx context.Context) error {
		status, healthy, err := f.Status(ctx)
		if err != nil {
			return err
		}
		if _, there := status.Nodes[gone]; there || !healthy {
			return fmt.Errorf("healthy %t, nodes %v: %v", healthy, status.Nodes, status.Reasons)
		}
		return nil
	})
}

// strangerFor is how long a stranger to the mesh is watched: several times what its program takes to connect.
const strangerFor = 15 * time.Second

// stranger demands that for a while no packet passes over the mesh between a machine that is none of it and a node. Address is what the
// machine had there.
func stranger(ctx context.Context, f *Field, machine, node, other, address string) error {
	for from := time.Now(); time.Since(from) < strangerFor; {
		for _, n := range []string{node, other} {
			to, err := f.MeshAddress(ctx, n)
			if err != nil {
				return err
			}
			if _, err := f.Exec(ctx, machine, "ping", "-n", "-q", "-c", "1", "-W", "1", to); err == nil {
				return fmt.Errorf("%s reaches %s over the mesh, which it was removed from", machine, n)
			}
			if _, err := f.Exec(ctx, n, "ping", "-n", "-q", "-c", "1", "-W", "1", address); err == nil {
				return fmt.Errorf("%s reaches %s over the mesh, which it was removed from", n, machine)
			}
		}
	}
	return ctx.Err()
}
