package recovery_test

import (
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestNewcomer is let into a group and has no data yet: it is part of the group's life when it has.
func TestNewcomer(t *testing.T) {
	t.Parallel()
	copying := func(change func(*recovery.Evidence)) recovery.Evidence {
		return outage(func(e *recovery.Evidence) {
			e.Journal = recovery.Journal{Group: "g", Joining: 1}
			e.Own = recovery.Own{State: spec.MemberRecovering, Fresh: true, View: map[string]spec.MemberState{"a": spec.MemberRecovering, "b": spec.MemberOnline}}
			e.Heard = map[string]recovery.Report{"b": online(1, "b"), "c": stranded("")}
			if change != nil {
				change(e)
			}
		})
	}
	for _, tt := range []struct {
		name string
		e    recovery.Evidence
		want recovery.Journal
	}{
		{"copies", copying(nil), recovery.Journal{Group: "g", Joining: 1, Begun: true, UsedEpoch: 1, Shared: true}},
		{
			"copies, and the group is in a newer life", copying(func(e *recovery.Evidence) { e.Heard["b"] = online(2, "b") }),
			recovery.Journal{Group: "g", Joining: 2, Begun: true, UsedEpoch: 1, Shared: true},
		},
		{
			"has copied", copying(func(e *recovery.Evidence) { e.Own.State, e.Own.Fresh = spec.MemberOnline, false }),
			recovery.Journal{Group: "g", Joining: 1, Incarnation: 1, Begun: true, UsedEpoch: 1, Shared: true},
		},
		{
			"had data before", copying(func(e *recovery.Evidence) { e.Journal.Incarnation = 1; e.Heard["b"] = online(2, "b") }),
			recovery.Journal{Group: "g", Joining: 1, Incarnation: 2, Begun: true, UsedEpoch: 1, Shared: true},
		},
		{
			"the only one with data, while others copy", copying(func(e *recovery.Evidence) {
				e.Journal = recovery.Journal{Group: "g", Incarnation: 1, Leader: "a"}
				e.Own = recovery.Own{State: spec.MemberOnline, View: map[string]spec.MemberState{"a": spec.MemberOnline, "b": spec.MemberRecovering, "c": spec.MemberRecovering}}
				e.Heard = map[string]recovery.Report{}
			}),
			recovery.Journal{Group: "g", Incarnation: 1, Leader: "a", Begun: true, UsedEpoch: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := recovery.Decide(tt.e); !d.Journal.Equal(tt.want) || d.Action != recovery.Wait {
				t.Errorf("got %+v\nwant %+v", d, tt.want)
			}
		})
	}
}
