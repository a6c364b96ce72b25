package agent_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// TestPassedBy says which applications a node's proxy asks last: whose change the proxy is told of at once.
func TestPassedBy(t *testing.T) {
	t.Parallel()
	var (
		fit      = spec.ServingStatus{Fit: true}
		database = spec.ServingStatus{Node: "database"}
		files    = spec.ServingStatus{Node: "files"}
		kept     = spec.ServingStatus{Node: "database", Fit: true, Kept: true}
		unwell   = spec.ServingStatus{Application: "exit code 1"}
	)
	tests := []struct {
		name  string
		check *spec.ApplicationCheck
		own   spec.ServingStatus
		// What hk1 itself, and sg1, have reported, and whether sg1's router leads nowhere.
		reported, other spec.ServingStatus
		lost            bool
		want            []string
	}{
		{"all are well", nil, fit, fit, fit, false, nil},
		{"its own, before it has reported that", nil, database, fit, fit, false, []string{"www.example.com hk1"}},
		{"its own is well again, before it has reported that", nil, fit, database, fit, false, nil},
		{"another's", nil, fit, fit, files, false, []string{"www.example.com sg1"}},
		{"all", nil, kept, kept, database, true, []string{"www.example.com hk1", "www.example.com sg1"}},
		{"all, of whom the other calls itself fit still", nil, database, database, fit, true, []string{"www.example.com hk1", "www.example.com sg1"}},
		{"the other's way is lost for a moment", nil, fit, fit, fit, true, nil},
		{"what the proxy asks itself", &spec.ApplicationCheck{Type: spec.CheckHTTP}, unwell, unwell, unwell, false, nil},
		{"what it cannot ask", &spec.ApplicationCheck{Type: spec.CheckCommand}, fit, fit, unwell, false, []string{"www.example.com sg1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			report := func(s spec.ServingStatus, writable bool) spec.Status {
				return spec.Status{
					Serving:   map[string]spec.ServingStatus{"www.example.com": s, "plain.example.com": database},
					Databases: map[string]spec.DatabaseStatus{"app": {Router: spec.RouterStatus{Running: true, Writable: writable}}},
				}
			}
			got := agent.PassedBy("hk1", tt.check, tt.own, map[string]spec.Status{"hk1": report(tt.reported, true), "sg1": report(tt.other, !tt.lost)})
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("passed by (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRefusalForNobodyBetter: a node whose proxy can pass requests on sends strangers away only to one that is better, and that the edge
// knows to be.
func TestRefusalForNobodyBetter(t *testing.T) {
	t.Parallel()
	var (
		database    = spec.ServingStatus{Node: "database"}
		application = spec.ServingStatus{Application: "exit code 1"}
		fit         = spec.ServingStatus{Fit: true}
		kept        = spec.ServingStatus{Fit: true, Kept: true}
		falling     = spec.ServingStatus{Fit: true, Application: "exit code 1"}
	)
	now := time.Now()
	for _, tt := range []struct {
		name       string
		hostname   string
		own, other spec.ServingStatus
		// lost tells that the other's router leads nowhere.
		lost, refuses bool
	}{
		{"the database, the other is well", "www.example.com", database, fit, false, true},
		{"the database, the other is kept", "www.example.com", database, kept, true, false},
		{"the database, the other's is lost", "www.example.com", database, fit, true, false},
		{"the database, it was kept lately", "kept.example.com", database, fit, false, false},
		{"files, the other is kept", "www.example.com", spec.ServingStatus{Node: "files"}, kept, false, false},
		{"its application, the other is well", "www.example.com", application, fit, false, true},
		{"its application, the other's database is lost for a moment", "www.example.com", application, fit, true, true},
		{"its application, the other is kept", "www.example.com", application, kept, false, false},
		{"its application, the other's falls as well", "www.example.com", application, falling, false, false},
		{"maintenance, the other is kept", "www.example.com", spec.ServingStatus{Node: "maintenance"}, kept, false, true},
		{"maintenance, it was kept lately", "kept.example.com", spec.ServingStatus{Node: "maintenance"}, fit, false, true},
		{"the mesh, the other is kept", "www.example.com", spec.ServingStatus{Node: "mesh"}, kept, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lb := topology.LoadBalancer{
				Hostname: tt.hostname, Proxy: &spec.Proxy{Port: 80},
				Peers: []topology.ServingPeer{{Peer: topology.Peer{Name: "sg1"}, ServingNode: spec.ServingNode{Enabled: true}}},
			}
			other := spec.Status{
				Serving:   map[string]spec.ServingStatus{lb.Hostname: tt.other},
				Databases: map[string]spec.DatabaseStatus{"app": {Router: spec.RouterStatus{Running: true, Writable: !tt.lost}}},
			}
			got := agent.RefusedPorts([]topology.LoadBalancer{lb}, map[string]spec.ServingStatus{lb.Hostname: tt.own}, map[string]spec.Status{"sg1": other},
				map[string]time.Time{"sg1": now}, map[string]spec.PeerStatus{"sg1": {Reachable: true}}, nil, now, nil)
			if refuses := len(got) > 0; refuses != tt.refuses {
				t.Errorf("it refuses: %t, want %t", refuses, tt.refuses)
			}
		})
	}
}
