package tinc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// maxLog is how long tincd's log may grow before it is emptied, in bytes.
const maxLog = 256 << 10

// Status implements mesh.Driver. A peer that tincd has a connection to is on the direct path. For any other it is found
// out where an echo goes.
func (d *Driver) Status(ctx context.Context) (mesh.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := mesh.Status{Interface: interfaceName, Peers: map[string]mesh.PeerStatus{}}
	var peers []topology.Peer
	if d.view != nil {
		peers = d.view.Peers
	}
	for _, p := range peers {
		st.Peers[p.Name] = mesh.PeerStatus{}
	}
	unit, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		return st, fmt.Errorf("look at the mesh: %w", err)
	}
	link, err := d.device(ctx)
	if err != nil {
		return st, fmt.Errorf("look at the mesh: %w", err)
	}
	if st.Running = unit.Active && link.Exists && link.Up; !st.Running {
		return st, nil
	}
	if err := d.followLog(ctx); err != nil {
		return st, fmt.Errorf("look at the mesh: %w", err)
	}
	var wait sync.WaitGroup
	found := make([]mesh.PeerStatus, len(peers))
	for i, p := range peers {
		if d.up(p) {
			found[i] = mesh.PeerStatus{Reachable: true, Direct: true}
			continue
		}
		before := d.detours[p.Name]
		wait.Go(func() { found[i] = d.trace(ctx, peers, p, before) })
	}
	wait.Wait()
	for i, p := range peers {
		st.Peers[p.Name] = found[i]
		d.detours[p.Name] = found[i].NextHop
		if found[i].Direct && !d.up(p) {
			d.connected.add(nameOf(p.Name, p.KeyNumber), traced)
		}
	}
	return st, nil
}

// followLog brings d.connected up to date and passes tincd's messages on. It empties a long log: tincd appends, so nothing
// is lost but what comes between the two steps, and a connection missed that way is traced.
func (d *Driver) followLog(ctx context.Context) error {
	log, err := d.sys.ReadFile(logPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read tincd's log: %w", err)
	}
	if len(log) < d.logRead {
		d.logRead = 0
	}
	lines, size := messages(string(log[d.logRead:]))
	for _, line := range lines {
		d.connected.follow(line)
		d.log.Debug("tincd", "message", line)
	}
	d.logRead += size
	if len(log) <= maxLog {
		return nil
	}
	d.logRead = 0
	return d.run(ctx, host.Command{Name: "sh", Args: []string{"-c", `echo "$1" >"$0"`, logPath, emptiedMessage}})
}

var hopLine = regexp.MustCompile(`(?m)^From (\S+) .*(?i:time to live exceeded)`)

// trace finds out how a packet reaches a peer. DecrementTTL makes every node that forwards a packet count as a hop, so an
// echo that may not take a hop arrives on the direct path alone, and otherwise the first node on the way says so. Nodes
// say so three times a second at most: when nobody does, an ordinary echo decides, and the way is as it was before.
func (d *Driver) trace(ctx context.Context, peers []topology.Peer, p topology.Peer, before string) mesh.PeerStatus {
	var atAll bool
	var wait sync.WaitGroup
	wait.Go(func() { _, atAll = d.echo(ctx, p.MeshAddress) })
	said, direct := d.echo(ctx, p.MeshAddress, "-t", "1")
	wait.Wait()
	if direct {
		return mesh.PeerStatus{Reachable: true, Direct: true}
	}
	if !atAll {
		return mesh.PeerStatus{}
	}
	if m := hopLine.FindStringSubmatch(said); m != nil {
		for _, via := range peers {
			if via.MeshAddress.String() == m[1] {
				before = via.Name
			}
		}
	}
	return mesh.PeerStatus{Reachable: true, NextHop: before}
}

func (d *Driver) echo(ctx context.Context, to netip.Addr, options ...string) (said string, arrived bool) {
	out, err := d.sys.Run(ctx, host.Command{
		Name:     "ping",
		Args:     append(options, "-n", "-c", "1", "-W", "1", to.String()),
		ReadOnly: true,
	})
	return string(out.Stdout), err == nil
}
