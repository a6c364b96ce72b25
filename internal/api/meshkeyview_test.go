package api_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestMeshKeys tells of each node's key and warns of a rotation that goes on or should.
func TestMeshKeys(t *testing.T) {
	now := time.Now()
	other := &spec.MeshKey{Number: 3, Public: "next"}
	for _, tt := range []struct {
		name   string
		key    *spec.MeshKeyStatus
		silent bool
		want   string
	}{
		{"an agent that knows nothing of it", nil, false, ""},
		{"as it should be", &spec.MeshKeyStatus{Number: 2, Generation: 5}, false, ""},
		{"it changes", &spec.MeshKeyStatus{Number: 2, Generation: 4, Other: other}, false, "node n1 changes its mesh key"},
		{"it waits for somebody", &spec.MeshKeyStatus{Number: 2, Generation: 4, Other: other, Waits: "node n2 to take the new key over"}, false, "node n1 changes its mesh key: it waits for node n2 to take the new key over"},
		{"it waits for its turn", &spec.MeshKeyStatus{Number: 2, Generation: 4, Waits: "its turn, after n0"}, false, "generation 4, and the cluster asks for 5: it waits for its turn, after n0"},
		{"it is of before", &spec.MeshKeyStatus{Number: 2, Generation: 4}, false, "generation 4, and the cluster asks for 5"},
		{"who is silent is named otherwise", &spec.MeshKeyStatus{Number: 2, Generation: 4}, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mesh := spec.DefaultMesh()
			mesh.KeyGeneration = 5
			received := now
			if tt.silent {
				received = now.Add(-time.Hour)
			}
			s := &store.Snapshot{
				Cluster: &spec.Cluster{Mesh: mesh}, Nodes: map[string]spec.Node{"n1": {}}, Members: map[string]trust.Member{"n1": {Node: "n1"}},
				Statuses: map[string]spec.Status{"n1": {Node: "n1", MeshKey: tt.key}}, Received: map[string]time.Time{"n1": received},
			}
			got := api.StatusOf("n1", s, now)
			said := slices.ContainsFunc(got.Warnings, func(w string) bool { return tt.want != "" && strings.HasSuffix(w, tt.want) })
			if said != (tt.want != "") || tt.want == "" && len(got.Warnings) > 0 {
				t.Errorf("warnings %q, want %q", got.Warnings, tt.want)
			}
			if k := got.Nodes["n1"].MeshKey; (k == nil) != (tt.key == nil) || k != nil && (k.Number != 2 || k.Changing != (tt.key.Other != nil)) {
				t.Errorf("the key is %+v", k)
			}
		})
	}
}
