package clusterstatus_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/clusterstatus"
)

func TestANodeThatTheOthersDoNotKnowIsNoHealthyCluster(t *testing.T) {
	status := api.ClusterStatus{Seen: "hk1", Healthy: true, Nodes: map[string]api.NodeView{"hk1": {}}}
	for _, tt := range []struct {
		name    string
		nodes   []string
		healthy bool
	}{
		{"the one that answers", []string{"hk1"}, true},
		{"a half that never met it", []string{"hk1", "sg1"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := clusterstatus.Model{Nodes: map[string]clusterstatus.Source{}}
			for _, n := range tt.nodes {
				m.Nodes[n] = clusterstatus.Source{Name: types.StringValue(n)}
			}
			m.FromStatus(&status)
			if m.Healthy.ValueBool() != tt.healthy {
				t.Errorf("got healthy %s, want %t", m.Healthy, tt.healthy)
			}
			if told := strings.Contains(strings.Join(m.Reasons, "\n"), "does not know node sg1"); told == tt.healthy {
				t.Errorf("got reasons %q", m.Reasons)
			}
		})
	}
}
