//go:build linux

package drills

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// line is between which two nodes something happens, and which third one reaches both. Drills take turns with the pairs: what is held
// against a link in one drill would count in the next.
type line struct{ from, to, third string }

// The lines of a mesh of three nodes.
var (
	lineAC = line{"hk1", "sg1", "hk2"}
	lineBC = line{"hk2", "sg1", "hk1"}
	lineAB = line{"hk1", "hk2", "sg1"}
)

// meshOf is a mesh of three nodes by one driver, and what it promises.
type meshOf struct {
	*Cluster
	driver spec.MeshDriver
	// prefix begins the names of its drills.
	prefix string
	// reroute is how long after a cut an echo may be lost.
	reroute time.Duration
}

func newMesh(driver spec.MeshDriver, prefix string, reroute time.Duration) *meshOf {
	return &meshOf{
		driver: driver, prefix: prefix, reroute: reroute,
		Cluster: &Cluster{
			Name: fmt.Sprintf("a mesh of three nodes (%s)", driver), Env: []string{"TF_VAR_mesh_driver=" + string(driver)},
			Prepare: func(ctx context.Context, f *Field) error { return f.Apply(ctx) },
			Ready:   meshReady,
		},
	}
}

// meshDrills are what may happen to the links of a mesh, with each driver.
func meshDrills() []Drill {
	var list []Drill
	for _, m := range []*meshOf{newMesh(spec.MeshTinc, "mesh/", 2*time.Second), newMesh(spec.MeshWireGuard, "mesh/wireguard-", 1500*time.Millisecond)} {
		list = append(
			list,
			m.cut(lineAC), m.oneWay(lineBC), m.lossy(lineAB, 20), m.lossy(lineAC, 40), m.comesAndGoes(lineBC), m.noUDP(lineAB), m.small(lineAC),
			m.ownFirewall(lineBC), m.ownFirewallOut(lineAC), m.detourDies(lineBC), m.trap(lineAB), m.removedKey(lineAC), m.rotateKeys(lineAC),
		)
	}
	return list
}

// meshReady demands that every pair has its direct link, measured to be well, and that no node leaves one alone.
func meshReady(ctx context.Context, f *Field) error {
	status, _, err := f.Status(ctx)
	if err != nil {
		return err
	}
	if len(status.Reasons) > 0 {
		return fmt.Errorf("not healthy: %v", status.Reasons)
	}
	if len(status.Links) != 3 {
		return fmt.Errorf("%d links", len(status.Links))
	}
	for name, link := range status.Links {
		if link.There.State != api.UpDirect || link.Back.State != api.UpDirect || len(link.Reports) != 2 {
			return fmt.Errorf("link %s is not direct or not measured: %s", name, described(link))
		}
		for _, r := range link.Reports {
			if r.Condition != spec.LinkDirect || r.Steering != nil && r.Steering.Away {
				return fmt.Errorf("link %s: %s", name, described(link))
			}
		}
	}
	return f.PingAll(ctx, slices.Sorted(maps.Keys(status.Nodes))...)
}

// described is what both ends say of a link, for a complaint.
func described(link api.LinkView) string {
	text, err := json.Marshal(link)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// view is what status says of the link between two nodes: the direction from the first to the second comes first.
func (l line) view(status api.ClusterStatus) (v api.LinkView, there, back api.Direction) {
	v = status.Links[spec.LinkName(l.from, l.to)]
	if v.From == l.from {
		return v, v.There, v.Back
	}
	return v, v.Back, v.There
}

// reported waits until one end of a link says that it is in a condition, for a cause unless that is empty, and in words that are
// asked for. Status must not contradict itself: where a direction is said not to work, its figures say so as well.
func (l line) reported(ctx context.Context, f *Field, condition spec.LinkCondition, cause spec.LinkCause, words ...string) error {
	what := fmt.Sprintf("the link between %s and %s is called %s", l.from, l.to, condition)
	return f.Measure(ctx, what, 2*time.Minute, func(ctx context.Context) error {
		status, _, err := f.Status(ctx)
		if err != nil {
			return err
		}
		link, there, back := l.view(status)
		for _, r := range link.Reports {
			if r.Condition != condition || cause != "" && r.Cause != cause || !containsAll(r.Message, words) {
				continue
			}
			silent := func(d api.Direction) bool { return d.Measured != nil && d.Measured.Silent }
			switch {
			case condition == spec.LinkOneWay && silent(there) == silent(back), condition == spec.LinkCut && (!silent(there) || !silent(back)):
				return fmt.Errorf("%s calls it %s, and status measures something else: %s", r.Node, condition, described(link))
			}
			f.Note("%s says: %s", r.Node, r.Message)
			return nil
		}
		return fmt.Errorf("it is said of it: %s", described(link))
	})
}

func containsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// wayWatch counts how often the way by which one node reaches another changes.
type wayWatch struct {
	line
	last    string
	changes int
}

// during watches for some time.
func (w *wayWatch) during(ctx context.Context, f *Field, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if report, err := f.Report(ctx, edgeClusterName, w.from); err == nil {
			if way := fmt.Sprint(report.Peers[w.to].Direct, report.Peers[w.to].NextHop); way != w.last {
				if w.last != "" {
					w.changes++
				}
				w.last = way
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// aMinute waits until the minute after the fault is over, of which echoes are counted.
func aMinute(ctx context.Context, f *Field) { pause(ctx, time.Until(f.Injected.Add(62*time.Second))) }
