//go:build linux

package drills

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// The nodes of a mesh of which two are behind routers that translate: nobody can call those.
var (
	natPublic  = []string{"hk1", "hk2"}
	natHidden  = []string{"home1", "home2"}
	natWithin  = 10 * time.Second
	hiddenPair = line{"home1", "home2", "hk1"}
)

// firstBootFile is where an agent looks for what makes its machine a node.
const firstBootFile = "/etc/atoll/first-boot.json"

// natMesh is such a mesh by a driver.
func natMesh(driver spec.MeshDriver) *Cluster {
	machines := []lab.Machine{{Name: natPublic[0], Site: network.SiteColo}, {Name: natPublic[1], Site: network.SiteVPS}}
	c := &Cluster{
		Name:     fmt.Sprintf("a mesh of four nodes, two of them behind address translation (%s)", driver),
		Machines: machines,
		Env: []string{
			"TF_VAR_mesh_driver=" + string(driver), "TF_VAR_machines=" + machinesVariable(machines), "TF_VAR_linodes={}",
			`TF_VAR_seeded={ home1 = { provider = "isp", site = "home-1" }, home2 = { provider = "isp", site = "home-2" } }`,
		},
		Ready: natReady,
	}
	for _, name := range natHidden {
		c.Machines = append(c.Machines, lab.Machine{Name: name, Site: network.SiteVPS, Access: network.AccessTranslated})
	}
	c.Prepare = func(ctx context.Context, f *Field) error {
		for _, name := range natHidden {
			if err := firstBoot(ctx, f, name); err != nil {
				return err
			}
		}
		return f.Apply(ctx)
	}
	return c
}

// firstBoot puts the agent and its first-boot data on a machine, as remote hands do: nobody can log in there.
func firstBoot(ctx context.Context, f *Field, node string) error {
	seed := f.Work.Path(node + ".first-boot.json")
	host, err := f.Node(natPublic[0])
	if err != nil {
		return err
	}
	_, err = f.Atoll(ctx, "seed", "--cluster", edgeClusterName, "--node", node, "--seed", host.IPv4+":7443", "--format", "json", "--out", seed)
	if err != nil {
		return err
	}
	for path, file := range map[string]string{"/usr/local/bin/atolld": f.Programs.Path("atolld"), firstBootFile: seed} {
		if err := bring(ctx, f, node, file, path); err != nil {
			return err
		}
	}
	_, err = f.Exec(ctx, node, "/usr/local/bin/atolld", "install", "--start")
	return errors.Join(err, os.Remove(seed))
}

// bring copies a file onto a machine.
func bring(ctx context.Context, f *Field, node, from, to string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	cmd, err := f.Command(ctx, node, "sh", "-c", `umask 077; mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"`, "sh", to, map[bool]string{true: "755", false: "600"}[filepath.Dir(to) == "/usr/local/bin"])
	if err != nil {
		return err
	}
	cmd.Stdin = file
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("write %s on %s: %w: %s", to, node, err, out)
	}
	return nil
}

// natReady demands that all is well, and that nobody says otherwise of what address translation does by nature.
func natReady(ctx context.Context, f *Field) error {
	status, healthy, err := f.Status(ctx)
	if err != nil {
		return err
	}
	if !healthy || len(status.Warnings) > 0 {
		return fmt.Errorf("atoll status: %s", strings.Join(slices.Concat(status.Reasons, status.Warnings), "; "))
	}
	return f.PingAll(ctx, slices.Concat(natHidden, natPublic)...)
}

// meshBehindNAT is what happens to nodes behind address translation.
func meshBehindNAT() []Drill {
	var list []Drill
	for _, m := range []struct {
		driver spec.MeshDriver
		prefix string
	}{{spec.MeshTinc, "mesh/behind-nat-"}, {spec.MeshWireGuard, "mesh/behind-nat-wireguard-"}} {
		c := natMesh(m.driver)
		list = append(list, natForgotten(c, m.prefix), natDetour(c, m.prefix), natApply(c, m.prefix))
	}
	return list
}

// natForgotten makes the routers forget what they translate.
func natForgotten(c *Cluster, prefix string) Drill {
	e := &echoes{line: hiddenPair}
	return Drill{
		Name: prefix + "forgotten", Cluster: c, Traffic: e.begin,
		Proves: fmt.Sprintf("nodes behind two routers that translate reach all others and each other, by a third one, and again within %s when the routers have forgotten everything", natWithin),
		Inject: func(_ context.Context, f *Field) error {
			var errs []error
			for _, name := range natHidden {
				errs = append(errs, f.Network().ForgetTranslations(name)) //nolint:contextcheck // a netlink message
			}
			return errors.Join(errs...)
		},
		Settle: func(ctx context.Context, f *Field) error {
			return f.Await(ctx, "all reach each other", time.Minute, func(ctx context.Context) error { return natReady(ctx, f) })
		},
		Verdict: func(_ context.Context, _ *Field, o Outcome) error { return outageWithin(o, natWithin) },
	}
}

// natDetour takes the node by which the two reach each other.
func natDetour(c *Cluster, prefix string) Drill {
	e := &echoes{line: hiddenPair}
	dead := ""
	return Drill{
		Name: prefix + "third-dies", Cluster: c, Traffic: e.begin,
		Proves: fmt.Sprintf("when the node dies by which two that nobody can call reach each other, they do so by the other one within %s", natWithin),
		Inject: func(ctx context.Context, f *Field) error {
			status, _, err := f.Status(ctx)
			if err != nil {
				return err
			}
			_, there, back := hiddenPair.view(status)
			if dead = cmp.Or(there.Via, back.Via); !slices.Contains(natPublic, dead) {
				return fmt.Errorf("the two reach each other by %q and %q", there.Via, back.Via)
			}
			f.Injected = time.Now()
			return f.Kill(ctx, dead)
		},
		Settle: func(ctx context.Context, f *Field) error {
			rest := slices.DeleteFunc(slices.Concat(natHidden, natPublic), func(name string) bool { return name == dead })
			return f.Await(ctx, "all who live reach each other", time.Minute, func(ctx context.Context) error { return f.PingAll(ctx, rest...) })
		},
		Heal: func(ctx context.Context, f *Field) error {
			if dead == "" {
				return nil
			}
			return f.PowerOn(ctx, dead)
		},
		Verdict: func(_ context.Context, _ *Field, o Outcome) error { return outageWithin(o, natWithin) },
	}
}

// natApply changes nodes that Terraform cannot call.
func natApply(c *Cluster, prefix string) Drill {
	e := &echoes{line: hiddenPair}
	const filter = "TF_VAR_host_firewall={}"
	return Drill{
		Name: prefix + "apply", Cluster: c, Traffic: e.begin,
		Proves: "Terraform changes nodes that it cannot call by way of the others: all get a packet filter of their own, and the next plan is empty",
		Inject: func(ctx context.Context, f *Field) error {
			f.Work.Env = append(f.Work.Env, filter)
			return f.Apply(ctx)
		},
		Settle: func(ctx context.Context, f *Field) error {
			if _, err := f.Work.Run(ctx, "plan", "-detailed-exitcode"); err != nil {
				return fmt.Errorf("the plan after the apply is not empty: %w", err)
			}
			for _, name := range natHidden {
				if _, err := f.Exec(ctx, name, "nft", "list", "table", "inet", "atoll"); err != nil {
					return fmt.Errorf("%s has no filter: %w", name, err)
				}
			}
			return f.Await(ctx, "all is well", time.Minute, func(ctx context.Context) error { return natReady(ctx, f) })
		},
		Heal: func(ctx context.Context, f *Field) error {
			f.Work.Env = append(f.Work.Env, "TF_VAR_host_firewall=null")
			return f.Apply(ctx)
		},
	}
}
