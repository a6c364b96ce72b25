package probes_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	long := now.Add(-time.Minute)
	good := probe.Direction{Known: true, Since: long, MTU: 1500, Loss: probe.Loss{Counted: 1000}}
	gone := probe.Direction{Known: true, Silent: true, Since: long, Loss: probe.Loss{Fast: 1, Slow: 1, Counted: 1000}}
	never := probe.Direction{Since: long}
	lossy := func(slow float64) probe.Direction {
		d := good
		d.Loss.Slow = slow
		return d
	}
	small := good
	small.MTU = 1280
	young := gone
	young.Since = now.Add(-time.Second)
	direct := spec.PeerStatus{Reachable: true, Direct: true, Since: long}
	detour := spec.PeerStatus{Reachable: true, NextHop: "b", Since: long}
	for _, tt := range []struct {
		name  string
		c     probes.Case
		want  spec.LinkCondition
		cause spec.LinkCause
		// says are parts of the message.
		says []string
	}{
		{"well", probes.Case{Link: probe.Measurement{In: good, Out: good}, Mesh: direct}, spec.LinkDirect, "", nil},
		{"just begun", probes.Case{Link: probe.Measurement{In: probe.Direction{Since: now}}, Mesh: direct}, spec.LinkDirect, "", nil},
		{"an agent that starts again", probes.Case{Link: probe.Measurement{In: young}, Mesh: direct}, spec.LinkDirect, "", nil},
		{
			"c's firewall drops UDP of a",
			probes.Case{Link: probe.Measurement{In: good, Out: gone}, Mesh: direct, MeshTCP: "open", APITCP: "open"},
			spec.LinkOneWay, spec.CauseFilteredPort,
			[]string{"packets of a do not arrive at UDP port 655 of c", "those of c arrive at a", "a firewall at c", "open UDP port 655 of c to a"},
		},
		{
			"c's firewall drops the mesh's port of a",
			probes.Case{Link: probe.Measurement{In: good, Out: gone}, Mesh: direct, MeshTCP: "silent", APITCP: "open"},
			spec.LinkOneWay, spec.CauseFilteredPort,
			[]string{"open UDP and TCP port 655 of c to a"},
		},
		{
			"everything of a is dropped",
			probes.Case{Link: probe.Measurement{In: good, Out: gone}, Mesh: detour, MeshTCP: "silent", APITCP: "silent"},
			spec.LinkOneWay, spec.CauseFilteredPort,
			[]string{"no TCP port of c answers a", "drops everything that comes from a"},
		},
		{
			"a's own firewall lets c not in",
			probes.Case{Link: probe.Measurement{In: gone}, Mesh: direct, Theirs: &spec.LinkStatus{In: &spec.LinkDirection{}}},
			spec.LinkOneWay, spec.CauseFilteredPort,
			[]string{"packets of c do not arrive at UDP port 655 of a", "the firewall of a", "does not let c in"},
		},
		{
			"a's own firewall lets nothing out",
			probes.Case{Link: probe.Measurement{In: good, Out: gone, SendError: "operation not permitted"}, Mesh: direct},
			spec.LinkOneWay, spec.CauseOwnFirewall,
			[]string{"a cannot send to 198.51.100.3, UDP port 655 of c", "operation not permitted"},
		},
		{"cut, and the mesh goes round it", probes.Case{Link: probe.Measurement{In: gone}, Mesh: detour, MeshTCP: "silent", APITCP: "silent"}, spec.LinkCut, spec.CausePath, []string{"the machine is off, or the network"}},
		{"cut, and nothing more was asked", probes.Case{Link: probe.Measurement{In: gone}, Mesh: detour}, spec.LinkCut, spec.CausePath, []string{"UDP port 655 of c: the machine is off, or the network between the two is cut"}},
		{
			"UDP is blocked both ways, and the link is left",
			probes.Case{Link: probe.Measurement{In: gone}, Mesh: detour, APITCP: "open", Away: true, Theirs: &spec.LinkStatus{In: &spec.LinkDirection{Silent: true}}},
			spec.LinkCut, spec.CauseFilteredPort,
			[]string{"the machine answers at TCP port 7443", "a firewall at c does not let a in"},
		},
		{
			"one way, and nothing more was asked",
			probes.Case{Link: probe.Measurement{In: good, Out: gone}, Mesh: direct},
			spec.LinkOneWay, spec.CauseFilteredPort,
			[]string{"a firewall at c, or the network on that way, drops what comes from a"},
		},
		{
			"what the other end counted before this agent began",
			probes.Case{Link: probe.Measurement{In: good, Out: probe.Direction{Since: now.Add(-time.Second)}}, Mesh: direct, Theirs: &spec.LinkStatus{In: &spec.LinkDirection{Silent: true}}},
			spec.LinkDirect, "", nil,
		},
		{
			"what the other end counts, and its packets do not say",
			probes.Case{Link: probe.Measurement{In: good, Out: never}, Mesh: direct, Theirs: &spec.LinkStatus{In: &spec.LinkDirection{Silent: true}}},
			spec.LinkOneWay, spec.CauseFilteredPort,
			[]string{"packets of a do not arrive"},
		},
		{"UDP is blocked both ways", probes.Case{Link: probe.Measurement{In: never}, Mesh: direct, MeshTCP: "open", APITCP: "open"}, spec.LinkCut, spec.CauseFilteredPort, []string{"lets in TCP but no UDP"}},
		{"dead", probes.Case{Link: probe.Measurement{In: gone}, MeshTCP: "silent", APITCP: "silent"}, spec.LinkUnreachable, spec.CausePath, []string{"the machine is off"}},
		{"dead, and a clock is wrong", probes.Case{Link: probe.Measurement{In: gone}, ClockWrong: true}, spec.LinkUnreachable, spec.CauseClock, []string{"the clock of one of them is wrong"}},
		{"no such name", probes.Case{Link: probe.Measurement{In: never}, Mesh: direct, Lookup: errors.New("no such host")}, spec.LinkCut, spec.CauseNameResolution, []string{"no such host"}},
		{"another key", probes.Case{Link: probe.Measurement{In: good, Out: good}, Mesh: detour, MeshTCP: "open"}, spec.LinkCut, spec.CauseWrongKey, []string{"mesh key"}},
		{"left on purpose", probes.Case{Link: probe.Measurement{In: good, Out: good}, Mesh: detour, MeshTCP: "open", Away: true}, spec.LinkDirect, "", nil},
		{
			"left by the other end",
			probes.Case{Link: probe.Measurement{In: good, Out: good}, Mesh: detour, MeshTCP: "open", Theirs: &spec.LinkStatus{Steering: &spec.LinkSteering{Away: true}}},
			spec.LinkDirect, "", nil,
		},
		{"lossy", probes.Case{Link: probe.Measurement{In: good, Out: lossy(0.2)}, Mesh: direct}, spec.LinkLossy, "", []string{"a -> c loses 20 %, c -> a loses 0 %"}},
		{"a little lossy", probes.Case{Link: probe.Measurement{In: lossy(0.04), Out: good}, Mesh: direct}, spec.LinkDirect, "", nil},
		{"a little lossy still", probes.Case{Link: probe.Measurement{In: lossy(0.04), Out: good}, Mesh: direct, Before: spec.LinkLossy}, spec.LinkLossy, "", nil},
		{"small packets only, and WireGuard", probes.Case{Link: probe.Measurement{In: good, Out: small}, Mesh: direct, Driver: spec.MeshWireGuard}, spec.LinkMTU, "", []string{"about 1280 bytes", "is told to send none that are larger"}},
		{
			"WireGuard's port is filtered",
			probes.Case{Link: probe.Measurement{In: good, Out: gone}, Mesh: direct, APITCP: "open", Driver: spec.MeshWireGuard},
			spec.LinkOneWay, spec.CauseFilteredPort,
			[]string{"open UDP port 655 of c to a"},
		},
		{"small packets only", probes.Case{Link: probe.Measurement{In: good, Out: small}, Mesh: direct}, spec.LinkMTU, "", []string{"about 1280 bytes", "up to 1492"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.c.Now = now
			got := probes.Judge(tt.c)
			if got.Condition != tt.want || got.Cause != tt.cause || (got.Message == "") != (tt.says == nil && tt.want != spec.LinkLossy) {
				t.Errorf("%s, %s: %q; want %s, %s", got.Condition, got.Cause, got.Message, tt.want, tt.cause)
			}
			for _, part := range tt.says {
				if !strings.Contains(got.Message, part) {
					t.Errorf("%q does not say %q", got.Message, part)
				}
			}
		})
	}
}
