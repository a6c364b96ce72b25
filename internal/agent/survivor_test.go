package agent_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestLostPeers: who finds all dead that it does not reach may be the last one, also for the moment in which they answer again at their
// public addresses and the mesh has not found them yet.
func TestLostPeers(t *testing.T) {
	t.Parallel()
	var (
		reached = spec.PeerStatus{Reachable: true}
		dead    = spec.PeerStatus{Public: &spec.PublicStatus{Dead: true}}
		lives   = spec.PeerStatus{Public: &spec.PublicStatus{Answers: true}}
		unasked = spec.PeerStatus{}
		// silent is one whose last question is not answered, which says nothing yet.
		silent = spec.PeerStatus{Public: &spec.PublicStatus{Answers: true, Since: time.Unix(1, 0)}}
	)
	type look struct {
		after    time.Duration
		hk2, sg1 spec.PeerStatus
		want     bool
	}
	for name, looks := range map[string][]look{
		"all is well":                     {{0, reached, reached, false}},
		"both die":                        {{0, reached, reached, false}, {time.Second, dead, dead, true}, {time.Hour, dead, dead, true}},
		"one dies":                        {{0, dead, reached, true}},
		"one dies, one cannot be asked":   {{0, dead, unasked, false}},
		"the mesh notices first":          {{0, silent, silent, true}, {time.Second, dead, dead, true}},
		"the mesh notices, they answer":   {{0, silent, silent, true}, {time.Second, lives, dead, false}},
		"the mesh notices, one answers":   {{0, silent, lives, false}},
		"cut off from the mesh alone":     {{0, lives, lives, false}},
		"both come back":                  {{0, dead, dead, true}, {time.Second, lives, lives, true}, {4 * time.Second, reached, reached, false}},
		"one comes back":                  {{time.Minute, dead, dead, true}, {61 * time.Second, lives, dead, true}, {63 * time.Second, reached, dead, true}},
		"both come back, the mesh cannot": {{0, dead, dead, true}, {9 * time.Second, lives, lives, true}, {11 * time.Second, lives, lives, false}},
		"only the mesh is lost later":     {{0, dead, dead, true}, {time.Second, reached, reached, false}, {2 * time.Second, lives, lives, false}},
	} {
		t.Run(name, func(t *testing.T) {
			l, now := agent.NewLostPeers(), time.Now()
			for i, k := range looks {
				peers := map[string]spec.PeerStatus{"hk2": k.hk2, "sg1": k.sg1}
				var unanswered []string
				for name, p := range peers {
					if p.Public == silent.Public {
						unanswered = append(unanswered, name)
					}
				}
				l.Found(peers)
				if got := l.All([]string{"hk2", "sg1"}, peers, unanswered, now.Add(k.after)); got != k.want {
					t.Errorf("look %d: got %t", i, got)
				}
			}
		})
	}
}

// TestSurvivorCountsOnNobodyItDoesNotReach: gossip takes the dead to live for some seconds, in which the last survivor is needed as well.
func TestSurvivorCountsOnNobodyItDoesNotReach(t *testing.T) {
	t.Parallel()
	fit := spec.Status{Serving: map[string]spec.ServingStatus{hostname: {Fit: true}}}
	statuses := map[string]spec.Status{"hk2": fit, "sg1": fit}
	lost := map[string]string{"mesh": "reaches 0 of 2 peers"}
	for _, tt := range []struct {
		name     string
		reached  []string
		problems map[string]string
		want     bool
	}{
		{"the last one", nil, lost, true},
		{"not the last one", []string{"sg1"}, lost, false},
		{"its application is unwell, and the mesh is slow", nil, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := agent.Floor("hk1", 1, statuses, tt.reached, tt.problems)["hk1"]; got != tt.want {
				t.Errorf("kept in service: %t", got)
			}
		})
	}
}
