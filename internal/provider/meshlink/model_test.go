package meshlink_test

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/meshlink"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestObserve(t *testing.T) {
	t.Parallel()
	direct, indirect := api.Direction{State: api.UpDirect, RTT: 12}, api.Direction{State: api.UpIndirect, Via: "c", RTT: 50, Loss: 0.1}
	down, unknown := api.Direction{State: api.Down, Loss: 1}, api.Direction{State: api.UnknownLink}
	tests := []struct {
		name string
		view *api.LinkView
		from string
		want api.DirectionState
		// forward is the whole direction as text.
		forward string
	}{
		{"both direct", &api.LinkView{From: "a", To: "b", There: direct, Back: direct}, "a", api.UpDirect, `{"direct":true,"loss":0.000000,"next_hop":<null>,"reachable":true,"rtt_ms":12.000000}`},
		{"one detour", &api.LinkView{From: "a", To: "b", There: indirect, Back: direct}, "a", api.UpIndirect, `{"direct":false,"loss":0.100000,"next_hop":"c","reachable":true,"rtt_ms":50.000000}`},
		{"seen from the other end", &api.LinkView{From: "a", To: "b", There: indirect, Back: down}, "b", api.Down, `{"direct":false,"loss":1.000000,"next_hop":<null>,"reachable":false,"rtt_ms":<null>}`},
		{"one unknown", &api.LinkView{From: "a", To: "b", There: unknown, Back: indirect}, "a", api.UnknownLink, `<null>`},
		{"down counts more than unknown", &api.LinkView{From: "a", To: "b", There: unknown, Back: down}, "a", api.Down, `<null>`},
		{"nobody answers", nil, "a", api.UnknownLink, `<null>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var m meshlink.Model
			m.Observe(tt.view, tt.from)
			if got := api.DirectionState(m.State.ValueString()); got != tt.want {
				t.Errorf("got state %s, want %s", got, tt.want)
			}
			if got := m.Forward.String(); got != tt.forward {
				t.Errorf("got forward %s, want %s", got, tt.forward)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	var m meshlink.Model
	m.FromSpec("web", spec.Link{From: "hk1", To: "a1", Settings: spec.LinkSettings{TCPOnly: true, MTU: 1400}})
	if m.ID.ValueString() != "web/a1.hk1" || !m.TCPOnly.ValueBool() || m.MTU != types.Int64Value(1400) {
		t.Errorf("got %+v", m)
	}
}
