package databasemember_test

import (
	"slices"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/databasemember"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestAway: whoever waits for the restart of its member does not wait for long for others that are not there.
func TestAway(t *testing.T) {
	t.Parallel()
	voter := func(state spec.MemberState, stale bool) api.DatabaseMemberView {
		return api.DatabaseMemberView{Role: spec.MemberVoter, State: state, Stale: stale}
	}
	view := func(hk2, sg1 api.DatabaseMemberView) api.DatabaseView {
		return api.DatabaseView{Members: map[string]api.DatabaseMemberView{
			"hk1": voter(spec.MemberDown, false), "hk2": hk2, "sg1": sg1,
			"web": {Role: spec.MemberClient, State: spec.MemberClientOnly, Stale: true},
		}}
	}
	online := voter(spec.MemberOnline, false)
	restarting := view(voter(spec.MemberDown, false), online)
	restarting.Rollout = &api.RolloutView{Turn: "hk2", Waiting: []string{"hk1", "hk2"}}
	waiting := view(voter(spec.MemberDown, false), online)
	waiting.Rollout = &api.RolloutView{Waiting: []string{"hk1", "hk2"}}
	tests := []struct {
		name     string
		view     api.DatabaseView
		who      []string
		patience int
	}{
		{"all are there", view(online, online), nil, databasemember.ForLong},
		{"one's server is down", waiting, []string{"hk2 is down"}, databasemember.ForLong},
		{"one is restarting in its turn", restarting, nil, 0},
		{"one's node is gone", view(online, voter(spec.MemberOnline, true)), []string{"sg1 is unknown"}, databasemember.Shortly},
		{
			"one is gone, one recovers", view(voter(spec.MemberRecovering, false), voter(spec.MemberDown, true)),
			[]string{"hk2 is recovering", "sg1 is unknown"},
			databasemember.Shortly,
		},
	}
	for _, tt := range tests {
		who, patience := databasemember.Away(tt.view, "hk1")
		if !slices.Equal(who, tt.who) || patience != tt.patience {
			t.Errorf("%s: got %q, %d looks; want %q, %d", tt.name, who, patience, tt.who, tt.patience)
		}
	}
}
