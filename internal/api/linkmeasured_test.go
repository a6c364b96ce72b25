package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestMeasuredLinks has the trap of a firewall that lets one node in as an answer only, and a link that loses packets and is left alone.
func TestMeasuredLinks(t *testing.T) {
	s := three()
	status := func(node string, links map[string]spec.LinkStatus) {
		one := s.Statuses[node]
		one.Links = links
		s.Statuses[node] = one
	}
	hour := noon().Add(-time.Hour)
	good := &spec.LinkDirection{MTU: 1500}
	status("a", map[string]spec.LinkStatus{
		"b": {Condition: spec.LinkOneWay, Cause: spec.CauseFilteredPort, Since: hour, Message: "packets of a do not arrive at UDP port 655 of b", In: good, Out: &spec.LinkDirection{Silent: true, Loss: 1}, RTT: 12},
		"c": {Condition: spec.LinkLossy, Since: hour, Message: "a -> c loses 20 %", In: good, Out: &spec.LinkDirection{Loss: 0.2}, RTT: 20, Steering: &spec.LinkSteering{Away: true, Via: "b", Why: "lossy", Since: hour, Hold: 30}},
	})
	status("b", map[string]spec.LinkStatus{"a": {Condition: spec.LinkOneWay, Since: hour, Message: "the same from the other end", In: &spec.LinkDirection{Silent: true, Loss: 1}}})
	peer(s, "a", "c", func(p *spec.PeerStatus) { p.Direct, p.NextHop = false, "b" })
	got := api.StatusOf("a", s, noon())
	ab, ac := got.Links["a.b"], got.Links["a.c"]
	if diff := cmp.Diff(&api.Measured{Silent: true, Loss: 1, RTT: 12}, ab.There.Measured); diff != "" {
		t.Errorf("a -> b (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&api.Measured{MTU: 1500, RTT: 0}, ab.Back.Measured); diff != "" {
		t.Errorf("b -> a (-want +got):\n%s", diff)
	}
	if got.Links["b.c"].There.Measured != nil || len(got.Links["b.c"].Reports) != 0 {
		t.Errorf("a link that nobody measures: %+v", got.Links["b.c"])
	}
	if r, left := ac.Left(); !left || r.Node != "a" || r.Steering.Via != "b" {
		t.Errorf("the link that is left alone: %+v, %t", r, left)
	}
	if !got.Healthy {
		t.Errorf("a cluster whose mesh carries everything is not healthy: %q", got.Reasons)
	}
	for _, part := range []string{"link a <-> b is one-way", "link a <-> c is left alone by a", "a -> c loses 20 %"} {
		n := 0
		for _, w := range got.Warnings {
			if strings.Contains(w, part) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d warnings say %q: %q", n, part, got.Warnings)
		}
	}
	if text := strings.Join(got.Warnings, "; "); !strings.Contains(text, "when it is well;") {
		t.Errorf("a hold that is over is told: %q", text)
	}
	held := *s.Statuses["a"].Links["c"].Steering
	held.Since, held.Hold = noon().Add(-time.Minute), 300
	link := s.Statuses["a"].Links["c"]
	link.Steering = &held
	s.Statuses["a"].Links["c"] = link
	if text := strings.Join(api.StatusOf("a", s, noon()).Warnings, "; "); !strings.Contains(text, "when it is well, not before 2026-03-01T12:04:00Z") {
		t.Errorf("until when the link is left is not told: %q", text)
	}
	// What is old says nothing.
	s.Received["a"], s.Received["b"] = noon().Add(-time.Hour), noon().Add(-time.Hour)
	if old := api.StatusOf("c", s, noon()).Links["a.b"]; old.There.Measured != nil || len(old.Reports) != 0 {
		t.Errorf("an hour later: %+v", old)
	}
}
