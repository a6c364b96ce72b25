package edge_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// at makes pools of their endpoints; those named behind are disabled.
func at(pools map[string][]edge.Endpoint, disabled ...string) map[string]edge.Pool {
	out := map[string]edge.Pool{}
	for id, endpoints := range pools {
		out[id] = edge.Pool{Enabled: true, Endpoints: endpoints}
	}
	for _, id := range disabled {
		out[id] = edge.Pool{Endpoints: pools[id]}
	}
	return out
}

func serving(name string) edge.Endpoint { return edge.Endpoint{Name: name, Enabled: true} }
func removed(name string) edge.Endpoint {
	return edge.Endpoint{Name: name, Enabled: true, Removed: true}
}
func disabled(name string) edge.Endpoint { return edge.Endpoint{Name: name} }

func TestPlan(t *testing.T) {
	endpoints := map[string]spec.PoolEndpoint{"a": {Pool: "p", Name: "a"}, "b": {Pool: "p", Name: "b"}, "c": {Pool: "q", Name: "c-endpoint"}}
	type list = []edge.Endpoint
	type pools = map[string]list
	type wishes = map[string]edge.Wish
	type change = map[string]map[string]bool
	tests := []struct {
		name   string
		have   map[string]edge.Pool
		wishes wishes
		want   edge.Changes
	}{
		{
			"nothing is wished", at(pools{"p": {serving("a"), serving("b")}, "q": {serving("c-endpoint")}}), nil,
			edge.Changes{Pools: change{}},
		},
		{
			"one dies", at(pools{"p": {serving("a"), serving("b")}, "q": {serving("c-endpoint")}}),
			wishes{"c": edge.Remove, "a": edge.Restore},
			edge.Changes{Pools: change{"q": {"c-endpoint": true}}, Removed: []string{"c"}},
		},
		{
			"it is out already", at(pools{"p": {serving("a"), serving("b")}, "q": {removed("c-endpoint")}}),
			wishes{"c": edge.Remove},
			edge.Changes{Pools: change{}, Removed: []string{"c"}},
		},
		{
			"it is back", at(pools{"p": {serving("a"), serving("b")}, "q": {removed("c-endpoint")}}),
			wishes{"c": edge.Restore},
			edge.Changes{Pools: change{"q": {"c-endpoint": false}}},
		},
		{
			"nobody knows", at(pools{"p": {serving("a"), serving("b")}, "q": {removed("c-endpoint")}}),
			wishes{"c": edge.Leave},
			edge.Changes{Pools: change{}, Removed: []string{"c"}},
		},
		{
			"the operator's is not touched", at(pools{"p": {serving("a"), serving("b")}, "q": {disabled("c-endpoint")}}),
			wishes{"c": edge.Restore, "b": edge.Leave},
			edge.Changes{Pools: change{}},
		},
		{
			"the operator's is not removed", at(pools{"p": {serving("a"), serving("b")}, "q": {disabled("c-endpoint")}}),
			wishes{"c": edge.Remove},
			edge.Changes{Pools: change{}},
		},
		{
			"all dead: the last by name stays", at(pools{"p": {serving("a"), serving("b")}, "q": {serving("c-endpoint")}}),
			wishes{"a": edge.Remove, "b": edge.Remove, "c": edge.Remove},
			edge.Changes{Pools: change{"p": {"a": true, "b": true}}, Removed: []string{"a", "b"}, Last: []string{"c"}},
		},
		{
			"the last one", at(pools{"p": {removed("a"), disabled("b")}, "q": {serving("c-endpoint")}}),
			wishes{"c": edge.Remove},
			edge.Changes{Pools: change{}, Removed: []string{"a"}, Last: []string{"c"}},
		},
		{
			"the last one, but another comes back", at(pools{"p": {removed("a"), disabled("b")}, "q": {serving("c-endpoint")}}),
			wishes{"c": edge.Remove, "a": edge.Restore},
			edge.Changes{Pools: change{"p": {"a": false}, "q": {"c-endpoint": true}}, Removed: []string{"c"}},
		},
		{
			"what is in a disabled pool serves nobody", at(pools{"p": {serving("a"), serving("b")}, "q": {serving("c-endpoint")}}, "p"),
			wishes{"c": edge.Remove},
			edge.Changes{Pools: change{}, Last: []string{"c"}},
		},
		{
			"a pool is gone", at(pools{"p": {serving("a"), serving("b")}}),
			wishes{"c": edge.Remove, "a": edge.Remove},
			edge.Changes{Pools: change{"p": {"a": true}}, Removed: []string{"a"}, Missing: []string{"pool q of node c"}},
		},
		{
			"an endpoint is gone", at(pools{"p": {serving("a")}, "q": {serving("c-endpoint")}}),
			wishes{"b": edge.Remove},
			edge.Changes{Pools: change{}, Missing: []string{"endpoint b of node b in pool p"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, edge.Plan(endpoints, tt.have, tt.wishes)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
