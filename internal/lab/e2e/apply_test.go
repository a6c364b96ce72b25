//go:build linux

package e2e_test

import (
	"testing"
	"time"
)

// TestThreeSite brings the reference topology up once and then does to it, one after another, what the world does to
// clusters. Each scenario leaves a healthy cluster to the next; the last one removes everything.
func TestThreeSite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, scenario := range []struct {
		name string
		run  func(*testing.T, *site)
		// nodesOnly scenarios are the same whatever the engine: it has no part in them.
		nodesOnly bool
	}{
		{"apply brings the cluster up", applyBringsUp, false},
		{"a second plan is empty", planIsEmpty, false},
		{"the table of ports is what a node opens and where it listens", portsAreOpen, true},
		{"a cut path is detoured and named", cutPathIsDetoured, true},
		{"agents heal the cluster without Terraform while the mesh is down", agentsHealAlone, true},
		{"a machine without a network joins and says what it lacks", firstBootWithoutNetwork, true},
		{"forged, replayed, expired, renamed and foreign tickets are refused", ticketsAreRefused, true},
		{"forged, changed, foreign, old and newer objects are refused", objectsAreRefused, true},
		{"an agent killed while it writes its store loses nothing", killedWhileWriting, true},
		{"a node whose clock is five minutes wrong joins and is named", wrongClock, true},
		{"an operator's clock may be five minutes wrong, and is named when it is a day", operatorsClock, false},
		{"a replaced node has a new identity and the old one is gone", replacedNode, false},
		{"faults of the cloud's API do not break an apply", cloudFaults, false},
		{"a refused token is explained", refusedToken, false},
		{"two applies at once do not mix", twoApplies, false},
		{"an instance deleted behind Terraform's back is made again", vanishedInstance, false},
		{"lost user data is explained, and the next apply repairs it", lostUserData, false},
		{"a node that loses power while joining joins after it", powerCutWhileJoining, false},
		{"a changed SSH host key stops the adoption", changedHostKey, false},
		{"keys of the mesh are replaced while it runs", keysAreReplaced, true},
		{"no secret is where it does not belong", noSecretLeaks, false},
		{"a dead machine can be removed", deadMachine, false},
		{"destroy leaves nothing", destroyLeavesNothing, false},
	} {
		if scenario.nodesOnly && furtherEngine() {
			t.Logf("left to the first engine: %s", scenario.name)
			continue
		}
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
