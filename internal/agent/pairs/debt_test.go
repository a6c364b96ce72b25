package pairs_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/pairs"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// waits is what a node says that is not to serve before its trees were found equal, barred that no floor keeps it.
var (
	well   = pairs.Fitness{}
	waits  = pairs.Fitness{Problem: "uploads: not synchronized yet"}
	barred = pairs.Fitness{Problem: "uploads: not synchronized yet", Barred: true}
)

func (n *node) fitness(when string, want pairs.Fitness) {
	n.t.Helper()
	if got := n.manager.Health(); got != want {
		n.t.Errorf("%s: got %+v, want %+v", when, got, want)
	}
}

// goes sets whether sg1 is reached over the mesh, and whether hk1 has lost half of its cluster.
func (n *node) goes(reaches, lost bool) {
	n.mu.Lock()
	n.reaches, n.sight.Lost = reaches, lost
	n.mu.Unlock()
	pass(2 * time.Second)
}

// leads is hk1 that leads its pair and has found it equal.
func leads(t *testing.T) (n *node, began time.Time) {
	n, began = newNode(t, "hk1"), time.Now()
	n.start()
	n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: began})
	n.fitness("at first", well)
	return n, began
}

// TestWhatWasEqualDuringMaintenance: that both sides are equal says nothing of the changes that are made until the maintenance ends.
func TestWhatWasEqualDuringMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := leads(t)
		n.change(func(s *pairs.Sight) { s.Away = true })
		n.expect(spec.PairSynced, "Ready", "")
		n.mu.Lock()
		n.sight.Away = false
		n.mu.Unlock()
		n.fitness("at the end, before the next look", barred)
		n.says(replication.Status{State: spec.PairSyncing, Started: began, Synced: began})
		n.fitness("while changes are on their way", barred)
		pass(time.Hour)
		n.fitness("for as long as that takes", barred)
		n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
		n.fitness("when the other has not said how it is", barred)
		n.change(func(s *pairs.Sight) {
			s.Statuses["sg1"] = spec.Status{Node: "sg1", Pairs: map[string]spec.PairStatus{"uploads": {State: spec.PairSyncing, Pending: 3}}}
			s.Received["sg1"] = time.Now()
		})
		n.fitness("when changes wait there", barred)
		n.hears(spec.PairSyncing)
		n.fitness("when both are equal", well)
		n.says(replication.Status{State: spec.PairSyncing, Started: began, Synced: began})
		n.fitness("later changes", well)
	})
}

// TestCommandAfterMaintenance: what was changed in it is not there before the command after changes has run, either.
func TestCommandAfterMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := leads(t)
		n.change(func(s *pairs.Sight) { s.Away = true })
		n.expect(spec.PairSynced, "Ready", "")
		after := func(here, there spec.AfterState) {
			n.change(func(s *pairs.Sight) {
				s.Away = false
				s.Statuses["sg1"] = spec.Status{Node: "sg1", Pairs: map[string]spec.PairStatus{"uploads": {State: spec.PairSyncing, After: &spec.AfterStatus{State: there}}}}
				s.Received["sg1"] = time.Now()
			})
			n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now(), After: &spec.AfterStatus{State: here, Problem: "no table"}})
			pass(10 * time.Second)
		}
		after(spec.AfterDue, spec.AfterDone)
		n.fitness("while it is due", barred)
		after(spec.AfterRunning, spec.AfterDone)
		n.fitness("while it runs", barred)
		after(spec.AfterFailed, spec.AfterDone)
		n.fitness("when it has failed", barred)
		n.expect(spec.PairSynced, "AfterChange", "uploads: not synchronized yet")
		after(spec.AfterDone, spec.AfterRunning)
		n.fitness("while it runs on the other node", barred)
		after(spec.AfterDone, spec.AfterFailed)
		n.fitness("when it has failed on the other node", well)
		after(spec.AfterDue, spec.AfterDone)
		n.fitness("for later changes", well)
	})
}

// TestShortMaintenance is over before anybody has looked.
func TestShortMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := leads(t)
		n.mu.Lock()
		n.sight.Order = 2
		n.mu.Unlock()
		n.fitness("at its end", barred)
		// What was changed in it is not known yet.
		pass(time.Second)
		n.fitness("before changes are seen", barred)
		n.says(replication.Status{State: spec.PairSyncing, Started: began})
		n.hears(spec.PairSyncing)
		n.fitness("while changes are on their way", barred)
		n.says(replication.Status{State: spec.PairSynced, Started: began})
		n.hears(spec.PairSyncing)
		n.fitness("when both are equal", well)
	})
}

// TestReunion: a node that finds its cluster again, or has started, may reach others before the one that has its files.
func TestReunion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := leads(t)
		n.goes(false, true)
		n.says(replication.Status{State: spec.PairDisconnected, Started: began})
		pass(time.Hour)
		n.fitness("while it is cut off", well)
		n.mu.Lock()
		n.sight.Lost = false
		n.mu.Unlock()
		n.fitness("when it reaches a third node", waits)
		pass(5 * time.Second)
		n.fitness("while the other may still be found", waits)
		pass(10 * time.Second)
		n.fitness("when the other is not there", well)
		n.goes(true, false)
		n.fitness("when it is, after all", waits)
	})
}

// TestSurvivor: who has gone on alone while the other node was dead goes on when it is back, whatever has happened to it meanwhile: it is the
// other one that has to catch up.
func TestSurvivor(t *testing.T) {
	for _, tt := range []struct {
		name string
		// lost tells that it does not stand with half of its cluster without the other.
		lost bool
		// alive tells that others hear of the other node all the while.
		alive bool
		does  func(n *node, began *time.Time)
		want  pairs.Fitness
	}{
		{"its programs start again", false, false, func(_ *node, began *time.Time) { *began = time.Now() }, well},
		{"its programs start again, others reach the other node", false, true, func(_ *node, began *time.Time) { *began = time.Now() }, waits},
		{"a maintenance", false, false, func(n *node, _ *time.Time) {
			n.change(func(s *pairs.Sight) { s.Away, s.Order = true, 1 })
			n.change(func(s *pairs.Sight) { s.Away, s.Order = false, 2 })
		}, well},
		{"the last one of three", true, false, func(*node, *time.Time) {}, well},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, began := leads(t)
				n.mu.Lock()
				n.dead = !tt.alive
				n.mu.Unlock()
				n.goes(false, tt.lost)
				n.says(replication.Status{State: spec.PairDisconnected, Started: began})
				tt.does(n, &began)
				n.says(replication.Status{State: spec.PairDisconnected, Started: began})
				n.fitness("alone", well)
				pass(6 * time.Hour)
				n.mu.Lock()
				n.dead = false
				n.mu.Unlock()
				n.goes(true, false)
				n.change(func(s *pairs.Sight) {
					s.Statuses["sg1"] = spec.Status{Node: "sg1", Pairs: map[string]spec.PairStatus{"uploads": {State: spec.PairSyncing, Owes: spec.PairOwesStart}}}
					s.Received["sg1"] = time.Now()
				})
				n.says(replication.Status{State: spec.PairSyncing, Started: began})
				n.fitness("when the other is back", tt.want)
				pass(time.Hour)
				n.fitness("for as long as it takes the other", tt.want)
			})
		})
	}
}

// TestOtherOfASurvivor is the node that was dead.
func TestOtherOfASurvivor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.dead = true // it has heard of nobody yet
		n.goes(false, true)
		n.start()
		n.says(replication.Status{State: spec.PairStarting, Started: time.Now()})
		n.mu.Lock()
		n.dead = false
		n.mu.Unlock()
		n.goes(true, false)
		n.hears(spec.PairSyncing)
		n.fitness("when it has started", waits)
		if owes := n.manager.All()["uploads"].Owes; owes != spec.PairOwesStart {
			t.Errorf("it says that it owes %q", owes)
		}
		pass(time.Hour)
		n.fitness("until both are equal", waits)
	})
}

// TestSideThatIsMended: what had failed for long is behind when it works again, also where its programs have not been started anew.
func TestSideThatIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			long time.Duration
			want pairs.Fitness
		}{{5 * time.Second, well}, {time.Hour, waits}} {
			n, began := leads(t)
			n.says(replication.Status{State: spec.PairFailed, Started: began, Problem: "tree /srv/uploads is read-only"})
			pass(tt.long)
			n.says(replication.Status{State: spec.PairSyncing, Started: began})
			n.fitness("mended after "+tt.long.String(), tt.want)
			n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
			n.fitness("when both are equal", well)
		}
	})
}

// TestMaintenanceThatEndsAlone: when equality cannot be found, who is left serves.
func TestMaintenanceThatEndsAlone(t *testing.T) {
	for name, fails := range map[string]func(*node){
		"the other node is not reached": func(n *node) { n.goes(false, false) },
		"the other side has failed":     func(n *node) { n.hears(spec.PairFailed) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, began := leads(t)
				n.change(func(s *pairs.Sight) { s.Away = true })
				fails(n)
				n.says(replication.Status{State: spec.PairDisconnected, Started: began})
				n.change(func(s *pairs.Sight) { s.Away = false })
				n.fitness("at the end", well)
				// The other is there again: it has changes that this node has not.
				n.goes(true, false)
				n.hears(spec.PairSyncing)
				n.says(replication.Status{State: spec.PairSyncing, Started: began})
				n.fitness("when both are there", barred)
				n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
				n.fitness("when both are equal", well)
			})
		})
	}
}

// TestMaintenanceOfASideThatFails: its node stays out, and at once, while the other one can serve.
func TestMaintenanceOfASideThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := leads(t)
		n.change(func(s *pairs.Sight) { s.Away = true })
		n.says(replication.Status{State: spec.PairSyncing, Started: began})
		n.change(func(s *pairs.Sight) { s.Away = false })
		n.says(replication.Status{State: spec.PairFailed, Problem: "the disk is full"})
		n.fitness("at once", barred)
		pass(failurePatience)
		n.fitness("later", pairs.Fitness{Problem: "uploads: failed", Barred: true})
		n.hears(spec.PairFailed)
		n.fitness("when both have failed", pairs.Fitness{Problem: "uploads: failed"})
	})
}

// failurePatience is how long a failure says nothing of a node that was well.
const failurePatience = 15 * time.Second

// TestNewsAtTheEndOfAMaintenance: the other node has to say again how it is, and says so when it hears something.
func TestNewsAtTheEndOfAMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "sg1")
		n.start()
		n.change(func(s *pairs.Sight) { s.Away = true })
		n.says(replication.Status{State: spec.PairSyncing, Started: time.Now()})
		told := n.told
		pass(10 * time.Second)
		if n.told != told {
			t.Errorf("told %d times that nothing has changed", n.told-told)
		}
		n.change(func(s *pairs.Sight) { s.Away = false })
		if n.told == told {
			t.Error("nobody was told of the end")
		}
	})
}

// TestAgentThatStartsAgainAfterMaintenance: it goes on to owe what it has owed.
func TestAgentThatStartsAgainAfterMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := newNode(t, "hk1"), time.Now()
		pass(time.Minute)
		n.before = spec.Status{
			Node: "hk1", Reported: time.Now(), Pairs: map[string]spec.PairStatus{"uploads": {State: spec.PairSynced}},
			Serving: map[string]spec.ServingStatus{"www.example.com": {Node: "files", Barred: true}},
		}
		n.start()
		n.says(replication.Status{State: spec.PairSyncing, Started: began})
		n.fitness("at first", barred)
		n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
		n.hears(spec.PairSyncing)
		n.fitness("when both are equal", well)
	})
}

// TestStreamThatDoesNotCome: a node waits for a stream to another one that it reaches, but not for ever.
func TestStreamThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := leads(t)
		n.change(func(s *pairs.Sight) { s.Away = true })
		n.says(replication.Status{State: spec.PairDisconnected, Started: began})
		n.change(func(s *pairs.Sight) { s.Away = false })
		n.fitness("at first", barred)
		pass(40 * time.Second)
		n.fitness("later", well)
	})
}

// TestRestartOfAMachine: its side is not connected at first, and then not equal, and its node is not to serve in between.
func TestRestartOfAMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := newNode(t, "hk1"), time.Now()
		n.before = spec.Status{Node: "hk1", Reported: time.Now().Add(-time.Hour), Pairs: map[string]spec.PairStatus{"uploads": {State: spec.PairSynced}}}
		n.driver.status = replication.Status{State: spec.PairStarting}
		n.goes(false, true)
		n.start()
		n.says(replication.Status{State: spec.PairDisconnected, Started: began})
		n.fitness("alone", well)
		n.goes(true, false)
		n.fitness("when the other is reached", waits)
		n.says(replication.Status{State: spec.PairStarting, Started: began})
		n.fitness("while both are compared", waits)
		n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
		n.fitness("when both are equal", well)
	})
}

// TestAgentThatWasAway: a side whose agent was away for long has had no stream for as long.
func TestAgentThatWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := newNode(t, "hk1"), time.Now()
		n.before = spec.Status{Node: "hk1", Reported: time.Now(), Pairs: map[string]spec.PairStatus{"uploads": {State: spec.PairSynced}}}
		pass(time.Hour)
		n.start()
		n.says(replication.Status{State: spec.PairSyncing, Started: began})
		n.fitness("after an hour", waits)
	})
}

// TestTreeThatIsNotMounted: after a restart there is no moment at which the node serves without it.
func TestTreeThatIsNotMounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		n.says(replication.Status{State: spec.PairStarting, Started: time.Now()})
		n.fitness("at first", waits)
		n.says(replication.Status{State: spec.PairFailed, Problem: "tree /srv/uploads is missing"})
		n.fitness("when it has failed", waits)
		pass(failurePatience)
		n.fitness("later", pairs.Fitness{Problem: "uploads: failed"})
	})
}

// TestNodeThatWasCutOff: its cluster went on without it.
func TestNodeThatWasCutOff(t *testing.T) {
	for _, tt := range []struct {
		name string
		// leader of the pair; reaches and lost are what the node sees while it is cut off, for so long.
		leader        string
		reaches, lost bool
		long          time.Duration
		owes          pairs.Fitness
	}{
		{"the leader", "hk1", false, true, time.Hour, waits},
		{"the other node", "sg1", false, true, time.Hour, waits},
		{"for some seconds", "hk1", false, true, 8 * time.Second, well},
		// The majority serves all the while, and its users have seen nothing else.
		{"with most of the cluster", "hk1", false, false, time.Hour, well},
		{"together with the other node", "hk1", true, true, time.Hour, well},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, began := newNode(t, tt.leader), time.Now()
				n.start()
				leads := tt.leader == "hk1"
				equal := func(yes bool) {
					switch {
					case !leads && yes:
						n.says(replication.Status{State: spec.PairSyncing, Started: began})
						n.hears(spec.PairSynced)
					case yes:
						n.says(replication.Status{State: spec.PairSynced, Started: began, Synced: time.Now()})
					default:
						n.says(replication.Status{State: spec.PairSyncing, Started: began})
					}
				}
				equal(true)
				n.fitness("at first", well)
				n.goes(tt.reaches, tt.lost)
				if !tt.reaches {
					n.says(replication.Status{State: spec.PairDisconnected, Started: began})
				}
				n.fitness("while it is cut off", well) // its mesh is what keeps it out
				pass(tt.long)
				n.goes(true, false)
				n.fitness("when it is back", tt.owes)
				equal(false)
				n.fitness("while it catches up", tt.owes)
				equal(true)
				n.fitness("when both are equal", well)
				n.goes(true, false)
				n.fitness("afterwards", well)
			})
		})
	}
}

// TestFullDisk: after a maintenance, of two nodes the one waits for room that has none, and the other serves; when nobody knows where it is
// missing both wait for some minutes.
func TestFullDisk(t *testing.T) {
	const some, most = time.Minute, 6 * time.Minute
	for _, tt := range []struct {
		name        string
		here, there bool
		after       time.Duration
		want        pairs.Fitness
	}{
		{"here", true, false, some, barred},
		{"here, for long", true, false, most, barred},
		{"there", false, true, some, well},
		{"nobody knows", false, false, some, barred},
		{"nobody knows, for long", false, false, most, well},
		{"on both", true, true, some, barred},
		{"on both, for long", true, true, most, well},
	} {
		for _, leader := range []string{"hk1", "sg1"} {
			t.Run(tt.name+" "+leader+" leads", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n, began := newNode(t, leader), time.Now()
					n.start()
					n.change(func(s *pairs.Sight) { s.Away = true })
					leads := leader == "hk1"
					n.mu.Lock()
					n.sight.Statuses["sg1"] = spec.Status{Node: "sg1", Pairs: map[string]spec.PairStatus{"uploads": {State: spec.PairSyncing, Short: !leads, Full: tt.there}}}
					n.mu.Unlock()
					n.says(replication.Status{State: spec.PairSyncing, Started: began, Short: leads, Full: tt.here})
					pass(10 * time.Minute) // it counts from the end of the maintenance
					n.change(func(s *pairs.Sight) { s.Away = false; s.Received["sg1"] = time.Now() })
					pass(tt.after)
					n.fitness("after "+tt.after.String(), tt.want)
				})
			})
		}
	}
}
