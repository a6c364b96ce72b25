package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

const www = "www.example.com"

// balanced returns a snapshot of three healthy nodes that serve.
func balanced(minimum int) *store.Snapshot {
	s := three()
	lb := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}, MinimumNodes: minimum}
	for _, name := range []string{"a", "b", "c"} {
		lb.Nodes[name] = spec.ServingNode{Enabled: true, Port: 8080}
		serving(s, name, spec.ServingStatus{Fit: true, Since: noon().Add(-time.Hour)})
	}
	s.LoadBalancers = map[string]spec.LoadBalancer{www: lb}
	s.Maintenance = map[string]spec.Maintenance{}
	return s
}

func serving(s *store.Snapshot, node string, how spec.ServingStatus) {
	status := s.Statuses[node]
	status.Serving = map[string]spec.ServingStatus{www: how}
	s.Statuses[node] = status
}

func down(s *store.Snapshot, node string) {
	for from := range s.Statuses {
		if from != node {
			peer(s, from, node, func(p *spec.PeerStatus) {
				p.Alive, p.Reachable, p.AliveSince, p.Since = false, false, noon().Add(-time.Minute), noon().Add(-time.Minute)
			})
		}
	}
	s.Received[node] = noon().Add(-time.Minute)
}

func TestStatusOfLoadBalancers(t *testing.T) {
	minute := noon().Add(-time.Minute)
	hour := noon().Add(-time.Hour)
	in := api.ServingView{State: api.ServingIn, Since: hour}
	tests := []struct {
		name   string
		change func(s *store.Snapshot)
		// b is how node b serves; a and c are in service.
		b        api.ServingView
		reasons  []string
		warnings []string
	}{
		{"all is well", func(*store.Snapshot) {}, in, nil, nil},
		{
			"the application is unwell", func(s *store.Snapshot) {
				serving(s, "b", spec.ServingStatus{Since: minute, Application: "answers 500"})
			},
			api.ServingView{State: api.ServingOut, Since: minute, Reason: "application: answers 500"},
			[]string{"load balancer www.example.com: node b is out of service since 2026-03-01T11:59:00Z: application: answers 500"},
			nil,
		},
		{
			"node and application are unwell", func(s *store.Snapshot) {
				serving(s, "b", spec.ServingStatus{Since: minute, Node: "mesh", Application: "answers 500"})
			},
			api.ServingView{State: api.ServingOut, Since: minute, Reason: "mesh of the node itself; application: answers 500"},
			[]string{"load balancer www.example.com: node b is out of service since 2026-03-01T11:59:00Z: mesh of the node itself; application: answers 500"},
			nil,
		},
		{
			"not asked yet", func(s *store.Snapshot) {
				serving(s, "b", spec.ServingStatus{Since: minute, Node: "application"})
			},
			api.ServingView{State: api.ServingOut, Since: minute, Reason: "its application was not asked yet"},
			[]string{"load balancer www.example.com: node b is out of service since 2026-03-01T11:59:00Z: its application was not asked yet"},
			nil,
		},
		{
			"kept in service", func(s *store.Snapshot) {
				serving(s, "b", spec.ServingStatus{Fit: true, Kept: true, Since: hour, Application: "answers 500"})
			},
			api.ServingView{State: api.ServingKept, Since: hour, Reason: "application: answers 500"},
			[]string{"load balancer www.example.com: node b serves although it is unwell since 2026-03-01T11:00:00Z, because too few would be left: application: answers 500"},
			nil,
		},
		{
			"in maintenance", func(s *store.Snapshot) {
				s.Maintenance["b"] = spec.Maintenance{Since: minute, Reason: "new disk"}
				serving(s, "b", spec.ServingStatus{Since: minute, Node: "maintenance"})
			},
			api.ServingView{State: api.ServingMaintenance, Since: minute, Reason: "new disk"},
			nil,
			[]string{"node b is in maintenance since 2026-03-01T11:59:00Z: new disk"},
		},
		{
			"in maintenance and switched off", func(s *store.Snapshot) {
				s.Maintenance["b"] = spec.Maintenance{Since: minute}
				down(s, "b")
			},
			api.ServingView{State: api.ServingMaintenance, Since: minute},
			nil,
			[]string{"node b is in maintenance since 2026-03-01T11:59:00Z (it is down since 2026-03-01T11:59:00Z: no other node reaches its agent)"},
		},
		{
			"disabled", func(s *store.Snapshot) {
				s.LoadBalancers[www].Nodes["b"] = spec.ServingNode{Port: 8080}
			},
			api.ServingView{State: api.ServingDisabled, Reason: "the operator has disabled it"},
			nil, nil,
		},
		{
			"down", func(s *store.Snapshot) { down(s, "b") },
			api.ServingView{State: api.ServingOut, Since: minute, Reason: "the node is down"},
			[]string{"node b is down since 2026-03-01T11:59:00Z: no other node reaches its agent"},
			nil,
		},
		{
			"has not said yet", func(s *store.Snapshot) {
				status := s.Statuses["b"]
				status.Serving = nil
				s.Statuses["b"] = status
			},
			api.ServingView{State: api.ServingUnknown, Reason: "it has not said yet"},
			[]string{"load balancer www.example.com: whether node b serves is unknown: it has not said yet"},
			nil,
		},
		{
			"since a date of a clock that is ahead", func(s *store.Snapshot) {
				serving(s, "b", spec.ServingStatus{Fit: true, Since: noon().Add(time.Hour)})
			},
			api.ServingView{State: api.ServingIn, Since: noon()},
			nil, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := balanced(1)
			tt.change(s)
			got := api.StatusOf("a", s, noon())
			want := api.LoadBalancerView{MinimumNodes: 1, Nodes: map[string]api.ServingView{"a": in, "b": tt.b, "c": in}}
			if diff := cmp.Diff(want, got.LoadBalancers[www]); diff != "" {
				t.Errorf("load balancer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.reasons, got.Reasons, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.warnings, got.Warnings, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if got.Healthy != (len(tt.reasons) == 0) {
				t.Errorf("healthy: %t", got.Healthy)
			}
		})
	}
}

func TestStatusOfALoadBalancerWithoutNodes(t *testing.T) {
	s := balanced(0)
	s.LoadBalancers[www].Nodes["gone"] = spec.ServingNode{Enabled: true, Port: 1}
	for _, name := range []string{"a", "b", "c"} {
		s.Maintenance[name] = spec.Maintenance{Since: noon()}
	}
	got := api.StatusOf("a", s, noon())
	if text := strings.Join(got.Reasons, "\n"); !strings.Contains(text, "no node is in service") || !strings.Contains(text, "whether node gone serves is unknown: it is not in the cluster") {
		t.Errorf("reasons: %s", text)
	}
	if n := got.LoadBalancers[www].In(); n != 0 {
		t.Errorf("%d nodes in service", n)
	}
}
