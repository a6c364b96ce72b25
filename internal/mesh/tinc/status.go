package tinc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
)

const (
	// maxLog is how long tincd's log may grow before it is emptied, in bytes.
	maxLog = 256 << 10
	// answerTimeout bounds the wait for tincd's answer to a question.
	answerTimeout = 2 * time.Second
	// How old an answer may be while every peer is on its direct path, and while one is not: a change elsewhere in the
	// mesh then moves the detour without a word in our log.
	maxAge         = time.Minute
	maxAgeDegraded = 5 * time.Second
)

// observation is what tincd last said of itself.
type observation struct {
	pid    int
	at     time.Time
	dump   dump
	events int // how many events its log had
	read   int // how far its log has been reported
}

// Status implements mesh.Driver. tinc 1.0 answers questions in a signal handler that is not safe at every moment, so it is
// asked only when its log says that a connection came or went, and otherwise once a minute.
func (d *Driver) Status(ctx context.Context) (mesh.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := mesh.Status{Interface: interfaceName, Peers: map[string]mesh.PeerStatus{}}
	if d.view != nil {
		for _, p := range d.view.Peers {
			st.Peers[p.Name] = mesh.PeerStatus{}
		}
	}
	unit, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		return st, fmt.Errorf("look at the mesh: %w", err)
	}
	link, err := d.interfaceState(ctx)
	if err != nil {
		return st, fmt.Errorf("look at the mesh: %w", err)
	}
	if st.Running = unit.Active && link.exists && link.up; !st.Running {
		d.seen = observation{}
		return st, nil
	}
	if err := d.observe(ctx, unit.MainPID); err != nil {
		return st, fmt.Errorf("look at the mesh: %w", err)
	}
	self := d.selfName()
	for name, n := range d.seen.dump.nodes {
		peer := nodeName(name)
		if _, known := st.Peers[peer]; name == self || (d.view != nil && !known) {
			continue
		}
		st.Peers[peer] = peerStatus(name, n)
	}
	return st, nil
}

func (d *Driver) selfName() string {
	if d.view != nil {
		return tincName(d.view.Self.Name)
	}
	return ""
}

func peerStatus(name string, n dumpNode) mesh.PeerStatus {
	switch {
	case !n.reachable:
		return mesh.PeerStatus{}
	case n.nextHop == name:
		return mesh.PeerStatus{Reachable: true, Direct: true}
	default:
		return mesh.PeerStatus{Reachable: true, NextHop: nodeName(n.nextHop)}
	}
}

// observe brings d.seen up to date and passes tincd's log on.
func (d *Driver) observe(ctx context.Context, pid int) error {
	log, err := d.readLog(ctx)
	if err != nil {
		return err
	}
	events, _ := splitLog(log)
	d.report(events)
	limit := maxAge
	for name, n := range d.seen.dump.nodes {
		if name != d.selfName() && (!n.reachable || n.nextHop != name) {
			limit = maxAgeDegraded
		}
	}
	if d.seen.pid == pid && d.seen.events == len(events) && time.Since(d.seen.at) < limit {
		return nil
	}
	at := time.Now()
	now, err := d.ask(ctx)
	if err != nil {
		return err
	}
	d.seen.pid, d.seen.at, d.seen.dump, d.seen.events = pid, at, now, len(events)
	return nil
}

// report passes on what tincd has logged since the last time.
func (d *Driver) report(events []string) {
	if d.seen.read > len(events) {
		d.seen.read = 0
	}
	for _, e := range events[d.seen.read:] {
		d.log.Debug("tincd", "message", e)
	}
	d.seen.read = len(events)
}

// readLog returns tincd's log and empties the file when it is long. tincd appends to it, so nothing is lost but what comes
// between the two steps, and that only delays an answer.
func (d *Driver) readLog(ctx context.Context) (string, error) {
	log, err := d.sys.ReadFile(logPath)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read tincd's log: %w", err)
	}
	if len(log) <= maxLog {
		return string(log), nil
	}
	err = d.run(ctx, host.Command{Name: "truncate", Args: []string{"--no-create", "--size=0", logPath}})
	d.seen.events, d.seen.read = -1, 0
	return "", err
}

// ask makes tincd tell its nodes, edges and subnets.
func (d *Driver) ask(ctx context.Context) (dump, error) {
	before, err := d.readLog(ctx)
	if err != nil {
		return dump{}, err
	}
	if err := d.sys.Units().Signal(ctx, unitName, "USR2"); err != nil {
		return dump{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		log, err := d.sys.ReadFile(logPath)
		if err == nil {
			start := len(before)
			if len(log) < start {
				start = 0 // tincd was started again meanwhile
			}
			answer, complete, err := lastDump(string(log[start:]))
			if err != nil || complete {
				return answer, err
			}
		}
		select {
		case <-ctx.Done():
			return dump{}, fmt.Errorf("wait for tincd's answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
