package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

const (
	// meshReady is how long a mesh may take until all traffic goes the direct way: one that holds a bad link against it takes minutes.
	meshReady = 5 * time.Minute
	// meshLead is how long traffic flows before its path is spoiled, meshGone how long answers are waited for after a cut at most, and
	// meshCalm how long they must have come again.
	meshLead = 2 * time.Second
	meshGone = 2 * time.Minute
	meshCalm = 3 * time.Second
	// meshLossFor is how long a path loses packets.
	meshLossFor = time.Minute
	// meshIdle is how long it is watched what a mesh sends by itself.
	meshIdle = 30 * time.Second
	// meshWarm is how long a mesh has been well before it is measured for the first time: agents decide nothing in their first seconds.
	meshWarm = 10 * time.Second
)

// meshLoss is what came of a flow in the minute after its path began to lose packets.
type meshLoss struct {
	Path string `json:"path"`
	// OneWay is the share that arrived in each direction, Echoes that of both ends' packets whose answer came.
	OneWay [2]float64 `json:"one_way"`
	Echoes float64    `json:"echoes"`
	// Within is how many seconds it took until more than 99 % of each second's echoes were answered, for good; 60 for never.
	Within int `json:"better_than_99_percent_within"`
}

// meshGap is the longest time without an answer, at the end that waited longer, when the path was cut.
type meshGap struct {
	Path    string  `json:"path"`
	Seconds float64 `json:"seconds"`
}

// settle waits until packets between all hosts go the direct way, and whoever watches the mesh calls it well.
func (w *meshWorld) settle(ctx context.Context) error {
	_, err := await.Attempt(ctx, meshReady, func(ctx context.Context) error {
		if w.well != nil {
			if err := w.well(ctx); err != nil {
				return errors.Join(err, pauseFor(ctx, time.Second))
			}
		}
		for _, p := range allMeshPairs() {
			if err := w.direct(ctx, p); err != nil {
				// Looking for it all the time would be traffic of its own.
				return errors.Join(err, pauseFor(ctx, time.Second))
			}
		}
		return nil
	})
	return err
}

// direct returns an error unless the packets of two hosts arrive, and not by way of the third, who would get a good deal more than he
// gets anyway. Whatever makes the mesh, that shows.
func (w *meshWorld) direct(ctx context.Context, pair [2]int) error {
	third := w.hosts[3-pair[0]-pair[1]]
	const burst, size = 40, 1000
	for _, ends := range [][2]int{pair, {pair[1], pair[0]}} {
		a, b := w.hosts[ends[0]], w.hosts[ends[1]]
		before, _, err := meshCounters(ctx, third)
		if err != nil {
			return err
		}
		arrived, err := meshVolley(ctx, a, b, burst, size)
		if err != nil {
			return err
		}
		after, _, err := meshCounters(ctx, third)
		if err != nil {
			return err
		}
		if arrived < burst {
			return fmt.Errorf("%d of %d packets of %s arrive at %s", arrived, burst, a.name, b.name)
		}
		if after-before > burst*size/2 {
			return fmt.Errorf("packets of %s go to %s by way of %s", a.name, b.name, third.name)
		}
	}
	return nil
}

// meshVolley sends some packets in a fifth of a second and returns how many arrive soon.
func meshVolley(ctx context.Context, a, b meshHost, count, size int) (int, error) {
	var ends [2]*net.UDPConn
	for i, h := range []meshHost{a, b} {
		if err := h.space.Do(func() (err error) {
			ends[i], err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.mesh, meshPort+10)))
			return err
		}); err != nil {
			return 0, fmt.Errorf("traffic of %s: %w", h.name, err)
		}
		defer func() { _ = ends[i].Close() }()
	}
	for range count {
		_, _ = ends[0].WriteToUDPAddrPort(make([]byte, size), netip.AddrPortFrom(b.mesh, meshPort+10))
		if err := pauseFor(ctx, 5*time.Millisecond); err != nil {
			return 0, err
		}
	}
	if err := ends[1].SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return 0, err
	}
	arrived := 0
	for buffer := make([]byte, 2*size); arrived < count; arrived++ {
		if _, _, err := ends[1].ReadFromUDPAddrPort(buffer); err != nil {
			break
		}
	}
	return arrived, nil
}

func (w *meshWorld) path(pair [2]int) string {
	return w.hosts[pair[0]].name + "–" + w.hosts[pair[1]].name
}

// lossRun makes the path between two hosts lose packets for a minute, and mends it.
func (w *meshWorld) lossRun(ctx context.Context, pair [2]int, percent int) (r meshLoss, err error) {
	f, end, err := w.flow(ctx, pair)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := w.network.Impair(ctx, w.hosts[pair[0]].name, w.hosts[pair[1]].name, percent, false); err != nil {
		return r, err
	}
	from := time.Now()
	if err := pauseFor(ctx, meshLossFor+meshAnswer); err != nil {
		return r, err
	}
	oneWay, echoes := f.shares(from, from.Add(meshLossFor))
	r = meshLoss{Path: w.path(pair), OneWay: [2]float64{oneWay[0].value(), oneWay[1].value()}, Echoes: echoes.value()}
	for second := range int(meshLossFor / time.Second) {
		at := from.Add(time.Duration(second) * time.Second)
		if _, echoes := f.shares(at, at.Add(time.Second)); echoes.value() < 0.99 {
			r.Within = second + 1
		}
	}
	return r, nil
}

// gapRun cuts the path between two hosts, waits until answers come again, and mends it.
func (w *meshWorld) gapRun(ctx context.Context, pair [2]int) (r meshGap, err error) {
	f, end, err := w.flow(ctx, pair)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := w.network.Impair(ctx, w.hosts[pair[0]].name, w.hosts[pair[1]].name, 100, false); err != nil {
		return r, err
	}
	cut := time.Now()
	for {
		if err := pauseFor(ctx, 100*time.Millisecond); err != nil {
			return r, err
		}
		longest, quiet := f.gap(cut.Add(-2 * meshEvery))
		r = meshGap{Path: w.path(pair), Seconds: longest.Seconds()}
		calm := time.Since(cut) > meshCalm+longest
		for end := range quiet {
			_, echoes := f.shares(time.Now().Add(-meshCalm-meshAnswer/4), time.Now().Add(-meshAnswer/4))
			calm = calm && quiet[end] < 5*meshEvery && echoes.value() > 0.97
		}
		if calm || time.Since(cut) > meshGone {
			return r, nil
		}
	}
}

// flow starts traffic between two hosts, on a path that is well. What it returns ends the traffic and mends the path.
func (w *meshWorld) flow(ctx context.Context, pair [2]int) (*meshFlow, func() error, error) {
	// The others as well: they are the way round it.
	if err := w.settle(ctx); err != nil {
		return nil, nil, err
	}
	f, err := startMeshFlow(ctx, w.hosts[pair[0]], w.hosts[pair[1]])
	if err != nil {
		return nil, nil, err
	}
	if err := pauseFor(ctx, meshLead); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, func() error { return errors.Join(f.Close(), w.network.HealAll(context.WithoutCancel(ctx))) }, nil
}

// idle returns how many bytes a node sends each second while there is no traffic, on average.
func (w *meshWorld) idle(ctx context.Context) (float64, error) {
	sum := func() (total int64, err error) {
		for _, h := range w.hosts {
			_, sent, err := meshCounters(ctx, h)
			if err != nil {
				return 0, err
			}
			total += sent
		}
		return total, nil
	}
	before, err := sum()
	if err != nil {
		return 0, err
	}
	from := time.Now()
	if err := pauseFor(ctx, meshIdle); err != nil {
		return 0, err
	}
	after, err := sum()
	return float64(after-before) / float64(len(w.hosts)) / time.Since(from).Seconds(), err
}
