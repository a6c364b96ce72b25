//go:build linux

package e2e_test

import (
	"testing"
	"time"
)

// TestThreeSite brings the reference topology up once and then does to it, one after another, what the world does to
// clusters. Each scenario leaves a healthy cluster to the next; the last one removes everything.
func TestThreeSite(t *testing.T) {
	s := newSite(t)
	for _, scenario := range []struct {
		name string
		run  func(*testing.T, *site)
	}{
		{"apply brings the cluster up", applyBringsUp},
		{"a second plan is empty", planIsEmpty},
		{"a cut path is detoured and named", cutPathIsDetoured},
		{"agents heal the cluster without Terraform while the mesh is down", agentsHealAlone},
		{"a machine without a network joins and says what it lacks", firstBootWithoutNetwork},
		{"forged, replayed, expired, renamed and foreign tickets are refused", ticketsAreRefused},
		{"forged, changed, foreign, old and newer objects are refused", objectsAreRefused},
		{"an agent killed while it writes its store loses nothing", killedWhileWriting},
		{"a node whose clock is five minutes wrong joins and is named", wrongClock},
		{"an operator's clock may be five minutes wrong, and is named when it is a day", operatorsClock},
		{"a replaced node has a new identity and the old one is gone", replacedNode},
		{"faults of the cloud's API do not break an apply", cloudFaults},
		{"a refused token is explained", refusedToken},
		{"two applies at once do not mix", twoApplies},
		{"an instance deleted behind Terraform's back is made again", vanishedInstance},
		{"lost user data is explained, and the next apply repairs it", lostUserData},
		{"a node that loses power while joining joins after it", powerCutWhileJoining},
		{"a changed SSH host key stops the adoption", changedHostKey},
		{"no secret is where it does not belong", noSecretLeaks},
		{"a dead machine can be removed", deadMachine},
		{"destroy leaves nothing", destroyLeavesNothing},
	} {
		if !t.Run(scenario.name, func(t *testing.T) { scenario.run(t, s) }) {
			t.Fatalf("the cluster is not what the next scenario expects after %q", scenario.name)
		}
	}
}

func applyBringsUp(t *testing.T, s *site) {
	s.apply(t)
	s.wantHealthy(t, 20*time.Second, everyNode...)
	s.userData(t, "sg1") // is remembered as a secret
}

func planIsEmpty(t *testing.T, s *site) {
	s.wantNoChange(t)
	s.apply(t, "-refresh-only")
	s.wantNoChange(t)
}
