package agent_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
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
		name     string
		check    *spec.ApplicationCheck
		own      spec.ServingStatus
		reported spec.ServingStatus // what hk1 itself, and sg1, have reported
		other    spec.ServingStatus
		want     []string
	}{
		{"all are well", nil, fit, fit, fit, nil},
		{"its own, before it has reported that", nil, database, fit, fit, []string{"www.example.com hk1"}},
		{"its own is well again, before it has reported that", nil, fit, database, fit, nil},
		{"another's", nil, fit, fit, files, []string{"www.example.com sg1"}},
		{"all", nil, kept, kept, database, []string{"www.example.com hk1", "www.example.com sg1"}},
		{"what the proxy asks itself", &spec.ApplicationCheck{Type: spec.CheckHTTP}, unwell, unwell, unwell, nil},
		{"what it cannot ask", &spec.ApplicationCheck{Type: spec.CheckCommand}, fit, fit, unwell, []string{"www.example.com sg1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			report := func(s spec.ServingStatus) spec.Status {
				return spec.Status{Serving: map[string]spec.ServingStatus{"www.example.com": s, "plain.example.com": database}}
			}
			got := agent.PassedBy("hk1", tt.check, tt.own, map[string]spec.Status{"hk1": report(tt.reported), "sg1": report(tt.other)})
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("passed by (-want +got):\n%s", diff)
			}
		})
	}
}
