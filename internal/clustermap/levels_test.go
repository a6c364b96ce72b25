package clustermap_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestLevels puts what is observed into levels, as the status itself judges it.
func TestLevels(t *testing.T) {
	t.Parallel()
	old, young := now.Add(-time.Hour), now.Add(-10*time.Second)
	for _, tt := range []struct {
		direction api.Direction
		want      clustermap.Level
	}{
		{api.Direction{State: api.UpDirect, Since: old, Loss: 0.04}, clustermap.Good},
		{api.Direction{State: api.UpDirect, Since: old, Loss: 0.05}, clustermap.Degraded},
		{api.Direction{State: api.UpDirect, Since: young, Loss: 0.3}, clustermap.Good},
		{api.Direction{State: api.UpIndirect, Since: young}, clustermap.Degraded},
		{api.Direction{State: api.Down, Since: old}, clustermap.Down},
		{api.Direction{State: api.UnknownLink}, clustermap.Unknown},
		{api.Direction{}, clustermap.Unknown},
	} {
		s := threeSites()
		s.Links = map[string]api.LinkView{"l": {From: "hk1", To: "sg1", There: tt.direction}}
		if got := clustermap.New(s).Links[0].There.Level; got != tt.want {
			t.Errorf("%+v is %s, want %s", tt.direction, got, tt.want)
		}
	}
	node := func(change func(*api.NodeView)) clustermap.Level {
		s := threeSites()
		n := s.Nodes["sg1"]
		change(&n)
		s.Nodes = map[string]api.NodeView{"sg1": n}
		s.Links = nil
		return clustermap.New(s).Nodes[0].Level
	}
	for state, want := range map[api.NodeState]clustermap.Level{
		api.NodeReady: clustermap.Good, api.NodeNotReady: clustermap.Degraded, api.NodeJoining: clustermap.Unknown, api.NodeSilent: clustermap.Down, api.NodeDown: clustermap.Down,
	} {
		if got := node(func(n *api.NodeView) { n.State = state }); got != want {
			t.Errorf("a node that is %s is %s, want %s", state, got, want)
		}
	}
	if got := node(func(n *api.NodeView) { n.State, n.Maintenance = api.NodeDown, &spec.Maintenance{} }); got != clustermap.Paused {
		t.Errorf("a node in maintenance is %s", got)
	}
	role := func(m api.DatabaseMemberView) clustermap.Role {
		s := threeSites()
		s.Databases, s.Pairs, s.LoadBalancers = map[string]api.DatabaseView{"app": {Members: map[string]api.DatabaseMemberView{"sg1": m}}}, nil, nil
		return clustermap.New(s).Nodes[0].Roles[0]
	}
	stale := member(spec.MemberVoter, spec.MemberOnline, true)
	stale.Stale = true
	unrouted := member(spec.MemberVoter, spec.MemberOnline, false)
	unrouted.Router.Writable = false
	for _, tt := range []struct {
		member api.DatabaseMemberView
		text   string
		level  clustermap.Level
	}{
		{member(spec.MemberVoter, spec.MemberOnline, true), "database app: primary", clustermap.Good},
		{member(spec.MemberVoter, spec.MemberOnline, false), "database app: secondary", clustermap.Good},
		{member(spec.MemberClient, spec.MemberClientOnly, false), "database app: client", clustermap.Good},
		{member(spec.MemberVoter, spec.MemberRecovering, false), "database app: secondary, recovering", clustermap.Degraded},
		{member(spec.MemberVoter, spec.MemberFailed, false), "database app: voter, failed", clustermap.Down},
		{member(spec.MemberVoter, api.MemberUnknown, false), "database app: voter, unknown", clustermap.Unknown},
		{stale, "database app: voter, unknown", clustermap.Unknown},
		{unrouted, "database app: secondary", clustermap.Degraded},
	} {
		if got := role(tt.member); got.Text() != tt.text || got.Level != tt.level {
			t.Errorf("%q, %s, want %q, %s", got.Text(), got.Level, tt.text, tt.level)
		}
	}
}
