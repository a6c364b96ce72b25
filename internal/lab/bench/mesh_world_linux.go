package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// meshHost is one of the three nodes.
type meshHost struct {
	name         string
	public, mesh netip.Addr
	space        network.Namespace
	run          func(ctx context.Context, argv ...string) (string, error)
	usage        func() (nodes.Usage, error)
}

// meshWorld is three nodes with a mesh, in a network of their own.
type meshWorld struct {
	hosts   [3]meshHost
	network *network.Network
	// pairs are the indices of hosts whose path is spoiled, in turns.
	pairs [][2]int
	// well returns why who watches the mesh does not call it well; nil where nobody watches.
	well func(ctx context.Context) error
	// from is when the mesh worked for the first time.
	from time.Time
	// open tells that no firewall is in the way between public addresses.
	open bool
	// deaths returns how often a node was called dead or unreachable since; nil where nobody is told.
	deaths func(ctx context.Context) (int, error)
	close  func() error
}

// meshWay is one way to make a mesh.
type meshWay struct {
	// name is what -only takes, title what the table says.
	name, title string
	// note is what else a reader has to know.
	note string
	make func(ctx context.Context, label string) (*meshWorld, error)
}

// oneMeshPair is for what holds nothing against a link: the third node is the one that has a part of its own, where there is one.
// allMeshPairs is for what does: a link that was left is left for longer the next time.
func oneMeshPair() [][2]int  { return [][2]int{{0, 2}} }
func allMeshPairs() [][2]int { return [][2]int{{0, 2}, {0, 1}, {1, 2}} }

// atollMesh is a cluster of three nodes under Atoll, made by an apply of the reference topology.
func (b *meshBench) atollMesh(driver spec.MeshDriver) func(context.Context, string) (*meshWorld, error) {
	return func(ctx context.Context, label string) (w *meshWorld, err error) {
		dir, err := os.MkdirTemp("", "atoll-bench-")
		if err != nil {
			return nil, err
		}
		site, err := rig.NewSite(ctx, b.programs, rig.SiteOptions{Engine: b.engine, Dir: dir, Lab: lab.Options{Name: label, Temporary: true}})
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		end := func() error { return errors.Join(site.Close(), os.RemoveAll(dir)) }
		defer func() {
			if err != nil {
				err = errors.Join(err, end())
			}
		}()
		site.Work.Env = append(site.Work.Env, "TF_VAR_mesh_driver="+string(driver))
		if _, err := site.Work.Run(ctx, "apply", "-auto-approve"); err != nil {
			return nil, err
		}
		w = &meshWorld{network: site.Network(), pairs: allMeshPairs(), close: end}
		for i, name := range labNodes {
			if w.hosts[i], err = siteHost(ctx, site, name); err != nil {
				return nil, err
			}
		}
		w.deaths = w.journalDeaths
		w.well = func(ctx context.Context) error {
			status, healthy, err := site.Status(ctx)
			if err == nil && !healthy {
				err = fmt.Errorf("atoll status: %s", strings.Join(status.Reasons, "; "))
			}
			return err
		}
		return w, nil
	}
}

func siteHost(ctx context.Context, site *rig.Site, name string) (meshHost, error) {
	machine, err := site.Node(name)
	if err != nil {
		return meshHost{}, err
	}
	h := meshHost{
		name: name,
		run: func(ctx context.Context, argv ...string) (string, error) {
			out, err := site.Exec(ctx, name, argv...)
			return string(out), err
		},
		usage: func() (nodes.Usage, error) {
			machine, err := site.Node(name)
			return nodes.Usage{MemoryBytes: machine.MemoryBytes, CPU: machine.CPU}, err
		},
	}
	if h.public, err = netip.ParseAddr(machine.IPv4); err != nil {
		return h, err
	}
	if h.space, err = site.Network().Namespace(name); err != nil {
		return h, err
	}
	address, err := site.MeshAddress(ctx, name)
	if err != nil {
		return h, err
	}
	h.mesh, err = netip.ParseAddr(address)
	return h, err
}

// bareMesh is three machines of the same root file system without Atoll, on which begin makes a mesh.
func bareMesh(begin func(ctx context.Context, w *meshWorld, machines []*bare.Machine) error) func(context.Context, string) (*meshWorld, error) {
	return func(ctx context.Context, label string) (w *meshWorld, err error) {
		l, err := bare.New(ctx, label, bare.Options{})
		if err != nil {
			return nil, err
		}
		end := func() error { return l.Close(context.WithoutCancel(ctx)) }
		defer func() {
			if err != nil {
				err = errors.Join(err, end())
			}
		}()
		w = &meshWorld{network: l.Network(), pairs: oneMeshPair(), open: true, close: end}
		machines := make([]*bare.Machine, len(w.hosts))
		for i, name := range labNodes {
			m, err := l.Add(ctx, name)
			if err != nil {
				return nil, err
			}
			machines[i] = m
			w.hosts[i] = meshHost{name: name, public: m.Address, mesh: netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}), run: m.Run, usage: m.Usage}
			if w.hosts[i].space, err = l.Network().Namespace(name); err != nil {
				return nil, err
			}
		}
		return w, begin(ctx, w, machines)
	}
}

// stockTinc is tinc as Debian has it: no setting but those without which there is no mesh. A script of the kind that tinc runs when
// a node becomes unreachable counts how often it calls one so.
func stockTinc(ctx context.Context, w *meshWorld, machines []*bare.Machine) error {
	const dir = "/etc/tinc/bench"
	keys := make([]string, len(machines))
	for i, m := range machines {
		h := w.hosts[i]
		var others strings.Builder
		for _, other := range w.hosts {
			if other.name != h.name {
				fmt.Fprintf(&others, "ConnectTo = %s\n", other.name)
			}
		}
		for name, text := range map[string]string{
			"tinc.conf":       fmt.Sprintf("Name = %s\n%s", h.name, &others),
			"tinc-up":         fmt.Sprintf("#!/bin/sh\nip address add %s/24 dev $INTERFACE\nip link set $INTERFACE up\n", h.mesh),
			"host-down":       "#!/bin/sh\necho $NODE >>/run/unreachable\n",
			"hosts/" + h.name: fmt.Sprintf("Address = %s\nSubnet = %s\n", h.public, h.mesh),
		} {
			if err := m.Write(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				return err
			}
		}
		if _, err := m.Run(ctx, "sh", "-ec", "tincd -n bench -K2048 </dev/null"); err != nil {
			return err
		}
		var err error
		if keys[i], err = m.Run(ctx, "cat", filepath.Join(dir, "hosts", h.name)); err != nil {
			return err
		}
	}
	for _, m := range machines {
		for i, h := range w.hosts {
			if err := m.Write(filepath.Join(dir, "hosts", h.name), []byte(keys[i]), 0o644); err != nil {
				return err
			}
		}
		if _, err := m.Run(ctx, "systemctl", "start", "tinc@bench.service"); err != nil {
			return err
		}
	}
	w.deaths = func(ctx context.Context) (int, error) {
		return w.countLines(ctx, "cat /run/unreachable 2>/dev/null || true")
	}
	return nil
}

// journalDeaths counts how often agents have taken another one for dead.
func (w *meshWorld) journalDeaths(ctx context.Context) (int, error) {
	return w.countLines(ctx, fmt.Sprintf(`journalctl --unit=atolld --output=cat --no-pager --since=@%d | grep 'gossip peer changed.*alive=false' || true`, w.from.Unix()))
}

// countLines runs a shell's command on every node, and counts the lines that it prints.
func (w *meshWorld) countLines(ctx context.Context, command string) (int, error) {
	lines := 0
	for _, h := range w.hosts {
		out, err := h.run(ctx, "sh", "-c", command)
		if err != nil {
			return 0, err
		}
		lines += strings.Count(out, "\n")
	}
	return lines, nil
}
